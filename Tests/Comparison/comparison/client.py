"""A client's connection: plain or TLS, and what is spoken on it."""

import asyncio
import socket
import ssl
from dataclasses import dataclass, field

from . import proxied, wire
from .session import Session

CLIENT = "127.0.0.2"  # Envoy takes 127.0.0.1 for the machine itself
TUNNEL_ENDS = 2  # seconds
VERSIONS = {"1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1, "1.2": ssl.TLSVersion.TLSv1_2,
            "1.3": ssl.TLSVersion.TLSv1_3}


class Resuming(ssl.SSLContext):
    """A context whose connections resume the session of the last one."""

    last = None

    def wrap_bio(self, *arguments, **options):
        return super().wrap_bio(*arguments, **options, session=self.last)


@dataclass
class Kind:
    """`h1`, `h2` or `tcp`, and `tls` with `sni=`, `alpn=`, `certificate=`, `versions=1.2..1.3`, `ciphers=`, 
    `resume=NAME`, `no-tickets=yes`."""

    speaks: str = "h1"
    tls: bool = False
    options: dict = field(default_factory=dict)

    @classmethod
    def parse(cls, text):
        kind = cls()
        for word in text.split():
            name, equals, value = word.partition("=")
            if equals:
                kind.options[name] = value
            elif word == "tls":
                kind.tls = True
            else:
                kind.speaks = word
        return kind

    def context(self, certificates, kept):
        """How to speak TLS. `kept` has those of the case that resume sessions."""
        name = self.options.get("resume")
        if name not in kept:
            kept[name] = self.new_context(certificates)
        return kept[name] if name else kept.pop(None)

    def new_context(self, certificates):
        context = (Resuming if "resume" in self.options else ssl.SSLContext)(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # which certificate it is is noted
        least, _, most = self.options.get("versions", "1.2..1.3").partition("..")
        context.minimum_version, context.maximum_version = VERSIONS[least], VERSIONS[most or least]
        if context.minimum_version < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("ALL:@SECLEVEL=0")
        if "no-tickets" in self.options:
            context.options |= ssl.OP_NO_TICKET
        if "ciphers" in self.options:
            context.set_ciphers(self.options["ciphers"])
        alpn = self.options.get("alpn", "h2" if self.speaks == "h2" else "")
        if alpn:
            context.set_alpn_protocols(alpn.split(","))
        if "certificate" in self.options:
            label = self.options["certificate"]
            context.load_cert_chain(certificates.places[f"cert.{label}"], certificates.places[f"key.{label}"])
        return context


class Connection:
    def __init__(self, kind, reader, writer):
        self.kind = kind
        self.reader = reader
        self.writer = writer
        self.tls = {}  # what was agreed on
        self.failure = None  # why the handshake did not come to its end
        self.session = None
        self.received = b""

    @classmethod
    async def open(cls, address, source, kind=None, header="", certificates=None, contexts=None):
        kind = kind or Kind()
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.bind((source, 0))
            await loop.sock_connect(sock, address)
            if header:
                await loop.sock_sendall(sock, proxied.encode(header))
            reader = asyncio.StreamReader(limit=wire.LIMIT)
            protocol = asyncio.StreamReaderProtocol(reader)
            options = {}
            if kind.tls:
                options = {"ssl": kind.context(certificates, {} if contexts is None else contexts), "server_hostname": kind.options.get("sni", "")}
            transport, _ = await loop.create_connection(lambda: protocol, sock=sock, **options)
        except (ssl.SSLError, OSError) as error:
            sock.close()
            if not kind.tls:
                raise
            connection = cls(kind, None, None)
            connection.failure = getattr(error, "reason", None) or "closed"
            return connection
        connection = cls(kind, reader, asyncio.StreamWriter(transport, protocol, reader, loop))
        if kind.tls:
            connection.agreed(transport.get_extra_info("ssl_object"), certificates)
        if kind.speaks == "h2":
            connection.session = Session(reader, connection.writer, server=False)
            connection.session.begin()
        return connection

    def agreed(self, tls, certificates):
        self.tls = {
            "version": tls.version(),
            "cipher": tls.cipher()[0],
            "alpn": tls.selected_alpn_protocol() or "none",
            "certificate": certificates.by_content.get(tls.getpeercert(True), "unknown"),
        }
        if "resume" in self.kind.options:
            self.tls["resumed"] = "yes" if tls.session_reused else "no"

    # HTTP/1.1 and raw bytes

    async def send(self, data):
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError:
            pass  # the proxy has closed; what it said before that is what counts

    async def until_closed(self, deadline):
        """Whether the proxy ends the connection in time."""
        try:
            async with asyncio.timeout(deadline):
                if self.session:
                    await self.session.until(lambda: self.session.ended)
                    return True
                while data := await self.reader.read(65536):
                    self.received += data
        except TimeoutError:
            return False
        except (OSError, ssl.SSLError) as error:
            self.failure = getattr(error, "reason", None)
        return True

    async def receive(self, count):
        """So many bytes, or what comes before the end."""
        while len(self.received) < count:
            data = await self.reader.read(65536)
            if not data:
                break
            self.received += data

    def half_close(self):
        if self.writer.can_write_eof():
            self.writer.write_eof()
        else:
            self.writer.close()

    # Messages

    async def exchange(self, request):
        """The response, or None."""
        if self.failure:
            return None
        if self.session:
            return await self.exchange_stream(request)
        await self.send(request.bytes())
        try:
            response = await wire.read_response(self.reader, request.method)
        except ssl.SSLError as error:
            self.failure = error.reason
            return None
        if response and request.tunnel is not None and response.start.split(" ")[1] in ("101", "200"):
            await self.send(request.tunnel)
            self.received = b""
            await self.receive(len(request.tunnel))
            response.body = self.received.decode("latin-1")
            if request.tunnel_ends:
                self.half_close()
                await self.until_closed(5)
        return response

    async def exchange_stream(self, request):
        session = self.session
        stream = request.stream = session.open()
        if request.waits_for_settings:
            await session.until(lambda: session.ready or session.ended)
        body = request.body.encode("latin-1")
        open_end = request.tunnel is not None or request.unfinished
        session.send_head(stream, request.pseudo_fields(self.kind.tls), not (body or request.trailers or open_end))
        if body:
            await session.send_data(stream, body, not (request.trailers or open_end))
        if request.trailers:
            session.send_head(stream, request.trailers, True)
        if request.tunnel is not None:
            await session.until(lambda: stream.head or stream.closed or session.ended)
            if dict(stream.head or []).get(":status") == "200":
                await session.send_data(stream, request.tunnel)
                await session.until(lambda: len(stream.body) >= len(request.tunnel) or stream.closed or session.ended)
            if request.tunnel_ends and not stream.closed:
                await session.send_data(stream, b"", True)
            elif not request.tunnel_ends:
                return session.response(stream)
        if request.reset is not None:
            await request.before_reset(session)
            session.send_reset(stream, request.reset)
            return session.response(stream)
        try:
            # A tunnel need not end when one of its ends has nothing more to say.
            async with asyncio.timeout(None if request.tunnel is None else TUNNEL_ENDS):
                await session.whole(stream)
        except TimeoutError:
            pass
        return session.response(stream)

    def close(self):
        tls = self.writer.get_extra_info("ssl_object") if self.writer else None
        if tls and isinstance(tls.context, Resuming):
            tls.context.last = tls.session  # tickets come behind the handshake
        if self.session:
            self.session.close()
        elif self.writer:
            self.writer.close()


@dataclass
class Request:
    """What a client sends, in the terms of HTTP/1.1."""

    start: str
    fields: list  # [(name, value)], pseudo-header fields as well
    body: str = ""
    trailers: list = field(default_factory=list)
    raw: str = None  # instead of all
    tunnel: bytes = None  # what is sent when the response says that the connection is a tunnel now
    tunnel_ends: bool = True
    reset: str = None  # the code with which the client gives the request up
    unfinished: bool = False
    waits_for_settings: bool = False
    before_reset: callable = None
    stream: object = None

    @property
    def method(self):
        return (self.raw or self.start).split(" ")[0]

    def bytes(self):
        if self.raw is not None:
            return self.raw.encode("latin-1")
        lines = [self.start, *(f"{name}: {value}" for name, value in self.fields), "", ""]
        text = "\r\n".join(lines)
        if self.trailers:
            size = f"{len(self.body):x}\r\n{self.body}\r\n" if self.body else ""
            text += size + "0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in self.trailers) + "\r\n"
        else:
            text += self.body
        return text.encode("latin-1")

    def pseudo_fields(self, tls):
        method, path = self.start.split(" ")[:2]
        given = dict(self.fields)
        pseudo = {":method": method, ":scheme": "https" if tls else "http",
                  ":authority": given.get("Host", given.get("host", "")), ":path": path}
        if method == "CONNECT" and ":protocol" not in given:
            pseudo = {":method": method, ":authority": path}
        pseudo.update((name, value) for name, value in self.fields if name.startswith(":"))
        fields = [(name, value) for name, value in pseudo.items() if value != "none"]
        without = () if pseudo[":authority"] == "none" else ("host",)
        return fields + [(name.lower(), value) for name, value in self.fields
                         if not name.startswith(":") and name.lower() not in without and value != "none"]
