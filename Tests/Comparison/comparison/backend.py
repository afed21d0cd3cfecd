"""The upstreams of a case: they record what arrives and answer as the case says."""

import asyncio
import socket
import struct
from dataclasses import dataclass, field

from . import wire


@dataclass
class Arrival:
    """A request as an upstream got it."""

    upstream: str
    endpoint: str
    connection: int  # numbered from 1 in each upstream
    first: bool  # whether it is the first on its connection
    message: wire.Message = None


@dataclass
class Script:
    """How requests are answered until the next script comes."""

    lines: list = field(default_factory=list)
    body: str = None
    behaviour: str = ""


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
    if not names & {"content-length", "transfer-encoding"} and status not in (204, 304):
        lines.append(f"content-length: {len(body.encode('latin-1'))}")
    bodiless = arrival.message.start.startswith("HEAD ") or status in (204, 304) or status < 200
    return "\r\n".join([*lines, "", ""]) + ("" if bodiless else body)


class Endpoint:
    def __init__(self, host=None, port=None, path=""):
        self.host, self.port, self.path = host, port, path


class Backend:
    """All upstreams of one case for one proxy."""

    def __init__(self, case, folder):
        self.case = case
        self.script = Script()
        self.arrivals = []
        self.connections = {}
        self.news = asyncio.Event()
        self.released = {}
        self.held = set()
        self.endpoints = {}
        self.sockets = []
        self.servers = []
        self.waiting = []
        self.tasks = set()
        for name in case.upstreams:
            self.endpoints[name] = [self.open(case, name, folder) for _ in range(case.endpoints.get(name, 1))]

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

            def connected(reader, writer, name=name, label=label):
                task = asyncio.create_task(self.serve(reader, writer, name, label))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

            if endpoint.path:
                self.servers.append(await asyncio.start_unix_server(connected, sock=sock))
            else:
                self.servers.append(await asyncio.start_server(connected, sock=sock, backlog=1024))

    def fill(self, sock, endpoint):
        """Makes further connection attempts wait: the queue is full, and nobody accepts from it."""
        sock.listen(0)
        for _ in range(4):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex((endpoint.host, endpoint.port))
            self.waiting.append(waiting)

    async def serve(self, reader, writer, name, label):
        self.connections[name] = self.connections.get(name, 0) + 1
        number, first = self.connections[name], True
        try:
            while True:
                arrival = Arrival(name, label, number, first)
                arrival.message = await wire.read_request(reader)
                if arrival.message is None:
                    return
                first = False
                peer = writer.get_extra_info("peername")
                arrival.message.peer = peer[0] if isinstance(peer, tuple) else "unix"
                script = self.script
                self.arrivals.append(arrival)
                self.news.set()
                if not await self.answer(arrival, script, reader, writer):
                    return
        except (OSError, wire.Malformed, asyncio.IncompleteReadError) as error:
            if isinstance(error, wire.Malformed):
                arrival.message = wire.Message(f"malformed: {error}", [], b"", "none")
                self.arrivals.append(arrival)
                self.news.set()
        finally:
            writer.close()

    async def answer(self, arrival, script, reader, writer):
        """Whether the connection goes on."""
        verb, _, argument = script.behaviour.partition(" ")
        if verb == "nothing":
            await reader.read()
            return False
        if verb == "close":
            return False
        if verb == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if verb == "hold":
            event = self.released.setdefault(argument, asyncio.Event())
            self.held.add(argument)
            self.news.set()
            await event.wait()
        writer.write(response(script, verb, arrival).encode("latin-1"))
        await writer.drain()
        if verb == "stall":
            await reader.read()
        return verb not in ("stall", "end", "raw") and arrival.message.keeps_alive

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
        for server in self.servers:
            server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for sock in [*self.waiting, *(entry[0] for entry in self.sockets)]:
            sock.close()
