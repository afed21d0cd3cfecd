"""Plays one case against one proxy and records what was seen."""

import asyncio
import json
import os
from collections import Counter
from dataclasses import dataclass

from . import spans, wire
from .backend import pairs
from .casefile import Exchange, Script, unescape
from .client import CLIENT, Connection, Kind, Request
from .normal import Normaliser
from .shown import shape, show

QUIET = 0.15  # after which no further span is waited for
DEADLINE = 15  # of anything that must happen
LOG_DEADLINE = 3  # of a line in the access log
HOST = "host.example"


@dataclass
class Running:
    """An exchange in the background."""

    number: int
    exchange: Exchange
    task: asyncio.Task
    connection: Connection
    arrivals: list


class Play:
    def __init__(self, case, proxy, names):
        self.case = case
        self.proxy = proxy
        self.names = names
        self.backend = names.backend
        self.normal = Normaliser(names)
        self.record = {}  # key: value; the order is that of the exchanges
        self.problems = []  # explicit expectations that did not hold: (key, text)
        self.connections = {}
        self.contexts = {}  # of TLS, by the name under which clients resume sessions
        self.running = {}  # by name
        self.log_read = 0
        self.exports_read = 0
        self.unread = []  # lines of the log that belong to no exchange yet
        self.number = 0

    async def run(self):
        try:
            await self.backend.start()
            for step in self.case.steps:
                try:
                    async with asyncio.timeout(DEADLINE * 2):
                        await (self.exchange(step) if isinstance(step, Exchange) else self.step(step))
                except (TimeoutError, OSError, wire.Malformed, KeyError, ValueError) as error:
                    what = "nothing happened in time" if isinstance(error, TimeoutError) else repr(error)
                    self.problems.append((f"{self.number}.failed", f"{self.case.name}:{step.line}: {what}"))
                    return
        finally:
            for running in self.running.values():
                running.task.cancel()
                running.connection.close()
            for connection in self.connections.values():
                connection.close()
            await self.backend.stop()

    def end(self):
        """Notes what is left in the log. The proxy has ended, so that all is there."""
        self.number += 1
        lines = self.unread + self.new_log_lines()
        if lines:
            self.note("log.more", " // ".join(lines))

    def note(self, key, value):
        self.record[f"{self.number}.{key}"] = self.normal.value(key, value)

    # Requests

    def kind(self, exchange):
        if exchange.options.get("to") == "admin":
            return Kind()
        return Kind.parse(exchange.options.get("client", self.case.client))

    def request(self, exchange):
        if exchange.raw is not None:
            return Request("", [], raw=self.names.fill(exchange.raw))
        lines = [self.names.fill(line) for line in exchange.head]
        if not lines[0].endswith(("HTTP/1.1", "HTTP/1.0")):
            lines[0] += " HTTP/1.1"
        streams = self.kind(exchange).speaks == "h2"
        given = {line.partition(":")[0].lower() for line in lines[1:]}
        if "host" not in given and lines[0].endswith("1.1"):
            lines.insert(1, "Host: " + HOST)
        body = exchange.body or ""
        if exchange.trailers and not streams:
            lines.append("transfer-encoding: chunked")
        elif body and not given & {"content-length", "transfer-encoding"} and "tunnel" not in exchange.options \
                and not (streams and (exchange.trailers or "resets" in exchange.options)):
            lines.append(f"content-length: {len(body)}")
        request = Request(lines[0], pairs(lines[1:]), body, pairs(exchange.trailers))
        if "tunnel" in exchange.options:
            request.tunnel = unescape(exchange.options["tunnel"]).encode("latin-1")
        if "resets" in exchange.options:
            request.reset, _, unfinished = exchange.options["resets"].partition(" ")
            request.unfinished = bool(unfinished)
        request.waits_for_settings = any(line.startswith(":protocol") for line in lines)
        request.tunnel_ends = "keeps" not in exchange.options
        before = len(self.backend.arrivals)

        async def arrived(session):
            """A request that is to be given up has reached the upstream, or what there is of its response has come."""
            stream = request.stream
            await self.backend.until(lambda: len(self.backend.arrivals) > before or self.held(exchange), 2)
            if exchange.behaviour.startswith("stall"):
                await session.until(lambda: stream.head and stream.body or stream.closed or session.ended)

        request.before_reset = arrived
        return request

    @staticmethod
    def streams_go_on(exchange):
        """Whether the connection has no reason to end though there was no response."""
        return "resets" in exchange.options or "on" in exchange.options

    def held(self, exchange):
        return exchange.hold in self.backend.held

    async def connection(self, exchange):
        """(the connection, whether it is for this exchange only)."""
        name = exchange.options.get("on")
        if name in self.connections:
            return self.connections[name], False
        address = self.proxy.admin if exchange.options.get("to") == "admin" else self.names.listener
        async with asyncio.timeout(DEADLINE):
            connection = await Connection.open(
                address, exchange.options.get("from", CLIENT), self.kind(exchange),
                self.names.fill(unescape(exchange.options.get("proxy", ""))), self.names.certificates, self.contexts)
        if name:
            self.connections[name] = connection
        return connection, not name

    def begin(self, exchange):
        def filled(scripts):
            return {key: Script([self.names.fill(line) for line in script.lines], script.body, script.behaviour,
                                script.trailers) for key, script in scripts.items()}

        self.backend.begin(filled(exchange.scripts), filled(exchange.own_scripts))

    async def exchange(self, exchange):
        self.number += 1
        self.begin(exchange)
        if "repeat" in exchange.options:
            return await self.repeat(exchange)
        if "until" in exchange.options:
            return await self.until(exchange)
        before = len(self.backend.arrivals)
        connection, once = await self.connection(exchange)
        if self.kind(exchange).speaks == "tcp":
            return await self.bytes(exchange, connection, once, before)
        if "background" in exchange.options:
            task = asyncio.create_task(connection.exchange(self.request(exchange)))
            if exchange.hold:
                await self.backend.until(lambda: self.held(exchange), DEADLINE)
            self.running[exchange.options["background"]] = Running(
                self.number, exchange, task, connection, self.backend.arrivals[before:])
            return
        try:
            response = await self.send(exchange, connection)
            await self.finish(exchange, response, connection, before)
        finally:
            if once:
                connection.close()

    async def send(self, exchange, connection):
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with asyncio.timeout(DEADLINE):
            response = await connection.exchange(self.request(exchange))
        if "takes" in exchange.options:
            self.note_duration(exchange, loop.time() - started)
        return response

    def note_duration(self, exchange, seconds):
        least, most = map(float, exchange.options["takes"].split(".."))
        holds = least <= seconds <= most
        self.note("takes", exchange.options["takes"] if holds else f"{seconds:.3f}")
        if not holds:
            self.problems.append((f"{self.number}.takes", f"{self.case.name}:{exchange.line}: it took {seconds:.3f} seconds, "
                                                          f"not {exchange.options['takes']}"))

    async def bytes(self, exchange, connection, once, before):
        """Raw bytes through the proxy: what is sent, and all that comes until the end."""
        start = len(self.record)
        for key, value in sorted(connection.tls.items()):
            self.note(f"tls.{key}", value)
        if not connection.failure:
            if exchange.raw:
                await connection.send(self.names.fill(exchange.raw).encode("latin-1"))
            count = int(exchange.options.get("receive", 0))
            async with asyncio.timeout(DEADLINE):
                await connection.receive(count)
            if "on" in exchange.options:
                self.note("end", "open")
            else:
                if "ends" not in exchange.options:
                    connection.half_close()
                self.note("end", "closed" if await connection.until_closed(DEADLINE) else "open")
            if exchange.options.get("compare") != "none":
                self.note("body", connection.received.decode("latin-1"))
        if connection.failure and not connection.tls:
            self.note("failure", connection.failure)
        if once:
            connection.close()
        arrivals = await self.arrivals(exchange, before)
        if "on" not in exchange.options:
            await self.backend.until(lambda: all(arrival.message.done for arrival in arrivals), 3)
        self.note_arrivals(arrivals)
        if "unlogged" not in exchange.options:
            await self.log_lines(exchange)
        self.check(exchange.expectations, dict(list(self.record.items())[start:]))

    async def finish(self, exchange, response, connection, before, arrivals=None):
        """Notes all that came of an exchange, and what of it is not as the case says. What the upstreams got are the
        arrivals from the number `before` on, unless they are given."""
        start = len(self.record)
        if exchange.options.get("to") == "admin":
            self.admin_response(exchange, response)
        else:
            for key, value in sorted(connection.tls.items()):
                self.note(f"tls.{key}", value)
            await self.response(exchange, response, connection)
            if exchange.options.get("compare") == "settings":
                for identifier, value in sorted(connection.session.settings.items()):
                    self.note(f"settings.{identifier}", str(value))
            if arrivals is None:
                arrivals = await self.arrivals(exchange, before)
            self.note_arrivals(arrivals)
            if "unlogged" not in exchange.options:
                await self.log_lines(exchange)
            if self.case.collector:
                await self.spans(exchange)
        self.check(exchange.expectations, dict(list(self.record.items())[start:]))

    async def response(self, exchange, response, connection):
        if response is None:
            self.note("status", "closed")
            if connection.failure and not connection.tls:  # later than in the handshake it need not arrive
                self.note("tls.failure", connection.failure)
            if connection.session and not self.streams_go_on(exchange):
                await connection.until_closed(2)
                self.note("goaway", connection.session.goaway or "none")
            return
        words = response.start.split(" ", 2)
        self.note("status", words[1])
        self.note("version", words[0])
        self.note("reason", words[2] if len(words) > 2 else "")
        self.fields("", response)
        self.note("body", response.body)
        self.note("framing", response.framing)
        if response.reset:
            self.note("reset", response.reset)
        if response.cut:
            self.note("cut", "yes")
        if response.interim:
            self.note("interim", " ".join(response.interim))
        if not response.keeps_alive or "ends" in exchange.options:
            self.note("end", "closed" if await connection.until_closed(5) else "open")
            if connection.session:
                self.note("goaway", connection.session.goaway or "none")

    def fields(self, prefix, message):
        """Lines with one name stay in their order; different names have none."""
        names = {}
        for name, value in message.fields:
            names.setdefault(name, []).append(value)
        for name in sorted(names):
            self.note(f"{prefix}header.{name}", ", ".join(f"[{value}]" for value in names[name])
                      if len(names[name]) > 1 else names[name][0])
        for name, value in message.trailers:
            self.note(f"{prefix}trailer.{name}", value)

    async def arrivals(self, exchange, before):
        wanted = {expectation.key.split(".")[1] for expectation in exchange.expectations
                  if expectation.key.startswith("upstream.") and expectation.value is not None} - {"?"}

        def seen():
            return {arrival.upstream for arrival in self.backend.arrivals[before:] if arrival.message}

        await self.backend.until(lambda: wanted <= seen(), 3)
        resets = any(expectation.key.endswith(".reset") for expectation in exchange.expectations)
        if resets:  # they come after the request
            await self.backend.until(lambda: any(arrival.message.reset for arrival in self.backend.arrivals[before:]), 3)
        return self.backend.arrivals[before:]

    def note_arrivals(self, arrivals):
        counts = Counter(arrival.upstream for arrival in arrivals)
        self.note("upstreams", " ".join(f"{name}*{count}" if count > 1 else name
                                        for name, count in sorted(counts.items())) or "none")
        seen, tried = Counter(), set()
        for arrival in sorted(arrivals, key=lambda arrival: arrival.upstream):
            seen[arrival.upstream] += 1
            number = seen[arrival.upstream]
            prefix = f"upstream.{arrival.upstream}." + (f"{number}." if number > 1 else "")
            message = arrival.message
            if number > 1 and self.case.endpoints.get(arrival.upstream, 1) > 1:
                self.note(prefix + "endpoint", "tried before" if arrival.endpoint in tried else "another")
            tried.add(arrival.endpoint)
            self.note(prefix + "line", message.start)
            self.fields(prefix, message)
            self.note(prefix + "body", message.body)
            self.note(prefix + "framing", message.framing)
            self.note(prefix + "peer", message.peer)
            self.note(prefix + "connection", "new" if arrival.first else "reused")
            for key, value in sorted(arrival.tls.items()):
                self.note(f"{prefix}tls.{key}", value)
            if arrival.header:
                self.note(prefix + "proxied", arrival.header)
            if message.reset:
                self.note(prefix + "reset", message.reset)

    # The access log

    def new_log_lines(self):
        try:
            with open(self.names.places["log"], "rb") as file:
                file.seek(self.log_read)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self.log_read += len(whole)
        return whole.decode("utf-8", "replace").splitlines()

    async def log_lines(self, exchange):
        """Notes the lines that came with an exchange: at least so many as it says, and no more if others end at the same
        time."""
        least = int(exchange.options.get("lines", 1))
        try:
            async with asyncio.timeout(LOG_DEADLINE):
                while len(self.unread) < least:
                    self.unread += self.new_log_lines()
                    if len(self.unread) < least:
                        await asyncio.sleep(0.01)  # the file's writer has no event for us
        except TimeoutError:
            if not self.unread:
                self.note("log", "no line")
        count = least if "background" in exchange.options else len(self.unread)
        lines, self.unread = self.unread[:count], self.unread[count:]
        for number, line in enumerate(lines, 1):
            prefix = "log" if number == 1 else f"log{number}"
            if self.case.format or "access_log" in self.case.sections:
                self.note(prefix, line)
            else:
                for word in line.split("\t"):
                    name, _, value = word.partition("=")
                    self.note(f"{prefix}.{name}", value)

    # Spans

    async def spans(self, exchange):
        """Notes the spans that came with an exchange, as they began: so many as it says, or one."""
        found, wanted = [], int(exchange.options.get("spans", 1))

        def more():
            exports, self.exports_read = self.backend.exports[self.exports_read:], len(self.backend.exports)
            for export in exports:
                found.extend(spans.decode(self.case.collector, export))
                if "export" in exchange.options and export is exports[0]:
                    self.note("export.line", export.message.start)
                    self.fields("export.", export.message)
                    self.note("export.framing", export.message.framing)
            return bool(exports)

        await self.backend.until(lambda: more() and False or len(found) >= wanted, LOG_DEADLINE)
        while await self.backend.until(more, QUIET):
            pass
        self.note("spans", str(len(found)))
        if "spans" in exchange.options and len(found) != wanted:
            self.problems.append((f"{self.number}.spans", f"{self.case.name}:{exchange.line}: {len(found)} spans, not {wanted}"))
        for number, span in enumerate(spans.ordered(found), 1):
            for name, value in span.fields.items():
                self.note(f"span.{number}.{name}", value)

    # The admin interface

    def admin_response(self, exchange, response):
        if response is None:
            self.note("status", "closed")
            return
        self.note("status", response.start.split(" ")[1])
        how = exchange.options.get("compare", "exact")
        if how != "none":
            self.note("header.content-type", response.value("content-type") or "")
        if how == "exact":
            self.note("body", response.body)
        elif how == "json":
            for path, value in sorted(set(shape(json.loads(response.body), True))):
                self.note(f"json.{self.normal.text(path)}", value)
        elif how == "shape":
            for path, value in sorted(set(shape(json.loads(response.body), False))):
                self.note(f"shape.{self.normal.text(path)}", value)
        elif how == "names":
            for line in response.body.splitlines():
                self.note(f"name.{self.normal.text(line.rpartition(': ')[0] or line)}", "yes")
        elif how == "buckets":
            for line in response.body.splitlines():
                if "_bucket{" in line:
                    self.note("bucket." + line.partition('le="')[2].partition('"')[0], "yes")
        elif how == "lines":
            for line in response.body.splitlines():
                name, _, value = self.normal.text(line).rpartition("::" if "::" in line else ": ")
                self.note(f"line.{name}", value)

    # Many requests

    async def repeat(self, exchange):
        statuses, answers = set(), Counter()
        count = int(exchange.options["repeat"])
        for _ in range(count):
            self.begin(exchange)
            connection, once = await self.connection(exchange)
            try:
                response = await self.send(exchange, connection)
            finally:
                if once:
                    connection.close()
            statuses.add(response.start.split(" ")[1] if response else "closed")
            answers[response.body.strip() if response else "closed"] += 1
        self.note("statuses", " ".join(sorted(statuses)))
        for answer, (least, most) in exchange.shares.items():
            percent = (max(answers.values()) if answer == "*" else answers[answer]) * 100 / count
            self.note(f"share.{answer}", f"{least:g}..{most:g}" if least <= percent <= most else f"{percent:g} percent")
            if not least <= percent <= most:
                self.problems.append((f"{self.number}.share.{answer}", f"{percent:g} percent, not {least:g} to {most:g}"))
        lines = 0
        try:
            async with asyncio.timeout(LOG_DEADLINE):
                while lines < count:
                    lines += len(self.new_log_lines())
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass

    async def until(self, exchange):
        """Repeats the exchange until all is as the case says."""
        number = self.number
        end = asyncio.get_running_loop().time() + DEADLINE
        while True:
            problems = len(self.problems)
            for key in [key for key in self.record if key.startswith(f"{number}.")]:
                del self.record[key]
            self.begin(exchange)
            connection, once = await self.connection(exchange)
            try:
                before = len(self.backend.arrivals)
                await self.finish(exchange, await self.send(exchange, connection), connection, before)
            finally:
                if once:
                    connection.close()
            if len(self.problems) == problems or asyncio.get_running_loop().time() > end:
                return
            del self.problems[problems:]
            await asyncio.sleep(0.02)

    # What the case says

    def check(self, expectations, record):
        upstreams = {key.split(".")[2] for key in record if key.split(".")[1] == "upstream"}
        for expectation in expectations:
            key, wanted = expectation.key, expectation.value
            if ".?." in key:
                # No upstream at all is as good a place as any to look for what is not there.
                key = key.replace("?", next(iter(upstreams), "?") if len(upstreams) < 2 else "?")
            key = f"{self.number}.{key}"
            if wanted is not None:
                wanted = self.normal.value(key.split(".", 1)[1], self.names.fill(wanted))
            seen = record.get(key)
            holds = seen is None if wanted is None else seen is not None if wanted == "*" else seen == wanted
            if not holds:
                text = f"{self.case.name}:{expectation.line}: {key} is {show(seen)}, not {show(wanted)}"
                self.problems.append((key, text))

    # Steps

    async def step(self, step):
        words = [self.names.fill(word) for word in step.words]
        if step.verb == "stats":
            await self.statistics(step)
        elif step.verb == "release":
            self.backend.release(words[0])
        elif step.verb == "checks":
            self.backend.answer_checks(words[0])
        elif step.verb == "collects":
            self.backend.answer_exports(words[0])
        elif step.verb == "checked":
            await self.checked(words[0])
        elif step.verb == "finish":
            await self.finish_background(words[0])
        elif step.verb == "await":
            await self.await_statistic(step.words[0], words[1])
        elif step.verb == "link":
            temporary = self.names.folder / "link.new"
            os.symlink(words[1], temporary)
            os.rename(temporary, self.names.folder / words[0])
        elif step.verb == "write":
            (self.names.folder / words[0]).write_text(words[1] + "\n")
        elif step.verb == "open":
            self.connections[words[0]] = await Connection.open(
                self.names.listener, CLIENT, Kind.parse(self.case.client), certificates=self.names.certificates)
        elif step.verb == "close":
            self.connections.pop(words[0]).close()
        elif step.verb == "closed":
            self.number += 1
            connection = self.connections.pop(words[0])
            async with asyncio.timeout(DEADLINE):
                await connection.until_closed(DEADLINE)
            self.note(f"closed.{words[0]}", connection.received.decode("latin-1") or "yes")
            if connection.session and connection.session.goaway:
                self.note(f"closed.{words[0]}.goaway", connection.session.goaway)
            connection.close()

    async def checked(self, upstream):
        """Notes the next health check that an upstream gets."""
        self.number += 1
        before = len(self.backend.checks)

        def came():
            return [check for check in self.backend.checks[before:] if check.upstream == upstream and check.message]

        if not await self.backend.until(came, DEADLINE):
            self.problems.append((f"{self.number}.check", f"{self.case.name}: no health check came to {upstream}"))
            return
        check = came()[0]
        if check.message.framing == "bytes":
            await self.backend.until(lambda: check.message.done, 1)
        self.note("check.line", check.message.start)
        self.fields("check.", check.message)
        self.note("check.body", check.message.body)
        self.note("check.framing", check.message.framing)
        for key, value in sorted(check.tls.items()):
            self.note(f"check.tls.{key}", value)
        if check.header:
            self.note("check.proxied", check.header)

    async def finish_background(self, name):
        running = self.running.pop(name)
        now, self.number = self.number, running.number
        try:
            async with asyncio.timeout(DEADLINE):
                response = await running.task
            await self.finish(running.exchange, response, running.connection, None, running.arrivals)
        finally:
            self.number = now
            if "on" not in running.exchange.options:
                running.connection.close()

    async def await_statistic(self, name, value):
        full = self.names.statistic(name)
        async with asyncio.timeout(DEADLINE):
            while str((await self.proxy.statistics()).get(full)) != value:
                await asyncio.sleep(0.02)

    async def statistics(self, step):
        """Waits for the values that the case says, and notes all."""
        self.number += 1
        wanted = {entry.key: entry for entry in step.expectations}
        end = asyncio.get_running_loop().time() + 3
        while True:
            values = await self.proxy.statistics()
            seen = {name: str(values.get(self.names.statistic(name), "absent")) for name in wanted}
            active = values.get(f"http.{self.case.id}.downstream_rq_active", 0)
            settled = active == len(self.running) and all(
                entry.value == "*" or seen[name] == entry.value for name, entry in wanted.items())
            if settled or asyncio.get_running_loop().time() > end:
                break
            await asyncio.sleep(0.02)
        for name, value in seen.items():
            self.note(f"stat.{name}", value)
            entry = wanted[name]
            if entry.value not in ("*", value):
                self.problems.append((f"{self.number}.stat.{name}",
                                      f"{self.case.name}:{entry.line}: {name} is {value}, not {entry.value}"))
