#!/usr/bin/env python3
"""Collectors of spans that hang, reset, answer nonsense, are slow, absent or come and go: requests must not notice, and memory must
stay bounded.

    collectors.py --proxy FILE [--seconds S] [--seed N]

Three listeners send a span of every request, and of every request to the upstream: by Zipkin's JSON, by OTLP over HTTP and over
gRPC. Each kind of collector is there for `--seconds` (default: 2), while requests come as fast as the machine does them (with wrk, if
it is installed) and some at a steady pace, whose times are compared with those beside a good collector. In the end the collector
is good again, and must get spans. Envoy can be tested as well. Needs the package `h2`.
"""

import argparse
import asyncio
import json
import logging
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions

BACKEND = Path(__file__).resolve().parent.parent / "Benchmarks/backend.c"
TYPES = "type.googleapis.com/envoy.extensions"
TRACE = "type.googleapis.com/envoy.config.trace.v3"
PROVIDERS = ("zipkin", "otlp-http", "otlp-grpc")
WAYS = ("absent", "hangs", "silent", "resets", "closes", "500", "slow", "endless body", "endless head", "garbage", "flaps")
PACE = 150  # requests a second whose times are looked at
GROWTH = 32 << 10  # KiB of memory that spans may take, in all
DESCRIPTORS = 64
FLAP = 0.2
RECOVERY = 40  # seconds; proxies wait longer and longer for a collector that fails


# The collectors


class Collector:
    """Takes spans on one port, or does not."""

    def __init__(self, speaks_h2, seed):
        self.speaks_h2 = speaks_h2
        self.random = random.Random(seed)
        self.way = "good"
        self.server = None
        self.port = free_port()
        self.lock = asyncio.Lock()
        self.writers = set()
        self.taken = 0  # requests that were answered as they should be

    async def open(self):
        self.server = await asyncio.start_server(self.connected, "127.0.0.1", self.port, backlog=512, reuse_address=True)

    def shut(self):
        if self.server:
            self.server.close()
            self.server = None
        for writer in list(self.writers):
            writer.transport.abort()

    async def become(self, way):
        async with self.lock:
            self.way = way
            self.shut()
            if way != "absent":
                await self.open()

    async def flap(self):
        """Comes and goes."""
        while True:
            await asyncio.sleep(FLAP)
            async with self.lock:
                if self.way == "flaps" and self.server:
                    self.shut()
                elif self.way == "flaps":
                    await self.open()

    async def connected(self, reader, writer):
        self.writers.add(writer)
        try:
            if self.way == "hangs":
                await asyncio.Event().wait()
            elif self.way in ("resets", "closes"):
                await reader.read(100)
                if self.way == "resets":
                    linger_not(writer)
            elif self.way == "garbage":
                writer.write(self.random.randbytes(20000))
                await reader.read()
            elif self.speaks_h2:
                await Streams(self, reader, writer).serve()
            else:
                while await self.request(reader, writer):
                    pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError, h2.exceptions.ProtocolError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def request(self, reader, writer):
        """Whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        if "transfer-encoding: chunked" in head:
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        else:
            await reader.readexactly(int(head.partition("content-length:")[2].split("\r\n")[0] or 0))
        if self.way == "silent":
            await reader.read()
        elif self.way == "500":
            writer.write(b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno")
        elif self.way == "slow":
            for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n":
                writer.write(bytes([byte]))
                await asyncio.sleep(0.1)
        elif self.way == "endless body":
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"8000\r\n" + bytes(0x8000) + b"\r\n")
                await writer.drain()
        elif self.way == "endless head":
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while not writer.is_closing():
                writer.write(b"x-more: " + b"x" * 1000 + b"\r\n")
                await writer.drain()
        else:
            writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n" if b"/api/" in head.encode()[:40]
                         else b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            self.taken += 1
        await writer.drain()
        return self.way not in ("silent", "endless body", "endless head")


class Streams:
    """One connection of HTTP/2 to a collector."""

    def __init__(self, collector, reader, writer):
        self.collector = collector
        self.reader, self.writer = reader, writer
        self.session = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.tasks = set()

    async def serve(self):
        self.session.initiate_connection()
        try:
            while True:
                self.writer.write(self.session.data_to_send())
                await self.writer.drain()
                data = await self.reader.read(65536)
                if not data:
                    return
                for event in self.session.receive_data(data):
                    if isinstance(event, h2.events.DataReceived):
                        self.session.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, h2.events.StreamEnded):
                        self.begin(event.stream_id)
        finally:
            for task in self.tasks:
                task.cancel()

    def begin(self, stream):
        task = asyncio.create_task(self.answer(stream))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def answer(self, stream):
        way = self.collector.way
        try:
            if way == "silent":
                return
            if way == "500":
                self.session.send_headers(stream, [(":status", "500")], end_stream=True)
            elif way == "endless head":
                self.session.send_headers(stream, [(":status", "200"), *((f"x-{number}", "x" * 1000) for number in range(60))])
            else:
                self.session.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
                if way == "slow":
                    await asyncio.sleep(4)
                while way == "endless body":
                    size = min(self.session.local_flow_control_window(stream), 16384)
                    if size > 0:
                        self.session.send_data(stream, bytes(size))
                        self.writer.write(self.session.data_to_send())
                        await self.writer.drain()
                    else:
                        await asyncio.sleep(0.001)
                self.session.send_data(stream, b"\0\0\0\0\0")
                self.session.send_headers(stream, [("grpc-status", "0")], end_stream=True)
                self.collector.taken += 1
            self.writer.write(self.session.data_to_send())
        except (h2.exceptions.ProtocolError, OSError):
            pass  # the stream is gone, or all of them


def linger_not(writer):
    """The end of the connection will be a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def collect(seed):
    """The collectors as a process of their own, which is told by lines of stdin what to be, and says by lines of stdout what they
    have taken."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it tells of every connection that is lost
    collectors = {name: Collector(name == "otlp-grpc", seed) for name in PROVIDERS}
    for collector in collectors.values():
        await collector.open()
    flapping = [asyncio.create_task(collector.flap()) for collector in collectors.values()]
    print(json.dumps({name: collector.port for name, collector in collectors.items()}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        for collector in collectors.values():
            if collector.way != line.strip():
                await collector.become(line.strip())
        print(json.dumps({name: collector.taken for name, collector in collectors.items()}), flush=True)
    for task in flapping:
        task.cancel()
    for collector in collectors.values():
        collector.shut()


class Collectors:
    """That process, for the one that measures."""

    async def start(self, seed):
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--collect", "--proxy", "", "--seed", str(seed), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE)
        return json.loads(await self.process.stdout.readline())

    async def become(self, way):
        """How many requests each has taken so far."""
        self.process.stdin.write(way.encode() + b"\n")
        return json.loads(await self.process.stdout.readline())

    async def stop(self):
        self.process.stdin.close()
        await self.process.wait()


# The proxy


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name, port, speaks_h2=False):
    found = {"name": name, "type": "STATIC", "connect_timeout": "0.5s", "load_assignment": {"cluster_name": name, "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]}}
    if speaks_h2:
        found["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}}}}
    return found


def provider(name):
    if name == "zipkin":
        return {"name": "envoy.tracers.zipkin", "typed_config": {
            "@type": f"{TRACE}.ZipkinConfig", "collector_cluster": name, "collector_endpoint": "/api/v2/spans",
            "collector_endpoint_version": "HTTP_JSON"}}
    by = {"otlp-http": {"http_service": {"http_uri": {"uri": "http://x/v1/traces", "cluster": name, "timeout": "1s"}}},
          "otlp-grpc": {"grpc_service": {"envoy_grpc": {"cluster_name": name}, "timeout": "1s"}}}[name]
    return {"name": "envoy.tracers.opentelemetry", "typed_config": {
        "@type": f"{TRACE}.OpenTelemetryConfig", "service_name": "soak", **by}}


def listener(name, port):
    return {"name": name, "address": address(port), "filter_chains": [{"filters": [{
        "name": "envoy.filters.network.http_connection_manager", "typed_config": {
            "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name, "tracing": {"provider": provider(name), "spawn_upstream_span": True},
            "route_config": {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]}]},
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                "@type": f"{TYPES}.filters.http.router.v3.Router"}}]}}]}]}


class Soak:
    def __init__(self, options):
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="collectors-"))
        self.process = None
        self.wrong = []

    async def run(self):
        # The benchmarks' upstream: as many bytes as the path says, at once.
        program, upstream = self.folder / "backend", free_port()
        subprocess.run(["cc", "-O2", "-o", str(program), str(BACKEND)], check=True)
        backend = subprocess.Popen([str(program), str(upstream)], stdin=subprocess.DEVNULL)
        self.collectors = Collectors()
        to = await self.collectors.start(self.options.seed)
        self.wanted = {"upstream": upstream, **to}
        try:
            usual = None
            for way in self.options.ways:
                # Each kind meets a proxy that has not met another: whoever fails is left alone for a while.
                await self.start()
                await self.phase("good", quiet=True)  # warm
                usual = usual or await self.phase("good")
                memory, descriptors = self.memory(), self.descriptors()
                self.judge(way, usual, memory, descriptors, await self.phase(way))
                await self.recovered(way)
                await self.settled(way)
                self.end()
        finally:
            self.end()
            await self.collectors.stop()
            backend.kill()
            backend.wait()
        return self.wrong

    async def start(self):
        self.ports = {name: free_port() for name in PROVIDERS}
        self.admin = free_port()
        path = self.folder / "proxy.json"
        path.write_text(json.dumps({
            "node": {"id": "soak", "cluster": "soak"}, "admin": {"address": address(self.admin)},
            "layered_runtime": {"layers": [{"name": "often", "static_layer": {
                "tracing.zipkin.flush_interval_ms": 200, "tracing.opentelemetry.flush_interval_ms": 200,
                "tracing.zipkin.request_timeout": 1000}}]},
            "static_resources": {
                "listeners": [listener(name, port) for name, port in self.ports.items()],
                "clusters": [cluster(name, port, name == "otlp-grpc") for name, port in self.wanted.items()]}}))
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.options.proxy, "-c", str(path), "--concurrency", "2", "--disable-hot-restart", "-l", "error",
                 "--drain-time-s", "1"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        await self.ready()

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        self.process = None

    async def recovered(self, way):
        """Spans come again soon after the collectors are good."""
        before = await self.collectors.become("good")
        began, left = time.monotonic(), set(PROVIDERS)
        while left and time.monotonic() < began + RECOVERY:
            until = time.monotonic() + 0.5
            await asyncio.gather(*(self.paced(port, [], [], until) for port in self.ports.values()))
            for name, taken in (await self.collectors.become("good")).items():
                if name in left and taken > before[name]:
                    left.remove(name)
        print(f"  {'':<14}spans came again after {time.monotonic() - began:.1f} seconds", flush=True)
        self.wrong += [f"{way}: no spans came to {name} in {RECOVERY} seconds after it was good again" for name in left]

    async def ready(self):
        end = time.monotonic() + 30
        while True:
            try:
                await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{self.admin}/ready", timeout=5)
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    sys.exit("collectors: the proxy does not start:\n" + (self.folder / "log").read_text(errors="replace")[-2000:])
                await asyncio.sleep(0.05)

    async def phase(self, way, quiet=False):
        """How requests fared beside collectors of this kind: times in milliseconds, errors, and the proxy's memory at most."""
        await self.collectors.become(way)
        times, errors, most = [], [], [self.memory()]
        until = time.monotonic() + self.options.seconds
        loads = await self.load()

        async def watch():
            while time.monotonic() < until:
                most.append(self.memory())
                await asyncio.sleep(0.05)

        await asyncio.gather(watch(), *(self.paced(port, times, errors, until) for port in self.ports.values()))
        for load in loads:
            text = (await load.communicate())[0].decode()
            errors += [line.strip() for line in text.splitlines() if "Socket errors" in line or "Non-2xx" in line]
        self.dropped = await self.counters()
        times.sort()
        found = {"count": len(times), "p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100],
                 "errors": errors, "memory": max(most)}
        if not quiet:
            print(f"  {way:<14}{found['count']:>7} paced{found['p50']:>9.2f} ms{found['p99']:>9.2f} ms{len(errors):>5} errors"
                  f"{found['memory'] / 1024:>9.1f} MiB{self.descriptors():>6} descriptors   {self.dropped}", flush=True)
        return found

    async def load(self):
        """As many requests as the machine can do, of a few connections to each listener."""
        if not shutil.which("wrk"):
            return []
        return [await asyncio.create_subprocess_exec(
            "wrk", "-t1", "-c4", f"-d{max(1, round(self.options.seconds))}s", "--timeout", "10s", f"http://127.0.0.1:{port}/150",
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for port in self.ports.values()]

    async def paced(self, port, times, errors, until):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        due = time.monotonic()
        while time.monotonic() < until:
            due += len(self.ports) / PACE
            await asyncio.sleep(max(0, due - time.monotonic()))
            began = time.monotonic()
            try:
                writer.write(b"GET /5 HTTP/1.1\r\nhost: soak\r\n\r\n")
                async with asyncio.timeout(10):
                    head = await reader.readuntil(b"\r\n\r\n")
                    await reader.readexactly(5)
                if not head.startswith(b"HTTP/1.1 200"):
                    errors.append(head[:20].decode("latin-1"))
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                errors.append(repr(error))
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            times.append((time.monotonic() - began) * 1000)
            due = max(due, time.monotonic() - 0.1)
        writer.close()

    async def counters(self):
        def read():
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/stats?filter=^tracing", timeout=10) as response:
                return response.read().decode()

        found = dict(line.split(": ") for line in (await asyncio.to_thread(read)).splitlines() if ": " in line)
        return " ".join(f"{name.removeprefix('tracing.')} {value}" for name, value in found.items()
                        if "dropped" in name and value != "0")

    def memory(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise OSError("the proxy is gone")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def judge(self, way, usual, memory, descriptors, found):
        if found["errors"]:
            self.wrong.append(f"{way}: {len(found['errors'])} requests failed: {found['errors'][:3]}")
        for what, factor, more in (("p50", 3, 5), ("p99", 4, 50)):
            if found[what] > usual[what] * factor + more:
                self.wrong.append(f"{way}: {what} is {found[what]:.1f} ms; beside a good collector {usual[what]:.1f} ms")
        if found["memory"] > memory + GROWTH:
            self.wrong.append(f"{way}: {(found['memory'] - memory) / 1024:.0f} MiB more memory")
        if self.descriptors() > descriptors + DESCRIPTORS:
            self.wrong.append(f"{way}: {self.descriptors()} descriptors, there were {descriptors}")

    async def settled(self, way):
        """Nothing may be on its way when no more requests come."""
        end = time.monotonic() + 15

        def read():
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/stats?format=json", timeout=10) as response:
                return json.load(response)["stats"]

        while True:
            left = [f"{entry['name']} is {entry['value']}" for entry in await asyncio.to_thread(read)
                    if entry.get("value") and entry.get("name", "").endswith(("rq_active", "rq_pending_active"))
                    and not entry["name"].startswith(("http.admin", "listener.admin"))]
            if not left:
                return
            if time.monotonic() > end:
                self.wrong += [f"{way}: {text} when all was over" for text in left]
                return
            await asyncio.sleep(0.1)


def free_port():
    """Below the range from which the kernel takes the ports of clients: one that connects to a port of that range where nobody
    listens may meet itself."""
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", random.SystemRandom().randrange(20000, 32000)))
                return probe.getsockname()[1]
            except OSError:
                continue


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy", required=True)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--way", action="append", choices=WAYS, dest="ways", help="only these")
    parser.add_argument("--collect", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.collect:
        return asyncio.run(collect(options.seed))
    options.ways = options.ways or WAYS
    soak = Soak(options)
    try:
        wrong = asyncio.run(soak.run())
    finally:
        shutil.rmtree(soak.folder, ignore_errors=True)
    for text in wrong[:20]:
        print(f"WRONG   {text}")
    print(f"collectors: {len(wrong)} findings")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
