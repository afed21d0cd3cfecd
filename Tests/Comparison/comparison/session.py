"""HTTP/2 as both ends speak it: leniently, and keeping what was on the wire, so that a difference can be seen."""

import asyncio
import struct

from http2 import frames, hpack  # of Tests/Conformance

from . import wire

PIECE = 16384


class Stream:
    def __init__(self, number, window):
        self.number = number
        self.window = window  # what may still be sent
        self.heads = []
        self.body = b""
        self.taken = 0  # how much of the body an echo has sent back
        self.ended = False
        self.reset = None  # the name of the code
        self.reset_by_us = False

    @property
    def closed(self):
        return self.ended or self.reset is not None

    @property
    def head(self):
        """Fields of the request, or of the final response."""
        return next((head for head in self.heads if not dict(head).get(":status", "").startswith("1")), None)

    @property
    def trailers(self):
        return self.heads[-1] if len(self.heads) > 1 and ":status" not in dict(self.heads[-1]) else []


class Session:
    """One end of a connection. Whatever is received is granted again at once."""

    def __init__(self, reader, writer, server):
        self.reader = reader
        self.writer = writer
        self.server = server
        self.decoder = hpack.Decoder()
        self.streams = {}
        self.next = 1
        self.window = frames.DEFAULT_WINDOW
        self.initial_window = frames.DEFAULT_WINDOW
        self.settings = {}
        self.ready = False  # whether the other end's settings are known
        self.goaway = None  # the name of the code that the other end said
        self.ended = False
        self.block = None  # (stream, flags, bytes) of a header block that goes on
        self.news = asyncio.Event()
        self.opened = asyncio.Queue()  # streams of a server, with their first head

    def begin(self):
        if not self.server:
            self.writer.write(frames.PREFACE)
        pairs = [(frames.ENABLE_CONNECT_PROTOCOL, 1)] if self.server else [(frames.ENABLE_PUSH, 0)]
        self.writer.write(frames.settings(*pairs))
        self.task = asyncio.create_task(self.read())

    def announce(self):
        self.news.set()
        self.news = asyncio.Event()

    async def until(self, holds):
        while not holds():
            await self.news.wait()

    # Sending

    def write(self, *pieces):
        if not self.writer.transport.is_closing():
            for piece in pieces:
                self.writer.write(piece)

    def open(self):
        """A new stream of a client."""
        stream = self.streams[self.next] = Stream(self.next, self.initial_window)
        self.next += 2
        return stream

    def send_head(self, stream, fields, end=False):
        block = hpack.block([(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields])
        first, rest = block[:PIECE], block[PIECE:]
        self.write(frames.headers(stream.number, first, (frames.END_STREAM if end else 0)
                                  | (0 if rest else frames.END_HEADERS)))
        while rest:
            first, rest = rest[:PIECE], rest[PIECE:]
            self.write(frames.continuation(stream.number, first, 0 if rest else frames.END_HEADERS))

    async def send_data(self, stream, data, end=False):
        """As the windows allow. Gives up if the stream or the connection ends."""
        while data and stream.reset is None and not self.ended:
            await self.until(lambda: min(self.window, stream.window) > 0 or stream.reset is not None or self.ended)
            piece = data[:min(self.window, stream.window, PIECE)]
            self.window -= len(piece)
            stream.window -= len(piece)
            data = data[len(piece):]
            self.write(frames.data(stream.number, piece, frames.END_STREAM if end and not data else 0))
            end = end and bool(data)
            await self.drain()
        if end and stream.reset is None:
            self.write(frames.data(stream.number, b"", frames.END_STREAM))

    async def drain(self):
        try:
            await self.writer.drain()
        except OSError:
            pass

    def send_reset(self, stream, code):
        stream.reset_by_us = True
        self.write(frames.rst_stream(stream.number, frames.ERRORS.index(code)))

    def send_goaway(self, last, code="NO_ERROR"):
        self.write(frames.goaway(last, frames.ERRORS.index(code)))

    # Receiving

    async def read(self):
        try:
            if self.server and await self.reader.readexactly(len(frames.PREFACE)) != frames.PREFACE:
                raise wire.Malformed("no HTTP/2 preface")
            while True:
                high, low, type, flags, stream = struct.unpack(">BHBBI", await self.reader.readexactly(9))
                payload = await self.reader.readexactly(high << 16 | low)
                self.received(frames.Frame(type, flags, stream & frames.MAX_WINDOW, payload))
                self.announce()
        except (OSError, asyncio.IncompleteReadError, wire.Malformed, hpack.Malformed, struct.error):
            pass
        finally:
            self.ended = True
            self.opened.put_nowait(None)
            self.announce()

    def received(self, frame):
        stream = self.streams.get(frame.stream)
        if frame.type == frames.SETTINGS and not frame.flags & frames.ACK:
            for at in range(0, len(frame.payload), 6):
                identifier, value = struct.unpack(">HI", frame.payload[at:at + 6])
                self.settings[identifier] = value
                if identifier == frames.INITIAL_WINDOW_SIZE:
                    for each in self.streams.values():
                        each.window += value - self.initial_window
                    self.initial_window = value
            self.ready = True
            self.write(frames.settings_ack())
        elif frame.type == frames.PING and not frame.flags & frames.ACK:
            self.write(frames.ping(frame.payload, frames.ACK))
        elif frame.type == frames.GOAWAY:
            self.goaway = frames.error_name(frame.code)
        elif frame.type == frames.WINDOW_UPDATE:
            increment, = struct.unpack(">I", frame.payload)
            if not frame.stream:
                self.window += increment
            elif stream:
                stream.window += increment
        elif frame.type == frames.RST_STREAM and stream:
            stream.reset = frames.error_name(frame.code)
        elif frame.type == frames.DATA and stream:
            stream.body += frame.content
            if frame.payload:
                self.write(frames.window_update(0, len(frame.payload)),
                           frames.window_update(frame.stream, len(frame.payload)))
            stream.ended = stream.ended or bool(frame.flags & frames.END_STREAM)
        elif frame.type == frames.HEADERS:
            self.block = (frame.stream, frame.flags, frame.content)
            self.block_ends(frame.flags)
        elif frame.type == frames.CONTINUATION and self.block:
            self.block = (self.block[0], self.block[1], self.block[2] + frame.content)
            self.block_ends(frame.flags)

    def block_ends(self, flags):
        if not flags & frames.END_HEADERS:
            return
        number, first_flags, block = self.block
        self.block = None
        fields = self.decoder.decode(block)
        stream = self.streams.get(number)
        if not stream:
            stream = self.streams[number] = Stream(number, self.initial_window)
        stream.heads.append(fields)
        stream.ended = stream.ended or bool(first_flags & frames.END_STREAM)
        if self.server and len(stream.heads) == 1:
            self.opened.put_nowait(stream)

    # Messages

    async def whole(self, stream):
        """Waits for the end of the other end's message."""
        await self.until(lambda: stream.closed or self.ended)

    def response(self, stream):
        """What has come of a response; None if it is nothing at all."""
        if stream.head is None and stream.reset is None:
            return None
        fields = stream.head or []
        message = wire.Message(f"HTTP/2 {dict(fields).get(':status', 'reset')}",
                               [pair for pair in fields if pair[0] != ":status"], stream.body.decode("latin-1"),
                               "stream", stream.trailers)
        message.interim = [dict(head)[":status"] for head in stream.heads
                           if dict(head).get(":status", "").startswith("1")]
        message.reset = stream.reset
        message.cut = not stream.closed
        return message

    def request(self, stream):
        fields = dict(stream.head)
        message = wire.Message(f"{fields.get(':method')} {fields.get(':path', '-')} HTTP/2",
                               [pair for pair in stream.head if pair[0] not in (":method", ":path")],
                               stream.body.decode("latin-1"), "stream", stream.trailers)
        message.reset = stream.reset
        message.cut = not stream.closed
        return message

    def close(self):
        self.task.cancel()
        self.writer.close()
