"""The upstreams of a case: they record what arrives and answer as the case says."""

import asyncio
import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass, field

from . import proxied, wire
from .casefile import Script
from .session import Session


@dataclass
class Arrival:
    """A request, or a connection that carries no messages, as an upstream got it."""

    upstream: str
    endpoint: str
    connection: int  # numbered from 1 in each upstream
    first: bool  # whether it is the first on its connection
    message: wire.Message = None
    tls: dict = field(default_factory=dict)  # what was agreed on
    header: str = ""  # of the PROXY protocol
    peer: str = ""
    stream: object = None


def response(script, verb, arrival):
    """The text of the answer. Framing is added where the case gives none, but for a raw one."""
    body = script.body if script.body is not None else arrival.endpoint
    if verb == "raw":
        return "\r\n".join([*script.lines, "", ""]) + body
    lines = list(script.lines) or ["200"]
    if lines[0].isdigit():
        lines[0] = f"HTTP/1.1 {lines[0]} {wire.REASONS.get(int(lines[0]), 'Status')}"
    names = {line.partition(":")[0].lower() for line in lines[1:]}
    status = int(lines[0].split(" ")[1])
    if verb == "tunnel":
        return "\r\n".join([*lines, "", ""])
    if script.trailers:
        lines.append("transfer-encoding: chunked")
        body = (f"{len(body):x}\r\n{body}\r\n" if body else "") + "\r\n".join(["0", *script.trailers, "", ""])
    elif not names & {"content-length", "transfer-encoding"} and status not in (204, 304):
        lines.append(f"content-length: {len(body.encode('latin-1'))}")
    bodiless = arrival.message.start.startswith("HEAD ") or status in (204, 304) or status < 200
    return "\r\n".join([*lines, "", ""]) + ("" if bodiless else body)


# What collectors say when all is well.
COLLECTED = {
    "zipkin": Script(["202"], ""),
    "zipkin-proto": Script(["202"], ""),
    "otlp-http": Script(["200", "content-type: application/x-protobuf"], ""),
    "otlp-grpc": Script(["200", "content-type: application/grpc"], "\0\0\0\0\0", trailers=["grpc-status: 0"]),
}


def pairs(lines):
    """Field lines as (name, value); a pseudo-header field begins with a colon."""
    found = []
    for line in lines:
        name, _, value = line[1:].partition(":")
        found.append((line[0] + name, value.strip()))
    return found


class Endpoint:
    def __init__(self, host=None, port=None, path=""):
        self.host, self.port, self.path = host, port, path


class Backend:
    """All upstreams of one case for one proxy."""

    def __init__(self, case, folder, certificates=None):
        self.case = case
        self.certificates = certificates
        self.begin({}, {})
        self.arrivals = []
        self.checks = []  # requests of health checks, which come when they like
        self.check_scripts = {}  # endpoint or upstream: how these are answered, if not by 200
        self.connections = {}
        self.news = asyncio.Event()
        self.released = {}
        self.held = set()
        self.endpoints = {}
        self.sockets = []
        self.servers = []
        self.waiting = []
        self.tasks = set()
        self.sessions = set()
        self.exports = []  # requests that the collector got
        self.export_script = None  # how it answers them, if not as it should
        for name in case.peers:
            self.endpoints[name] = [self.open(case, name, folder) for _ in range(case.endpoints.get(name, 1))]

    def begin(self, scripts, own_scripts):
        """From now on requests are answered so: by number, each also for those that follow; of upstreams that have their
        own, by name."""
        self.scripts, self.own_scripts, self.begun = scripts, own_scripts, 0

    def next_script(self, upstream):
        if upstream in self.own_scripts:
            return self.own_scripts[upstream]
        self.begun += 1
        return self.scripts.get(max((number for number in self.scripts if number <= self.begun), default=0)) or Script()

    def open(self, case, name, folder):
        if name in case.unix:
            endpoint = Endpoint(path=str(folder / f"{name}.socket"))
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(endpoint.path)
        else:
            sock = socket.socket()
            sock.bind(("127.0.0.1", 0))
            endpoint = Endpoint(*sock.getsockname())
        # A refused one is bound and does not listen, so that nobody else gets the port.
        self.sockets.append((sock, name, endpoint))
        return endpoint

    async def start(self):
        for sock, name, endpoint in self.sockets:
            if name in self.case.refused:
                continue
            if name in self.case.full:
                self.fill(sock, endpoint)
                continue
            number = self.endpoints[name].index(endpoint) + 1
            label = name if len(self.endpoints[name]) == 1 else f"{name}#{number}"
            sock.listen(1024)
            sock.setblocking(False)
            self.run(self.accept(sock, name, label))

    def run(self, coroutine):
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def fill(self, sock, endpoint):
        """Makes further connection attempts wait: the queue is full, and nobody accepts from it."""
        sock.listen(0)
        for _ in range(4):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex((endpoint.host, endpoint.port))
            self.waiting.append(waiting)

    def context(self, name):
        """How an upstream speaks TLS, or None."""
        how = self.case.spoken(name)
        if "tls" not in how:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        label = how.get("certificate", "upstream")
        context.load_cert_chain(self.certificates.places[f"cert.{label}"], self.certificates.places[f"key.{label}"])
        protocols = [protocol for protocol, speaks in (("h2", "h2"), ("http/1.1", "h1")) if speaks in how]
        if protocols:
            context.set_alpn_protocols(protocols)
        if "asks" in how:
            context.verify_mode = ssl.CERT_REQUIRED if how["asks"] == "requires" else ssl.CERT_OPTIONAL
            context.load_verify_locations(self.certificates.places["ca"])
        if "version" in how:
            context.minimum_version = context.maximum_version = {
                "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[how["version"]]
        context.sni_callback = lambda tls, name, _: setattr(tls, "asked", name)
        return context

    async def accept(self, sock, name, label):
        loop = asyncio.get_running_loop()
        context = self.context(name)
        while True:
            try:
                connection, peer = await loop.sock_accept(sock)
            except OSError:
                return
            self.run(self.connected(connection, peer, name, label, context))

    async def connected(self, sock, peer, name, label, context):
        self.connections[name] = self.connections.get(name, 0) + 1
        arrival = Arrival(name, label, self.connections[name], True)
        arrival.peer = peer[0] if isinstance(peer, tuple) else "unix"
        try:
            how = self.case.spoken(name)
            if "proxy" in how:
                arrival.header = await proxied.receive(sock)
            loop = asyncio.get_running_loop()
            reader = asyncio.StreamReader(limit=1 << 18)
            protocol = asyncio.StreamReaderProtocol(reader)
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=context)
        except (OSError, ssl.SSLError) as error:
            sock.close()
            self.arrived(arrival, wire.Message(f"no handshake: {getattr(error, 'reason', None) or 'closed'}", [], "", "none"))
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        tls = transport.get_extra_info("ssl_object")
        if tls:
            certificate = tls.getpeercert(True)
            arrival.tls = {"version": tls.version(), "sni": getattr(tls, "asked", None) or "none",
                           "alpn": tls.selected_alpn_protocol() or "none",
                           "resumed": "yes" if tls.session_reused else "no",
                           "certificate": self.certificates.by_content.get(certificate, "none")}
        selected = arrival.tls.get("alpn", "none")
        try:
            if "tcp" in how:
                await self.serve_bytes(arrival, reader, writer)
            elif selected == "h2" or "h2" in how and "h1" not in how:
                await self.serve_streams(arrival, reader, writer)
            else:
                await self.serve(arrival, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def arrived(self, arrival, message):
        message.peer = arrival.peer
        arrival.message = message
        (self.exports if self.is_export(arrival) else self.checks if self.is_check(arrival) else self.arrivals).append(arrival)
        self.announce()

    def is_export(self, arrival):
        return bool(self.case.collector) and arrival.upstream == "collector"

    def is_check(self, arrival):
        agent = arrival.message.value("user-agent") if arrival.message else ""
        return arrival.upstream in self.case.probed or (agent or "").startswith("Envoy/HC")

    def answer_checks(self, text):
        """From now on health checks are answered so: `[ENDPOINT] STATUS|BEHAVIOUR [| =body | field | +trailer]`."""
        first, *more = [part.strip() for part in text.split("|")]
        *label, answer = first.split()
        script = Script(behaviour="" if answer.isdigit() else answer)
        if answer.isdigit():
            script.lines = [answer, *(part for part in more if part[0] not in "=+")]
        script.trailers = [part[1:] for part in more if part[0] == "+"]
        for part in more:
            if part[0] == "=":
                script.body = part[1:]
        if label:
            self.check_scripts[label[0]] = script
        else:
            self.check_scripts = {"": script}

    def answer_exports(self, text):
        """From now on the collector answers so: a status, or a behaviour."""
        self.export_script = Script([text] if text.isdigit() else [], "", "" if text.isdigit() else text)

    def script_for(self, arrival):
        if self.is_export(arrival):
            return self.export_script or COLLECTED[self.case.collector]
        if not self.is_check(arrival):
            return self.next_script(arrival.upstream)
        scripts = self.check_scripts
        return scripts.get(arrival.endpoint) or scripts.get(arrival.upstream) or scripts.get("") or Script()

    def announce(self):
        self.news.set()

    def next_of(self, arrival, first):
        """Another request on the same connection."""
        return Arrival(arrival.upstream, arrival.endpoint, arrival.connection, first, None, arrival.tls, arrival.header,
                       arrival.peer)

    # HTTP/1.1

    async def serve(self, connection, reader, writer):
        first = True
        try:
            while True:
                arrival = self.next_of(connection, first)
                message = await wire.read_request(reader)
                if message is None:
                    return
                first = False
                self.arrived(arrival, message)
                script = self.script_for(arrival)
                if not await self.answer(arrival, script, reader, writer):
                    return
                if not message.start.endswith(("HTTP/1.1", "HTTP/1.0")):
                    # Something else is spoken; how much of it comes before the other end notices is chance.
                    while await reader.read(65536):
                        pass
                    return
        except wire.Malformed as error:
            self.arrived(arrival, wire.Message(f"malformed: {error}", [], "", "none"))

    async def answer(self, arrival, script, reader, writer):
        """Whether the connection goes on."""
        verb, _, argument = script.behaviour.partition(" ")
        if verb == "nothing":
            await reader.read()
            return False
        if verb == "close":
            return False
        if verb == "reset":
            linger_not(writer)
            return False
        if verb == "hold":
            await self.hold(argument)
        writer.write(response(script, verb, arrival).encode("latin-1"))
        await writer.drain()
        if verb == "stall":
            await reader.read()
        if verb == "tunnel":
            while data := await reader.read(65536):
                arrival.message.body += data.decode("latin-1")
                writer.write(data)
                await writer.drain()
        return verb not in ("stall", "end", "raw", "tunnel") and arrival.message.keeps_alive

    async def hold(self, name):
        event = self.released.setdefault(name, asyncio.Event())
        self.held.add(name)
        self.announce()
        await event.wait()

    # HTTP/2

    async def serve_streams(self, connection, reader, writer):
        session = Session(reader, writer, server=True)
        session.begin()
        self.sessions.add(session)
        first = True
        try:
            while stream := await session.opened.get():
                self.run(self.serve_stream(self.next_of(connection, first), session, stream))
                first = False
        finally:
            self.sessions.discard(session)
            session.close()

    async def serve_stream(self, arrival, session, stream):
        arrival.message = session.request(stream)
        script = self.script_for(arrival)
        verb, _, argument = script.behaviour.partition(" ")
        arrival.stream = stream
        if verb not in ("tunnel", "early"):
            await session.whole(stream)
        self.arrived(arrival, session.request(stream))
        if not stream.ended and verb not in ("tunnel", "early"):
            return
        lines = list(script.lines) or ["200"]
        status = lines[0] if lines[0].isdigit() else lines[0].split(" ")[1]
        fields = [(":status", status), *((name.lower(), value) for name, value in pairs(lines[1:]))]
        body = (script.body if script.body is not None else arrival.endpoint).encode("latin-1")
        if verb == "hold":
            await self.hold(argument)
        if verb == "nothing":
            await session.until(lambda: stream.reset is not None or session.ended)
        elif verb == "reset":
            session.send_reset(stream, argument or "CANCEL")
        elif verb == "close":
            session.writer.close()
        elif verb == "refuse":  # the whole connection, before this request
            session.send_goaway(stream.number - 2 if stream.number > 1 else 0, argument or "NO_ERROR")
            session.writer.close()
        elif verb == "tunnel":
            session.send_head(stream, fields)
            while not stream.closed and not session.ended:
                await session.until(lambda: len(stream.body) > stream.taken or stream.closed or session.ended)
                piece, stream.taken = stream.body[stream.taken:], len(stream.body)
                await session.send_data(stream, piece)
            arrival.message.body = stream.body.decode("latin-1")
            await session.send_data(stream, b"", True)
        else:
            await self.answer_stream(session, stream, arrival, script, fields, body)
            if verb == "goaway":
                session.send_goaway(stream.number, argument or "NO_ERROR")
        await session.drain()
        if verb in ("nothing", "stall"):
            arrival.message.reset = stream.reset
            self.announce()

    async def answer_stream(self, session, stream, arrival, script, fields, body):
        verb, _, argument = script.behaviour.partition(" ")
        bodiless = arrival.message.start.startswith("HEAD ") or fields[0][1] in ("204", "304")
        body = b"" if bodiless else body
        trailers = pairs(script.trailers)
        unfinished = verb in ("stall", "cut")
        if body and not any(name == "content-length" for name, _ in fields) and not trailers and not unfinished:
            fields.append(("content-length", str(len(body))))
        session.send_head(stream, fields, not body and not trailers and not unfinished)
        if body:
            await session.send_data(stream, body, not trailers and not unfinished)
        if trailers:
            session.send_head(stream, trailers, True)
        if verb == "cut":
            session.send_reset(stream, argument or "INTERNAL_ERROR")
        elif verb == "stall":
            await session.until(lambda: stream.reset is not None or session.ended)

    # Bytes

    async def serve_bytes(self, arrival, reader, writer):
        """Sends back what comes, until the other side has ended it; or as the case says."""
        message = wire.Message("connection", [], "", "bytes")
        message.cut, message.done = True, False
        self.arrived(arrival, message)
        script = self.script_for(arrival)
        verb, _, argument = script.behaviour.partition(" ")
        try:
            if script.body is not None:
                writer.write(script.body.encode("latin-1"))
                await writer.drain()
            if verb in ("close", "reset"):
                # When the first bytes come would be chance, and an end before they are read a reset.
                try:
                    async with asyncio.timeout(0.3):
                        message.body = (await reader.read(65536)).decode("latin-1")
                except TimeoutError:
                    pass
                if verb == "reset":
                    linger_not(writer)
                return
            if verb == "half" and writer.can_write_eof():
                writer.write_eof()
            while data := await reader.read(65536):
                message.body += data.decode("latin-1")
                self.announce()
                if verb not in ("half", "sink"):
                    writer.write(data)
                    await writer.drain()
            message.cut = False
        except OSError:
            message.reset = "TCP"
        finally:
            message.done = True
            self.announce()

    async def until(self, holds, deadline):
        """Whether it came to hold in time."""
        try:
            async with asyncio.timeout(deadline):
                while not holds():
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            return False
        return True

    def release(self, name):
        self.released.setdefault(name, asyncio.Event()).set()

    async def stop(self):
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for sock in [*self.waiting, *(entry[0] for entry in self.sockets)]:
            sock.close()


def linger_not(writer):
    """The end of the connection will be a reset."""
    # The other side may have closed it first.
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
