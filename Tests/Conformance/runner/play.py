"""Plays one case: both the client and the upstream, step by step, each step bounded by a deadline."""

import asyncio
import socket

from . import wire
from .endpoint import Endpoint

# What the proxy adds of its own accord; a case that cares names the field.
OWN_REQUEST_FIELDS = {"x-request-id", "x-forwarded-for", "x-forwarded-proto", "traceparent", "tracestate", "b3"}
OWN_PREFIXES = ("x-envoy-", "x-b3-")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ENDED = object()  # the case is decided before its last step
PROBE = b"GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n"


class Failed(Exception):
    """A step did not see what the case says."""


def is_absent(line):
    """`!name` says that there is no such field; a name that begins with ! has a colon after it."""
    return line.startswith("!") and ":" not in line


def expect(holds, text):
    if not holds:
        raise Failed(text)


class Play:
    def __init__(self, case, listener, upstream, deadline, bytewise):
        self.case = case
        self.listener = listener  # address of the proxy's listener for this case
        self.upstream_socket = upstream  # listening socket, or None if the case has no upstream
        self.deadline = deadline
        self.bytewise = bytewise
        self.clients = []
        self.client = None
        self.upstreams = []
        self.upstream = None
        self.previous = None
        self.news = asyncio.Event()
        self.acceptor = None

    async def run(self):
        """None if all went as the case says, else what went wrong."""
        step = None
        try:
            if self.upstream_socket:
                self.acceptor = asyncio.create_task(self.accept())
            await self.open_client()
            for step in self.case.steps:
                async with asyncio.timeout(self.deadline):
                    if await self.play(step) is ENDED:
                        break
            step = None
            await self.finish()
            return None
        except TimeoutError:
            return f"{self.where(step)}: nothing happened for {self.deadline:g} s{self.state()}"
        except (Failed, wire.Malformed, wire.Truncated, OSError) as error:
            return f"{self.where(step)}: {error or type(error).__name__}{self.state()}"
        finally:
            for endpoint in self.clients + self.upstreams:
                endpoint.close()
            self.stop_accepting()

    def where(self, step):
        name = self.case.path.name
        return f"{name}:{step.line}: {step.actor} {step.verb}" if step else f"{name}:{self.case.line}: after the last step"

    def state(self):
        """What has arrived and no step has taken yet."""
        ends = []
        for name, endpoints in (("client", self.clients), ("upstream", self.upstreams)):
            for number, endpoint in enumerate(endpoints, 1):
                how = "reset" if endpoint.reset else "ended" if endpoint.ended else "open"
                ends.append(f"{name} {number} {how}, unread {bytes(endpoint.buffer[:300])!r}")
        return "\n          " + "\n          ".join(ends)

    # The two ends

    async def accept(self):
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self.upstream_socket)
            endpoint = Endpoint(sock)
            endpoint.on_news = self.news.set
            self.upstreams.append(endpoint)
            self.news.set()

    def stop_accepting(self):
        if self.acceptor:
            self.acceptor.cancel()
            self.acceptor = None
        if self.upstream_socket:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self.upstream_socket.fileno())
            self.upstream_socket.close()
            self.upstream_socket = None

    async def open_client(self):
        sock = socket.socket()
        sock.setblocking(False)
        async with asyncio.timeout(self.deadline):
            await asyncio.get_running_loop().sock_connect(sock, self.listener)
        self.client = Endpoint(sock, self.bytewise)
        self.client.on_news = self.news.set
        self.clients.append(self.client)

    async def next_upstream(self, any_bytes=True):
        """A connection of the proxy on which a request begins."""
        while True:
            self.news.clear()
            for endpoint in self.upstreams:
                busy = endpoint.message is not None and not endpoint.message.complete
                new = not any_bytes and not getattr(endpoint, "counted", False)
                if not endpoint.closed_by_us and not busy and (endpoint.buffer or new):
                    endpoint.counted = True
                    return endpoint
            await self.news.wait()

    # The steps

    async def play(self, step):
        end = self.client if step.actor == "client" else self.upstream
        if step.verb == "send":
            expect(end is not None, "there is no connection to send on")
            end.send(step.data)
            return
        if step.verb in ("request", "response", "body"):
            await getattr(self, step.verb)(step, end)
            return
        name = f"{step.actor}_{step.verb}".replace("-", "_")
        method = getattr(self, name, None) or getattr(self, f"any_{step.verb}".replace("-", "_"))
        return await method(step, end)

    async def response(self, step, end):
        allowed, _, method = step.argument.partition(" to ")
        allowed = allowed.split("|")
        if "closed" in allowed:
            while not end.buffer and not end.ended:
                await end.wait()
            if not end.buffer:
                return
        message = await wire.read_response(end, method)
        end.message = message
        # Only who has spoken HTTP/1.0 is answered like that.
        expect(message.version == "1.1" or "accept_http_10" in self.case.options, "the response is HTTP/1.0")
        if str(message.start) not in allowed:
            body = b"" if step.head_only else await message.rest()
            raise Failed(f"status {message.start} instead of {step.argument}, body {body[:200]!r}")
        for line in step.lines:
            if is_absent(line):
                expect(not message.values(line[1:].lower()), f"{line[1:]} is in the response: {message.fields}")
                continue
            name, _, value = line.partition(":")
            values, value = message.values(name.lower()), value.strip()
            expect(value in values or (value == "*" and values), f"no '{line}' in the response: {message.fields}")
        if not step.head_only:
            body = await message.rest()
            if step.body is not None:
                expect(body == step.body, f"the body is {body[:300]!r} instead of {step.body[:300]!r}")

    async def request(self, step, _):
        end = await self.next_upstream()
        self.previous, self.upstream = self.upstream, end
        message = await wire.read_request(end)
        end.message = message
        line = " ".join(message.start) + " HTTP/1.1"
        expect(line == step.argument, f"the request line is '{line[:300]}' instead of '{step.argument[:300]}'")
        wanted = [line for line in step.lines if line[0] not in "*?!" or (line[0] == "!" and not is_absent(line))]
        optional = [line[1:].lower() for line in step.lines if line.startswith("?")]
        absent = [line[1:].lower() for line in step.lines if is_absent(line)]
        named = {line.partition(":")[0].lower() for line in wanted} | set(absent)
        rest = [(name, value) for name, value in message.fields
                if name in named or not (name in OWN_REQUEST_FIELDS or name.startswith(OWN_PREFIXES)
                                         or (name, value) == ("content-length", "0"))]
        for text in wanted:
            name, _, value = text.partition(":")
            name, value = name.lower(), value.strip()
            found = next((field for field in rest if field[0] == name and value in (field[1], "*")), None)
            expect(found, f"no '{text[:300]}' in the request: {message.fields}")
            rest.remove(found)
        rest = [(name, value) for name, value in rest if f"{name}: {value.lower()}" not in optional]
        expect(not rest or "*" in step.lines, f"the request has fields that the case does not name: {rest}")
        if not step.head_only:
            body = await message.rest()
            wanted = step.body or b""
            expect(body == wanted, f"the body is {body[:300]!r} ({len(body)}) instead of {wanted[:300]!r} ({len(wanted)})")

    async def body(self, step, end):
        data = await end.message.take(len(step.data))
        expect(data == step.data, f"the body goes on with {data[:300]!r} instead of {step.data[:300]!r}")

    async def any_length(self, step, end):
        await end.message.take(int(step.argument))

    async def any_complete(self, _, end):
        rest = await end.message.rest()
        expect(not rest, f"the body goes on: {rest[:300]!r} ({len(rest)} bytes)")

    async def any_truncated(self, _, end):
        """The message must end without its end: whoever gets it can tell that it is not whole."""
        message = end.message
        try:
            await message.rest()
        except wire.Truncated:
            message.complete = True
            return
        how = "with the connection, which looks whole" if message.until_close else "completely"
        raise Failed(f"the message ended {how}")

    async def any_trailer(self, step, end):
        name, _, value = step.argument.partition(":")
        trailers = end.message.trailers
        if name.startswith("!"):
            expect(name[1:].lower() not in [field for field, _ in trailers], f"{name[1:]} is in the trailers: {trailers}")
            return
        expect((name.lower(), value.strip()) in trailers, f"no '{step.argument}' in the trailers: {trailers}")

    async def any_chunked(self, _, end):
        expect(end.message.chunked, f"the message is not chunked: {end.message.fields}")

    async def any_flushed(self, _, end):
        """What was sent before is on its way, so that what follows comes in a piece of its own."""
        await end.flush()

    async def any_half_closes(self, _, end):
        await end.half_close()

    async def any_closes(self, _, end):
        if end is self.client:
            await end.flush()
            end.close()
        else:
            # The proxy's own close is awaited at the end of the case.
            await end.half_close()

    async def any_resets(self, _, end):
        await end.abort()

    async def any_closed(self, _, end):
        await end.until_ended()
        expect(not end.buffer, f"before the end came {bytes(end.buffer[:300])!r}")

    async def any_pauses(self, _, end):
        end.reading.clear()

    async def any_resumes(self, _, end):
        end.reading.set()

    async def client_version(self, step, end):
        expect(end.message.version == step.argument, f"the response is HTTP/{end.message.version}")

    async def client_opens(self, *_):
        await self.open_client()

    async def client_selects(self, step, _):
        self.client = self.clients[int(step.argument) - 1]

    async def upstream_selects(self, step, _):
        self.upstream = self.upstreams[int(step.argument) - 1]

    async def client_reusable(self, _, end):
        """A whole exchange on the same connection of the client."""
        await self.exchange(end, b"GET /again HTTP/1.1\r\nHost: t\r\n\r\n", "/again")

    async def client_skips(self, step, end):
        """Reads over any number of interim responses of this status."""
        start = f"HTTP/1.1 {step.argument} ".encode()
        while True:
            while len(end.buffer) < len(start) and not end.ended:
                await end.wait()
            if not end.buffer.startswith(start):
                return
            await wire.read_response(end, "GET")

    async def upstream_accepts(self, *_):
        self.previous, self.upstream = self.upstream, await self.next_upstream(any_bytes=False)

    async def upstream_stops(self, *_):
        self.stop_accepting()

    async def upstream_nothing(self, *_):
        """Checked here, and again when the probe must be the first thing that arrives."""
        got = [bytes(endpoint.buffer[:200]) for endpoint in self.upstreams if endpoint.received]
        expect(not got, f"bytes reached the upstream: {got}")

    async def upstream_reused(self, *_):
        expect(self.upstream is self.previous, "the request came on another connection")

    async def upstream_fresh(self, *_):
        expect(self.upstream is not self.previous, "the request came on the connection of the one before")

    async def upstream_count(self, step, _):
        expect(len(self.upstreams) == int(step.argument), f"the proxy made {len(self.upstreams)} connections")

    # What many cases have in common

    async def client_rejected(self, step, end):
        """One of these statuses, then the end of the connection; nothing has reached the upstream."""
        await self.first_news(end)
        await self.upstream_nothing()
        await self.rejection(step, end)
        await self.upstream_nothing()

    async def rejection(self, step, end):
        statuses = step.argument.split("|")
        if end.buffer or "closed" not in statuses:
            message = await wire.read_response(end, "GET")
            end.message = message
            body = await message.rest()
            expect(str(message.start) in statuses, f"status {message.start} instead of {step.argument}, body {body[:200]!r}")
        await self.any_closed(step, end)

    async def first_news(self, end):
        while True:
            self.news.clear()
            if end.buffer or end.ended:
                return "client"
            if any(endpoint.buffer for endpoint in self.upstreams):
                return "upstream"
            await self.news.wait()

    async def client_rejected_or(self, step, end):
        """Rejected, which decides the case, or else as the following steps say."""
        if await self.first_news(end) == "client":
            await self.client_rejected(step, end)
            return ENDED
        return None

    async def client_answered_or(self, step, end):
        """Answered by the proxy itself with one of these statuses, or else as the following steps say."""
        if await self.first_news(end) == "client":
            await self.response(step, end)
            await self.upstream_nothing()
            return ENDED
        return None

    async def client_rejected_late(self, step, end):
        """Rejected when a part may already have been forwarded: whatever the upstream got must not look whole."""
        if await self.client_rejected_late_or(step, end) is not ENDED:
            message = self.upstream.message
            raise Failed(f"a whole request reached the upstream: {message.start} {message.fields} {message.pending[:200]!r}")

    async def client_rejected_late_or(self, step, end):
        """Rejected as above, which decides the case, or else the upstream has a whole request."""

        async def whole():
            self.previous, self.upstream = self.upstream, await self.next_upstream()
            message = self.upstream.message = await wire.read_request(self.upstream)
            while not message.complete:
                message.pending += await message.more()

        async def news():
            while not end.buffer and not end.ended:
                await end.wait()

        tasks = [asyncio.create_task(whole()), asyncio.create_task(news())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0] in done and isinstance(tasks[0].exception(), wire.Truncated):
                done, _ = await asyncio.wait(tasks[1:])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if tasks[1] not in done:
            tasks[0].result()
            return None
        await self.rejection(step, end)
        for endpoint in self.upstreams:
            if endpoint.received:
                await self.nothing_whole(endpoint)
        return ENDED

    async def nothing_whole(self, endpoint):
        try:
            message = endpoint.message = endpoint.message or await wire.read_request(endpoint)
            body = await message.rest()
        except wire.Truncated:
            if endpoint.message:
                endpoint.message.complete = True
            return
        raise Failed(f"a whole request reached the upstream: {message.start} {message.fields} {body[:200]!r}")

    async def upstream_answers(self, _, end):
        """200 with a short body, which the client gets."""
        end.send(ANSWER)
        message = await wire.read_response(self.client, "GET")
        self.client.message = message
        body = await message.rest()
        expect((message.start, body) == (200, b"ok"), f"the client got {message.start} with body {body[:200]!r}")

    # After the last step

    async def exchange(self, client, data, path):
        client.send(data)
        end = await self.next_upstream()
        self.previous, self.upstream = self.upstream, end
        message = await wire.read_request(end)
        end.message = message
        body = await message.rest()
        expect((message.start, body) == (("GET", path), b""), f"the upstream got {message.start} with body {body[:200]!r}")
        end.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")
        answer = await wire.read_response(client, "GET")
        client.message = answer
        body = await answer.rest()
        expect((answer.start, body) == (200, b"well"), f"the client got {answer.start} with body {body[:200]!r}")

    async def finish(self):
        """Nothing is left over, and the listener still works: a well-formed request on a new connection arrives whole."""
        for client in self.clients:
            if not client.closed_by_us and client.message is not None and client.message.complete:
                expect(not client.buffer, f"the client has unread bytes: {bytes(client.buffer[:300])!r}")
            client.close()
        for endpoint in self.upstreams:
            unfinished = endpoint.message is not None and not endpoint.message.complete
            expect(unfinished or not endpoint.buffer,
                   f"bytes reached the upstream that no step expects: {bytes(endpoint.buffer[:300])!r}")
        async with asyncio.timeout(self.deadline):
            for endpoint in self.upstreams:
                if endpoint.shut:
                    await endpoint.until_ended()
                unfinished = endpoint.message is not None and not endpoint.message.complete
                if unfinished and not endpoint.closed_by_us:
                    endpoint.close()
            if self.upstream_socket and self.case.options.get("probe") != "no":
                await self.open_client()
                await self.exchange(self.client, PROBE, "/probe")
