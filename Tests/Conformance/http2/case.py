"""A case: what it is called, what it shows, and the function that plays it."""

import asyncio
import importlib
import pkgutil
from dataclasses import dataclass, field

CASES = []


class Failed(Exception):
    """The server did not do what the case says."""


def expect(holds, text):
    if not holds:
        raise Failed(text)


@dataclass
class Case:
    id: str
    theme: str  # the module that it is in
    rfc: str
    says: str
    play: callable
    started: bool  # whether the connection that it gets has its preface and settings behind it
    portable: bool  # whether any server that answers `GET /` with a body can play it; others need our own backend
    alone: bool  # whether no other case may run beside it
    process: bool  # whether it looks at the process of the server
    site: dict = field(default_factory=dict)  # options of a listener of its own
    upstream: bool = False  # whether its requests go to an HTTP/2 upstream of its own

    @property
    def token(self):
        """What its requests' paths begin with."""
        return self.id.replace("/", "-")


def case(rfc, says, started=True, portable=False, alone=False, process=False, upstream=False, **site):
    """Registers a function as a case. Its name is the end of the id; it gets a connection."""
    def register(function):
        add(function.__name__, function.__module__, rfc, says, function, started, portable, alone, process, site,
            upstream)
        return function

    return register


def add(name, module, rfc, says, play, started=True, portable=False, alone=False, process=False, site=None,
        upstream=False):
    theme = module.rpartition(".")[2].replace("_", "-")
    CASES.append(Case(f"{theme}/{name.replace('_', '-').strip('-')}", theme, rfc, says, play, started, portable, alone,
                      process, site or {}, upstream))


def read_all():
    from . import cases
    for module in sorted(pkgutil.iter_modules(cases.__path__), key=lambda module: module.name):
        importlib.import_module(f"{cases.__name__}.{module.name}")
    names = [one.id for one in CASES]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise ValueError(f"several cases are called {', '.join(sorted(doubled))}")
    return CASES


class Test:
    """One case being played: who it talks to, and what it may use beside its connection."""

    def __init__(self, case, server, address, deadline):
        self.case = case
        self.server = server
        self.address = address
        self.deadline = deadline
        self.backend = server.backend
        self.token = case.token
        self.upstream = server.upstreams.get(case.id)
        self.connections = []

    @property
    def requests(self):
        """What of this case has arrived at the backend."""
        return self.backend.requests(self.token) if self.backend else []

    def path(self, verb="", *arguments):
        return "/" + "/".join([self.token, verb, *map(str, arguments)])

    async def connect(self):
        from .connection import Connection
        connection = await Connection.open(self)
        self.connections.append(connection)
        return connection

    async def client(self, *settings):
        connection = await self.connect()
        await connection.start(*settings)
        return connection

    async def served(self, seconds=None):
        """Another connection gets its response, soon."""
        connection = await self.client()
        connection.get(1)
        response = await connection.response(1, seconds)
        expect(response.status == "200", f"another connection gets {response}")
        connection.close()

    async def play(self):
        """None if all went as the case says, else what went wrong."""
        connection = None
        try:
            connection = await self.connect()
            if self.case.started:
                await connection.start()
            await self.case.play(connection)
            violations = [text for one in self.connections for text in one.violations]
            return "the server is not conforming: " + "; ".join(violations[:3]) if violations else None
        except Failed as error:
            return f"{error}{self.state()}"
        except (OSError, asyncio.IncompleteReadError) as error:
            return f"{error!r}{self.state()}"
        finally:
            for one in self.connections:
                one.close()

    def state(self):
        return "".join(f"\n          connection {number}: {one.state()}"
                       for number, one in enumerate(self.connections, 1))
