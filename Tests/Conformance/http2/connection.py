"""A client's connection: sends whatever a case wants, and reads strictly what the server sends."""

import asyncio
import re
import struct

from . import frames, hpack
from .case import Failed
from .frames import (ACK, CONTINUATION, DATA, DEFAULT_WINDOW, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY,
                     PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, Frame, error_name)

FORBIDDEN = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
AUTHORITY = "conformance.example"


class Stream:
    """What the server has sent on one stream."""

    def __init__(self, number, window, method):
        self.number = number
        self.window = window  # what the server may still send
        self.method = method
        self.heads = []
        self.body = bytearray()
        self.ended = False
        self.reset = None  # the code of RST_STREAM

    @property
    def closed(self):
        return self.ended or self.reset is not None

    @property
    def final(self):
        """The fields of the final response."""
        return next((head for head in self.heads if not dict(head).get(":status", "").startswith("1")), None)

    @property
    def status(self):
        return dict(self.final).get(":status") if self.final else None

    @property
    def trailers(self):
        return self.heads[-1] if len(self.heads) > 1 and not dict(self.heads[-1]).get(":status") else None

    def value(self, name):
        return dict(self.final or []).get(name)

    def __str__(self):
        how = "ended" if self.ended else "open" if self.reset is None else f"reset by {error_name(self.reset)}"
        return f"stream {self.number}: status {self.status}, {len(self.body)} bytes of body, {how}"


class Connection:
    def __init__(self, test, reader, writer):
        self.test = test
        self.reader = reader
        self.writer = writer
        self.decoder = hpack.Decoder()
        self.streams = {}
        self.log = []  # the last frames that came
        self.violations = []
        self.settings = {}  # the server's
        self.started = False
        self.acknowledged = 0  # how many of our SETTINGS
        self.sent_settings = []  # what waits to be acknowledged: (identifier, value) pairs
        self.pongs = []
        self.goaway = None
        self.updates = {}  # what the server has granted by WINDOW_UPDATE, by stream
        self.other = b""  # what came instead of HTTP/2
        self.ended = False
        self.last_opened = 0
        self.max_frame = frames.MAX_FRAME_SIZE
        self.initial_window = DEFAULT_WINDOW  # for the server's DATA
        self.window = DEFAULT_WINDOW
        self.automatic = True  # whether what was received is granted again at once
        self.header_block = None  # (stream, ends the stream, bytes) of one that goes on
        self.news = asyncio.Event()
        self.resumed = asyncio.Event()
        self.resumed.set()
        self.task = asyncio.create_task(self.read())

    @classmethod
    async def open(cls, test):
        options = {"ssl": test.server.tls, "server_hostname": "localhost"} if test.server.tls else {}
        async with asyncio.timeout(test.deadline):
            return cls(test, *await asyncio.open_connection(*test.address, limit=1 << 18, **options))

    def close(self):
        self.task.cancel()
        self.writer.transport.abort()

    # Sending

    def send(self, *pieces):
        if self.writer.transport.is_closing():
            return
        for piece in pieces:
            self.writer.write(piece)

    async def drain(self):
        """Until the server has taken most of what was sent, or has closed."""
        try:
            async with asyncio.timeout(self.test.deadline):
                await self.writer.drain()
        except OSError:
            pass
        except TimeoutError as error:
            raise Failed("the server does not read") from error

    async def taken(self):
        """Whether the server takes what was sent, in a short time. If not, it has stopped reading, or has closed."""
        try:
            async with asyncio.timeout(1):
                await self.writer.drain()
        except (OSError, TimeoutError):
            return False
        return True

    async def start(self, *settings):
        """Preface and settings, both acknowledged. The peer's windows are as large as they are by default."""
        self.send(frames.PREFACE)
        self.send_settings(*settings)
        await self.until(lambda: self.started and self.acknowledged, "the server's SETTINGS and its ACK of ours")

    def send_settings(self, *pairs):
        for identifier, value in pairs:
            if identifier == frames.INITIAL_WINDOW_SIZE:
                grown = value - self.initial_window
                if grown > 0:  # what shrinks holds from its ACK on
                    self.grow(grown)
            elif identifier == frames.SETTING_MAX_FRAME_SIZE:
                self.max_frame = max(self.max_frame, value)
            elif identifier == frames.HEADER_TABLE_SIZE:
                self.decoder.limit = max(self.decoder.limit, value)
        self.sent_settings.append(pairs)
        self.send(frames.settings(*pairs))

    def grow(self, by):
        self.initial_window += by
        for stream in self.streams.values():
            stream.window += by

    def grant(self, stream, increment):
        """WINDOW_UPDATE."""
        if stream and stream in self.streams:
            self.streams[stream].window += increment
        elif not stream:
            self.window += increment
        self.send(frames.window_update(stream, increment))

    def fields(self, method="GET", path="/", more=(), without=(), scheme=None, authority=AUTHORITY):
        """The fields of an ordinary request."""
        scheme = scheme or ("https" if self.test.server.tls else "http")
        usual = [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)]
        return [pair for pair in usual if pair[0] not in without] + list(more)

    def block(self, method="GET", path="/", more=(), **other):
        return hpack.block(self.fields(method, path, more, **other))

    def opened(self, stream, method="GET"):
        """Notes that the case opens a stream, with a frame of its own making."""
        self.streams.setdefault(stream, Stream(stream, self.initial_window, method))
        self.last_opened = max(self.last_opened, stream)

    def headers(self, stream, block, flags=END_HEADERS, method="GET"):
        self.opened(stream, method)
        self.send(frames.headers(stream, block, flags))

    def request(self, stream, method="GET", path="/", more=(), end=True, **other):
        self.headers(stream, self.block(method, path, more, **other), END_HEADERS | (END_STREAM if end else 0), method)

    def get(self, stream, path="/", more=(), **other):
        self.request(stream, "GET", path, more, **other)

    def post(self, stream, path="/", more=(), **other):
        """A request whose body is to follow."""
        self.request(stream, "POST", path, more, end=False, **other)

    def data(self, stream, content=b"", end=False):
        self.send(frames.data(stream, content, END_STREAM if end else 0))

    # Waiting

    async def until(self, holds, what, seconds=None):
        """Waits for something to hold; what was received last is part of what a failure says."""
        try:
            async with asyncio.timeout(seconds or self.test.deadline):
                while not holds():
                    if self.ended:
                        raise Failed(f"the connection has ended, instead of: {what}")
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError as error:
            raise Failed(f"nothing more came, instead of: {what}") from error

    async def connection_error(self, *codes):
        """GOAWAY with one of these codes, or just the end of the connection."""
        names = " or ".join(map(error_name, codes))
        await self.until(lambda: self.ended or (self.goaway and self.goaway.code in codes),
                         f"GOAWAY({names}) or the end")

    async def stream_error(self, stream, *codes):
        """RST_STREAM or GOAWAY with one of these codes, or the end of the connection."""
        names = " or ".join(map(error_name, codes))
        await self.until(lambda: self.ended or (self.goaway and self.goaway.code in codes)
                         or self.streams[stream].reset in codes, f"RST_STREAM({names}) for stream {stream}")

    async def refused(self, stream, *statuses):
        """A malformed request: a stream error, or a response that refuses it."""
        statuses = statuses or ("400",)
        await self.until(
            lambda: self.ended or (self.goaway and self.goaway.code == frames.PROTOCOL_ERROR)
            or self.streams[stream].reset == frames.PROTOCOL_ERROR or self.streams[stream].status in statuses,
            f"RST_STREAM(PROTOCOL_ERROR) or status {' or '.join(statuses)} for stream {stream}")

    async def over_limit(self, stream):
        """A request that is too large: the stream or the connection ends, or a response refuses it."""
        await self.until(
            lambda: self.ended or self.goaway and self.goaway.code or self.streams[stream].reset is not None
            or self.streams[stream].status in ("400", "413", "431"), f"the end of stream {stream}, or 431")

    async def response(self, stream, seconds=None):
        """The whole response of a stream, however it ends."""
        await self.until(lambda: self.streams[stream].closed, f"the end of the response on stream {stream}", seconds)
        return self.streams[stream]

    async def good(self, stream, body=None, seconds=None):
        """A response with status 200 that comes to its end."""
        response = await self.response(stream, seconds)
        if response.status != "200" or not response.ended or body is not None and response.body != body:
            raise Failed(f"{response}, instead of a whole 200" + (f" with {body[:80]!r}" if body is not None else ""))
        return response

    async def head(self, stream, seconds=None):
        """The head of the response of a stream."""
        await self.until(lambda: self.streams[stream].final, f"the head of the response on stream {stream}", seconds)
        return self.streams[stream]

    async def alive(self):
        """A PING is answered: what was sent before has been read, and the connection goes on."""
        content = struct.pack(">Q", len(self.pongs) + 0x6d61_7274_0000_0000)
        self.send(frames.ping(content))
        await self.until(lambda: content in self.pongs, "ACK of a PING")

    async def serves(self, stream=101):
        """The connection still serves requests."""
        self.get(stream)
        await self.good(stream)

    async def closed(self, seconds=None):
        await self.until(lambda: self.ended, "the end of the connection", seconds)

    def pause(self):
        """Stops reading."""
        self.resumed.clear()
        self.writer.transport.pause_reading()

    def resume(self):
        self.writer.transport.resume_reading()
        self.resumed.set()

    # Receiving

    async def read(self):
        try:
            first = await self.reader.readexactly(9)
            if first.startswith(b"HTTP/"):
                self.other = first + await self.reader.read(4096)
                while await self.reader.read(65536):
                    pass
            else:
                await self.read_frames(first)
        except asyncio.IncompleteReadError as error:
            self.other = self.other or (error.partial if not self.started else b"")
        except (OSError, ValueError):
            pass
        self.ended = True
        self.news.set()

    async def read_frames(self, head):
        while True:
            high, low, type, flags, stream = struct.unpack(">BHBBI", head)
            length = high << 16 | low
            if length > self.max_frame:
                self.violations.append(f"a frame of {length} bytes")
            frame = Frame(type, flags, stream & frames.MAX_WINDOW, await self.reader.readexactly(length))
            self.log = [*self.log[-19:], frame]
            try:
                self.received(frame)
            except hpack.Malformed as error:
                self.violations.append(f"HPACK: {error}")
            except (struct.error, IndexError):
                self.violations.append(f"a malformed frame: {frame}")
            self.news.set()
            await self.resumed.wait()
            head = await self.reader.readexactly(9)

    def wrong(self, holds, text):
        if holds:
            self.violations.append(text)

    def received(self, frame):
        self.wrong(not self.started and (frame.type != SETTINGS or frame.flags & ACK), f"the first frame is {frame}")
        self.wrong(self.header_block and (frame.type != CONTINUATION or frame.stream != self.header_block[0]),
                   f"{frame} within a header block")
        on_stream = frame.type in (DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION)
        self.wrong(on_stream and not frame.stream or frame.type in (SETTINGS, PING, GOAWAY) and frame.stream,
                   f"{frame} on stream {frame.stream}")
        if on_stream and frame.stream not in self.streams:
            self.violations.append(f"{frame} on an idle stream")
            return
        if frame.type == DATA:
            self.received_data(frame)
        elif frame.type in (HEADERS, CONTINUATION):
            self.received_headers(frame)
        elif frame.type == RST_STREAM:
            self.wrong(len(frame.payload) != 4, f"{frame}")
            stream = self.streams[frame.stream]
            stream.reset = frame.code if stream.reset is None else stream.reset  # what follows answers later frames
        elif frame.type == SETTINGS:
            self.received_settings(frame)
        elif frame.type == PING:
            self.wrong(len(frame.payload) != 8, f"{frame}")
            if frame.flags & ACK:
                self.pongs.append(frame.payload)
            else:
                self.send(frames.ping(frame.payload, ACK))
        elif frame.type == GOAWAY:
            self.wrong(self.goaway and frame.last_stream > self.goaway.last_stream, "GOAWAY with a larger last stream")
            self.goaway = frame
        elif frame.type == WINDOW_UPDATE:
            increment, = struct.unpack(">I", frame.payload)
            self.wrong(not 0 < increment <= frames.MAX_WINDOW, f"WINDOW_UPDATE by {increment}")
            self.wrong(frame.stream and frame.stream not in self.streams, f"{frame} on an idle stream")
            self.updates[frame.stream] = self.updates.get(frame.stream, 0) + increment
        elif frame.type == PUSH_PROMISE:
            self.violations.append("PUSH_PROMISE")

    def received_settings(self, frame):
        if frame.flags & ACK:
            self.wrong(frame.payload, "an ACK with content")
            self.wrong(not self.sent_settings, "an ACK of nothing")
            for identifier, value in self.sent_settings.pop(0) if self.sent_settings else ():
                if identifier == frames.INITIAL_WINDOW_SIZE and value < self.initial_window:
                    self.grow(value - self.initial_window)
                elif identifier == frames.SETTING_MAX_FRAME_SIZE:
                    self.max_frame = value
            self.acknowledged += 1
            return
        self.wrong(len(frame.payload) % 6, f"{frame}")
        for at in range(0, len(frame.payload) // 6 * 6, 6):
            identifier, value = struct.unpack(">HI", frame.payload[at:at + 6])
            self.settings[identifier] = value
        self.started = True
        self.send(frames.settings_ack())

    def received_data(self, frame):
        stream, length = self.streams[frame.stream], len(frame.payload)
        self.wrong(stream.closed, f"{frame} after the end of its stream")
        self.wrong(not stream.final, f"{frame} before a response")
        self.window -= length
        stream.window -= length
        self.wrong(length and (self.window < 0 or stream.window < 0), f"{frame} exceeds a window")
        stream.body += frame.content
        if frame.flags & END_STREAM:
            self.end(stream)
        if self.automatic and length:
            self.grant(0, length)
            if not stream.closed:
                self.grant(frame.stream, length)

    def received_headers(self, frame):
        if frame.type == HEADERS:
            self.wrong(self.streams[frame.stream].closed, f"{frame} after the end of its stream")
            self.header_block = (frame.stream, frame.flags & END_STREAM, b"")
        elif not self.header_block:
            self.violations.append(f"{frame} without HEADERS")
            return
        number, ends, block = self.header_block
        block += frame.content
        self.header_block = (number, ends, block)
        if not frame.flags & END_HEADERS:
            return
        self.header_block = None
        stream, fields = self.streams[number], self.decoder.decode(block)
        self.check_fields(stream, fields, ends)
        stream.heads.append(fields)
        if ends:
            self.end(stream)

    def check_fields(self, stream, fields, ends):
        trailers = stream.final is not None
        pseudo = [name for name, _ in fields if name.startswith(":")]
        self.wrong(pseudo != ([] if trailers else [":status"]), f"pseudo-header fields {pseudo}")
        self.wrong(pseudo and not fields[0][0].startswith(":"), "a pseudo-header field after others")
        self.wrong(trailers and not ends, "trailers that do not end the stream")
        for name, value in fields:
            self.wrong(not name.startswith(":") and not NAME.fullmatch(name), f"the field name {name!r}")
            self.wrong(name in FORBIDDEN, f"the field {name}: {value}")
            self.wrong(re.search(r"[\0\r\n]", value) or value != value.strip(" \t"), f"the value {value!r} of {name}")

    def end(self, stream):
        stream.ended = True
        length = stream.value("content-length")
        bodiless = stream.method == "HEAD" or stream.status in ("204", "304")
        self.wrong(not stream.final, "an end without a response")
        self.wrong(length and not bodiless and int(length) != len(stream.body),
                   f"a body of {len(stream.body)} bytes, content-length {length}")
        self.wrong(bodiless and stream.body, "a body where there is none")

    def state(self):
        seen = "; ".join(map(str, self.log[-8:])) or "no frame"
        if self.other:
            seen = f"no HTTP/2: {self.other[:200]!r}"
        return f"{'ended' if self.ended else 'open'}, last came: {seen}"
