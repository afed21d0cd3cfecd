"""HTTP/1.1 as both ends read it: leniently, and keeping what was on the wire, so that a difference can be seen."""

import asyncio
from http import HTTPStatus

REASONS = {status.value: status.phrase for status in HTTPStatus}
LIMIT = 1 << 22


class Malformed(Exception):
    """What arrived is not HTTP/1.1."""


class Message:
    def __init__(self, start, fields, body, framing, trailers=()):
        self.start = start
        self.fields = fields  # [(name as it was sent, value)]
        self.body = body
        self.framing = framing  # none, length, chunked, close
        self.trailers = list(trailers)
        self.interim = []
        self.cut = False  # the connection ended within the body
        self.reset = None  # the name of the code, if it is a stream's that was reset
        self.done = True  # whether nothing more can come
        self.peer = ""

    def value(self, name):
        return next((value for field, value in self.fields if field.lower() == name), None)

    @property
    def keeps_alive(self):
        return (self.value("connection") or "").lower() != "close"


async def read_line(reader):
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise asyncio.IncompleteReadError(line, None)
    return line.rstrip(b"\r\n").decode("latin-1")


async def read_fields(reader):
    fields = []
    while True:
        line = await read_line(reader)
        if not line:
            return fields
        name, colon, value = line.partition(":")
        if not colon:
            raise Malformed(f"field line {line[:100]!r}")
        fields.append((name, value.strip(" \t")))


async def read_body(reader, message):
    """Fills in body, framing and trailers; says in `cut` if the connection ends before the body does."""
    body = b""
    try:
        if "chunked" in (message.value("transfer-encoding") or "").lower():
            message.framing = "chunked"
            while True:
                size = int((await read_line(reader)).partition(";")[0], 16)
                if size == 0:
                    break
                body += await reader.readexactly(size)
                await read_line(reader)
            message.trailers = await read_fields(reader)
        elif message.value("content-length") is not None:
            message.framing = "length"
            length = int(message.value("content-length"))
            while len(body) < length:
                piece = await reader.read(length - len(body))
                if not piece:
                    message.cut = True
                    break
                body += piece
        elif message.framing == "close":
            while piece := await reader.read(65536):
                body += piece
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        message.cut = True
    message.body = body.decode("latin-1")


async def read_request(reader):
    """A request, or None at the end of the connection."""
    try:
        start = await read_line(reader)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise Malformed(f"cut off: {error.partial[:100]!r}") from error
        return None
    message = Message(start, await read_fields(reader), "", "none")
    await read_body(reader, message)
    return message


async def read_response(reader, method):
    """A response, or None if the connection ended without one."""
    interim = []
    while True:
        try:
            start = await read_line(reader)
            message = Message(start, await read_fields(reader), "", "close")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        words = start.split(" ", 2)
        if len(words) < 2 or not words[1].isdigit():
            raise Malformed(f"status line {start[:100]!r}")
        status = int(words[1])
        if 100 <= status < 200 and status != 101:
            interim.append(str(status))
            continue
        break
    message.interim = interim
    if method == "HEAD" or status in (101, 204, 304) or method == "CONNECT" and 200 <= status < 300:
        message.framing = "none"
    else:
        await read_body(reader, message)
    return message
