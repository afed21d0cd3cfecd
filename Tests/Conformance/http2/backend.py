"""The HTTP/1.1 server behind the proxy: answers as the path says, and notes strictly what arrives."""

import asyncio
import re
import socket
import struct

TEXT = b"HTTP/2 conformance: the body of an ordinary response.\n"
LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.1")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0\r\n]*?)[ \t]*")
PIECE = 16384


class Request:
    """A request as it arrived. `gone` is set when the connection that it came on ends."""

    def __init__(self, start, fields):
        self.start = start
        self.fields = fields
        self.body = bytearray()
        self.trailers = []
        self.complete = False
        self.gone = asyncio.Event()

    @property
    def path(self):
        return self.start.split(" ")[1]

    def values(self, name):
        return [value for field, value in self.fields if field.lower() == name]


class Malformed(Exception):
    """What arrived is not HTTP/1.1, or could be read in two ways."""


class Backend:
    """`faults` has what must never arrive, whatever a client sends."""

    def __init__(self, host):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((host, 0))
        self.address = self.sock.getsockname()
        self.arrived = []
        self.faults = []
        self.news = asyncio.Event()
        self.tasks = set()
        self.released = {}

    async def start(self):
        self.server = await asyncio.start_server(self.connected, sock=self.sock, backlog=1024, limit=1 << 20)

    async def stop(self):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def requests(self, token):
        return [request for request in self.arrived if request.path.startswith(f"/{token}/")]

    def note(self):
        self.news.set()
        self.news = asyncio.Event()

    async def until(self, holds, deadline):
        """Whether it came to hold in time."""
        try:
            async with asyncio.timeout(deadline):
                while not holds():
                    await self.news.wait()
        except TimeoutError:
            return False
        return True

    async def connected(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        mine = []
        try:
            while request := await self.head(reader):
                mine.append(request)
                self.arrived.append(request)
                self.note()
                if not await self.answer(request, reader, writer):
                    break
        except Malformed as error:
            self.faults.append(str(error))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the connection has ended, or the backend has
        finally:
            for request in mine:
                request.gone.set()
            self.note()
            self.tasks.discard(task)
            writer.close()

    async def line(self, reader):
        line = await reader.readuntil(b"\n")
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise Malformed(f"line {line[:200]!r}")
        return line[:-2]

    async def fields(self, reader):
        fields = []
        while line := await self.line(reader):
            match = FIELD.fullmatch(line)
            if not match:
                raise Malformed(f"field line {line[:200]!r}")
            fields.append((match[1].decode(), match[2].decode("latin-1")))
        return fields

    async def head(self, reader):
        try:
            line = await self.line(reader)
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise Malformed(f"cut off: {error.partial[:200]!r}") from error
            return None
        if not LINE.fullmatch(line):
            raise Malformed(f"request line {line[:200]!r}")
        request = Request(line.decode(), await self.fields(reader))
        lengths, codings = request.values("content-length"), request.values("transfer-encoding")
        if len(request.values("host")) != 1:
            raise Malformed(f"{request.start} has the hosts {request.values('host')}")
        if len(lengths) + len(codings) > 1 or codings not in ([], ["chunked"]) or not all(map(str.isdigit, lengths)):
            raise Malformed(f"{request.start} is framed by {lengths} and {codings}")
        return request

    async def pieces(self, request, reader):
        """The body as it comes."""
        if request.values("transfer-encoding"):
            while size := int(await self.line(reader), 16):
                yield await reader.readexactly(size)
                await self.line(reader)
            request.trailers = await self.fields(reader)
        else:
            left = int((request.values("content-length") or ["0"])[0])
            while left:
                piece = await reader.read(min(left, PIECE))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", left)
                left -= len(piece)
                yield piece
        request.complete = True

    async def whole(self, request, reader):
        async for piece in self.pieces(request, reader):
            request.body += piece
            self.note()
        self.note()

    async def answer(self, request, reader, writer):
        """Whether the connection goes on. The path is /TOKEN/VERB/ARGUMENT."""
        _, verb, argument = (request.path.partition("?")[0].strip("/").split("/") + ["", "", ""])[:3]
        method = request.start.split(" ")[0]
        play = getattr(self, "answer_" + verb.replace("-", "_"), None)
        if play and verb:
            return await play(request, reader, writer, argument)
        await self.whole(request, reader)
        body = b"" if method == "HEAD" else TEXT
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(TEXT) + body)
        await writer.drain()
        return True

    async def answer_large(self, request, reader, writer, size):
        await self.whole(request, reader)
        size = int(size)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while size:
            piece = bytes(min(size, 1 << 16))
            writer.write(piece)
            size -= len(piece)
            request.body += b"."  # so that a case can see how much went
            await writer.drain()
        return True

    async def answer_never(self, request, reader, writer, _):
        await self.whole(request, reader)
        await reader.read()
        return False

    async def answer_echo(self, request, reader, writer, _):
        """Piece for piece, and the trailers too."""
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        async for piece in self.pieces(request, reader):
            request.body += piece
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.note()
            await writer.drain()
        trailers = "".join(f"{name}: {value}\r\n" for name, value in request.trailers)
        writer.write(f"0\r\n{trailers}\r\n".encode("latin-1"))
        await writer.drain()
        self.note()
        return True

    async def answer_early(self, request, reader, writer, _):
        """Before the body of the request."""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly")
        await self.whole(request, reader)
        return False

    async def answer_trailers(self, request, reader, writer, _):
        await self.whole(request, reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nx-checksum: abc\r\n\r\n")
        return True

    async def answer_raw(self, request, reader, writer, which):
        """Exactly these bytes, and the end of the connection."""
        await self.whole(request, reader)
        writer.write(RAW[which])
        await writer.drain()
        return False

    async def answer_reset(self, request, reader, writer, _):
        await self.whole(request, reader)
        writer.write(RAW["cut-length"])
        await writer.drain()
        await self.until(lambda: request.path in self.released, 10)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False

    async def answer_deaf(self, request, reader, writer, _):
        """Reads nothing of the body."""
        await self.until(lambda: False, 30)
        return False

    async def answer_stall(self, request, reader, writer, _):
        """A head and the beginning of a body, and then nothing more."""
        await self.whole(request, reader)
        writer.write(RAW["cut-length"])
        await reader.read()
        return False

    def release(self, path):
        self.released[path] = True
        self.note()


HEAD = b"HTTP/1.1 200 OK\r\n"
LAST = HEAD + b"connection: close\r\n"
RAW = {
    "cut-length": HEAD + b"content-length: 1000\r\n\r\nonly this",
    "cut-chunks": HEAD + b"transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n",
    "cut-chunk": HEAD + b"transfer-encoding: chunked\r\n\r\n10\r\nbody",
    "bad-chunk": HEAD + b"transfer-encoding: chunked\r\n\r\n4\r\nbody\r\nzz\r\n",
    "until-close": LAST + b"\r\nall of it",
    "connection-fields": HEAD + b"connection: close, x-hop\r\nkeep-alive: timeout=5\r\nx-hop: 1\r\n"
                                b"proxy-connection: close\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nok",
    "upper-case": LAST + b"X-Upper-Case: Kept\r\ncontent-length: 2\r\n\r\nok",
    "no-content": b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
    "not-modified": b"HTTP/1.1 304 Not Modified\r\nconnection: close\r\ncontent-length: 100\r\n\r\n",
    "early-hints": b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n" + LAST + b"content-length: 2\r\n\r\nok",
    "no-http": b"nothing of HTTP\r\n\r\n",
    "cookies": LAST + b"set-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 2\r\n\r\nok",
}
