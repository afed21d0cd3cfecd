"""A proxy process: Martlet or Envoy, started in the same way."""

import asyncio
import json
import os
import signal
import socket
from pathlib import Path

START_DEADLINE = 60
_next_number = os.getpid() % 16000 * 4


def own_address():
    """A loopback address that nobody else uses, so that its ports are free."""
    global _next_number
    number = _next_number % 65024 + 256
    _next_number += 1
    return f"127.{16 + number % 41}.{number >> 8}.{number % 254 + 1}"


def free_ports(host, count):
    ports, port = [], 20000
    while len(ports) < count:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                ports.append(port)
            except OSError:
                pass
        port += 1
    return ports


async def validate(program, path):
    """None if the program accepts the configuration, else what it says."""
    process = await asyncio.create_subprocess_exec(
        program, "--mode", "validate", "-c", str(path), "-l", "error", stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    output, _ = await process.communicate()
    return None if process.returncode == 0 else output.decode(errors="replace").strip() or f"status {process.returncode}"


class Proxy:
    def __init__(self, program, admin, folder):
        self.program = program
        self.admin = admin
        self.folder = Path(folder)
        self.process = None
        self.ended = asyncio.Event()

    async def start(self, text):
        path = self.folder / "proxy.yaml"
        path.write_text(text, encoding="utf-8")
        with open(self.folder / "proxy.log", "wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                self.program, "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "--drain-time-s", "1",
                "--file-flush-interval-msec", "10", "-l", "warning",
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.watcher = asyncio.create_task(self.watch())
        try:
            async with asyncio.timeout(START_DEADLINE):
                while not self.ended.is_set():
                    try:
                        if (await self.get("/ready"))[0] == 200:
                            return True
                    except (OSError, ValueError):
                        pass
                    try:
                        await asyncio.wait_for(self.ended.wait(), 0.02)
                    except TimeoutError:
                        pass
        except TimeoutError:
            pass
        return False

    async def watch(self):
        await self.process.wait()
        self.ended.set()

    async def get(self, path, method="GET"):
        reader, writer = await asyncio.open_connection(*self.admin, limit=1 << 24)
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.read()
            if b"transfer-encoding: chunked" in head.lower():
                body = unchunked(body)
            return int(head.split(b" ")[1]), body.decode("utf-8", "replace")
        except asyncio.IncompleteReadError as error:
            raise OSError("the admin interface closed the connection") from error
        finally:
            writer.close()

    async def statistics(self):
        """All counters and gauges by name."""
        _, body = await self.get("/stats?format=json")
        return {entry["name"]: entry["value"] for entry in json.loads(body)["stats"] if "name" in entry and "value" in entry}

    async def stop(self):
        if self.process and self.process.returncode is None:
            # Without the time in which others are told of the end.
            self.signal(signal.SIGINT)
            try:
                await asyncio.wait_for(self.ended.wait(), 10)
            except TimeoutError:
                self.signal(signal.SIGKILL)
                # Nobody may be left to say that it has ended, if all is being given up.
                await asyncio.wait([self.watcher], timeout=5)

    def signal(self, number):
        """Not by the process object's own methods: they may take the exit status from the task that waits for it."""
        try:
            os.kill(self.process.pid, number)
        except ProcessLookupError:
            pass  # it has ended, and the task does not know it yet

    def log(self, lines=40):
        path = self.folder / "proxy.log"
        return [line[:600] for line in path.read_text(errors="replace").splitlines()[-lines:]] if path.exists() else []


def unchunked(data):
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        count = int(size.partition(b";")[0], 16)
        if count == 0:
            return body
        body += data[:count]
        data = data[count + 2:]
