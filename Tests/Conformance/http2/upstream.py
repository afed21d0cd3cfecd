"""An HTTP/2 server behind the proxy, which does whatever a case wants: each case has one of its own."""

import asyncio
import struct

from . import frames, hpack
from .frames import ACK, END_HEADERS, END_STREAM, Frame


class Upstream:
    """`greeting` is what connections begin with, `answer` is called with a peer and a stream for each request."""

    def __init__(self, host, port):
        self.address = host, port
        self.greeting = frames.settings()
        self.answer = lambda peer, stream: peer.respond(stream)
        self.peers = []
        self.automatic = True  # whether what was received is granted again at once
        self.reads = True
        self.acknowledges = True
        self.news = asyncio.Event()

    async def start(self):
        self.server = await asyncio.start_server(self.connected, *self.address, backlog=128)

    async def stop(self):
        self.server.close()
        for peer in self.peers:
            peer.close()

    def note(self):
        self.news.set()
        self.news = asyncio.Event()

    async def until(self, holds, deadline):
        try:
            async with asyncio.timeout(deadline):
                while not holds():
                    await self.news.wait()
        except TimeoutError:
            return False
        return True

    async def connected(self, reader, writer):
        peer = Peer(self, reader, writer)
        self.peers.append(peer)
        try:
            await peer.run()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the connection has ended
        peer.ended = True
        self.note()
        peer.close()


class Peer:
    """One connection of the proxy."""

    def __init__(self, upstream, reader, writer):
        self.upstream = upstream
        self.reader = reader
        self.writer = writer
        self.decoder = hpack.Decoder()
        self.requests = {}  # fields by stream
        self.received = {}  # bytes of bodies
        self.complete = set()
        self.resets = {}
        self.goaway = None
        self.ended = False

    def close(self):
        self.writer.transport.abort()

    def send(self, *pieces):
        if not self.writer.transport.is_closing():
            for piece in pieces:
                self.writer.write(piece)

    def respond(self, stream, *fields, body=b"", status="200"):
        """An ordinary response."""
        block = hpack.block([(":status", status), *fields])
        self.send(frames.headers(stream, block, END_HEADERS | (0 if body else END_STREAM)))
        for start in range(0, len(body), frames.MAX_FRAME_SIZE):
            piece = body[start:start + frames.MAX_FRAME_SIZE]
            self.send(frames.data(stream, piece, END_STREAM if start + len(piece) == len(body) else 0))

    async def flood(self, content, count):
        """The same again and again, as far as it is taken."""
        for _ in range(count):
            self.send(content)
            try:
                async with asyncio.timeout(1):
                    await self.writer.drain()
            except (OSError, TimeoutError):
                return

    async def run(self):
        self.send(self.upstream.greeting)
        await self.reader.readexactly(len(frames.PREFACE))
        block, owner, flags = b"", 0, 0
        while True:
            if not self.upstream.reads:
                await self.upstream.until(lambda: self.upstream.reads, 60)
            head = await self.reader.readexactly(9)
            high, low, kind, bits, stream = struct.unpack(">BHBBI", head)
            frame = Frame(kind, bits, stream & frames.MAX_WINDOW, await self.reader.readexactly(high << 16 | low))
            if kind in (frames.HEADERS, frames.CONTINUATION):
                if kind == frames.HEADERS:
                    block, owner, flags = b"", frame.stream, bits
                block += frame.content
                if bits & END_HEADERS:
                    self.requests[owner] = self.decoder.decode(block)
                    if flags & END_STREAM:
                        self.complete.add(owner)
                    self.play(owner)
            elif kind == frames.DATA:
                self.received[frame.stream] = self.received.get(frame.stream, 0) + len(frame.content)
                if bits & END_STREAM:
                    self.complete.add(frame.stream)
                elif self.upstream.automatic and frame.payload:
                    self.send(frames.window_update(0, len(frame.payload)),
                              frames.window_update(frame.stream, len(frame.payload)))
            elif kind == frames.RST_STREAM:
                self.resets[frame.stream] = frame.code
            elif kind == frames.GOAWAY:
                self.goaway = frame
            elif kind == frames.SETTINGS and not bits & ACK and self.upstream.acknowledges:
                self.send(frames.settings_ack())
            elif kind == frames.PING and not bits & ACK:
                self.send(frames.ping(frame.payload, ACK))
            self.upstream.note()

    def play(self, stream):
        played = self.upstream.answer(self, stream)
        if asyncio.iscoroutine(played):
            task = asyncio.create_task(played)
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
