"""Collectors of spans, good ones and others, as a process of their own."""

import asyncio
import contextlib
import json
import logging
import random
import socket
import struct
import sys

import h2.config
import h2.connection
import h2.events
import h2.exceptions

PROVIDERS = ("zipkin", "otlp-http", "otlp-grpc")
WAYS = ("absent", "hangs", "silent", "resets", "closes", "500", "slow", "endless body", "endless head", "garbage", "flaps")
FLAP = 0.2


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
    # The other side may have closed it first.
    with contextlib.suppress(OSError):
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
            sys.executable, __file__, str(seed), stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE)
        return json.loads(await self.process.stdout.readline())

    async def become(self, way):
        """How many requests each has taken so far."""
        self.process.stdin.write(way.encode() + b"\n")
        return json.loads(await self.process.stdout.readline())

    async def stop(self):
        self.process.stdin.close()
        await self.process.wait()


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


if __name__ == "__main__":
    asyncio.run(collect(int(sys.argv[1])))
