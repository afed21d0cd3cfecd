"""The strict reading of HTTP/1.1 that both ends of a case apply to what the proxy sends.

Whatever could be read in two ways is an error here: that is how a case shows that nothing ambiguous leaves the proxy.
"""

import re


class Malformed(Exception):
    """The proxy sent something that is not strict HTTP/1.1."""


class Truncated(Exception):
    """The connection ended before the message did."""


TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")
VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d) [\t \x21-\x7e\x80-\xff]*")
CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,16}")
HEAD_LIMIT = 1 << 20

# Fields that are for one connection only (RFC 9110 §7.6.1), and so never leave the proxy. `connection: close` is the
# proxy's own in a response.
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "upgrade", "http2-settings"}


class Message:
    """A message whose head has been read; the body is read piece by piece."""

    def __init__(self, source, start, fields, length, chunked):
        self.source = source
        self.start = start  # request: (method, target); response: status
        self.fields = fields  # [(name in lower case, value)]
        self.chunked = chunked
        self.version = "1.1"
        self.until_close = length is None and not chunked
        self.remaining = length or 0
        self.trailers = []
        self.complete = length == 0 and not chunked
        self.crlf_due = False  # the end of a chunk has not been read yet
        self.pending = b""  # decoded and not yet taken

    def values(self, name):
        return [value for field, value in self.fields if field == name]

    async def more(self):
        """The next piece of the body; empty if the message is complete."""
        if self.complete:
            return b""
        if self.until_close:
            data = await self.source.some()
            if not data:
                if self.source.reset:
                    raise Truncated("the connection was reset within a body that ends with the connection")
                self.complete = True
            return data
        if self.chunked and self.remaining == 0:
            if self.crlf_due:
                if await self.source.exactly(2) != b"\r\n":
                    raise Malformed("no CRLF after the chunk")
                self.crlf_due = False
            line = await self.source.line(100)
            if not CHUNK_SIZE.fullmatch(line):
                raise Malformed(f"chunk size line {line!r}")
            self.remaining = int(line, 16)
            if self.remaining == 0:
                self.trailers = await read_fields(self.source)
                self.complete = True
                return b""
        data = await self.source.some(self.remaining)
        if not data:
            raise Truncated("the connection ended within the body")
        self.remaining -= len(data)
        if self.remaining == 0:
            self.crlf_due = self.chunked
            self.complete = not self.chunked
        return data

    async def rest(self):
        body = self.pending
        self.pending = b""
        while not self.complete:
            body += await self.more()
        return body

    async def take(self, count):
        while len(self.pending) < count:
            if self.complete:
                raise Malformed(f"the body ended after {len(self.pending)} of {count} bytes: {self.pending[:100]!r}")
            self.pending += await self.more()
        taken, self.pending = self.pending[:count], self.pending[count:]
        return taken


async def read_fields(source):
    fields = []
    while True:
        line = await source.line(HEAD_LIMIT)
        if not line:
            return fields
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name):
            raise Malformed(f"field line {line[:200]!r}")
        value = value.strip(b" \t")
        if not VALUE.fullmatch(value):
            raise Malformed(f"field value {value[:200]!r} of {name!r}")
        fields.append((name.decode().lower(), value.decode("latin-1")))


def framing(fields, what):
    """(content length or None, chunked) of a message that must not be ambiguous."""
    lengths = [value for name, value in fields if name == "content-length"]
    codings = [value for name, value in fields if name == "transfer-encoding"]
    if len(lengths) > 1 or len(codings) > 1 or (lengths and codings):
        raise Malformed(f"{what} is framed in more than one way: {lengths + codings}")
    if codings and codings[0].lower() != "chunked":
        raise Malformed(f"{what} has transfer-encoding {codings[0]!r}")
    if lengths and not re.fullmatch(r"\d{1,19}", lengths[0]):
        raise Malformed(f"{what} has content-length {lengths[0]!r}")
    return (int(lengths[0]) if lengths else None), bool(codings)


async def read_request(source):
    line = await source.line(HEAD_LIMIT)
    parts = line.split(b" ")
    if len(parts) != 3 or not TOKEN.fullmatch(parts[0]) or not TARGET.fullmatch(parts[1]) or parts[2] != b"HTTP/1.1":
        raise Malformed(f"request line {line[:200]!r}")
    fields = await read_fields(source)
    names = [name for name, _ in fields]
    if names.count("host") != 1:
        raise Malformed(f"a request with {names.count('host')} host fields")
    hop = HOP_BY_HOP.intersection(names)
    if hop:
        raise Malformed(f"a hop-by-hop field reached the upstream: {sorted(hop)}")
    length, chunked = framing(fields, "a request")
    return Message(source, (parts[0].decode(), parts[1].decode("latin-1")), fields, length if chunked else length or 0,
                   chunked)


async def read_response(source, method):
    line = await source.line(HEAD_LIMIT)
    match = STATUS_LINE.fullmatch(line)
    if not match:
        raise Malformed(f"status line {line[:200]!r}")
    version, status = f"1.{match[1].decode()}", int(match[2])
    fields = await read_fields(source)
    for name, value in fields:
        if name in HOP_BY_HOP and (name, value.lower()) not in (("connection", "close"), ("connection", "keep-alive")):
            raise Malformed(f"a hop-by-hop field reached the client: {name}: {value}")
    length, chunked = framing(fields, "a response")
    if status < 200 or status == 204:
        if chunked or length is not None:
            raise Malformed(f"a {status} response with framing fields")
    if version == "1.0" and (chunked or status < 200):
        raise Malformed(f"HTTP/1.0 has no chunks and no status {status}: {fields}")
    if status < 200 or status in (204, 304) or method == "HEAD":
        length, chunked = 0, False
    message = Message(source, status, fields, length, chunked)
    message.version = version
    return message
