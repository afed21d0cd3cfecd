#!/usr/bin/env python3
"""Mixed requests through a front proxy and two sidecars, and the accounts that everybody keeps of them, joined by request id.

    accounts.py --proxy FILE [--requests N] [--seed N] [--keep]

Clients ask for every status, for upstreams that reset, close, answer late or after another attempt, leave before the answer, and
call by gRPC; service1 calls service2 through its own sidecar. Each client, each access log and each service writes down the id of
what it has seen. Then: every request is in the front proxy's log once, and in each sidecar's as often as it was sent there; codes
are the same wherever both sides have seen the end; and Istio's metrics of each reporter are, label by label, the number of lines in
its log. Needs the package grpcio. 100,000 requests (the default) take some minutes.
"""

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections import Counter, defaultdict
from pathlib import Path

TYPES = "type.googleapis.com/envoy.extensions"
SERVICES = ("service1", "service2")
CLIENTS = 48
SETTLE = 20.0
TIMEOUT = 0.4  # of the route for what is slow
# What is asked for, and how often among the others. `service1` calls `service2` for what begins with /chain.
WISHES = {
    "/code/200": 30, "/code/201": 3, "/code/204": 3, "/code/301": 2, "/code/404": 4, "/code/429": 2, "/code/500": 4, "/code/503": 3,
    "/big": 2, "/retry/200": 4, "/retry/404": 1, "/tries/503": 2, "/reset": 2, "/close": 2, "/slow": 1, "/late": 2, "/later": 2, "/cut": 1,
    "/chain/200": 12, "/chain/404": 2, "/chain/500": 3, "/chain/reset": 1, "/nowhere": 2, "/dead": 2, "/direct": 2,
    "leave early": 2, "leave late": 2, "grpc 0": 8, "grpc 5": 2, "grpc 13": 2, "grpc 14": 1, "grpc cancel": 1, "grpc deadline": 1,
}
METHOD = "/accounts.Service/Call"


def key(identifier):
    """An id without the place where proxies write the decision about tracing."""
    return identifier[:14] + identifier[15:]


# The services


class Service:
    """Does what the path says, and writes down the id, and the status with which it answered."""

    def __init__(self, name, port, outbound, log):
        self.name, self.port, self.outbound = name, port, outbound
        self.log = open(log, "w", buffering=1 << 16)
        self.tried = set()

    def note(self, identifier, status):
        self.log.write(f"{identifier} {status}\n")

    async def run(self):
        await asyncio.start_server(self.connected, "127.0.0.1", self.port, backlog=1024)
        await self.serve_grpc()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        self.log.close()
        os._exit(0)  # whoever still waits, waits in vain

    async def connected(self, reader, writer):
        try:
            while await self.request(reader, writer):
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def request(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path = head.split(" ", 2)[1]
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])}
        identifier = fields["x-request-id"]
        status, body = 200, b"hello"
        kind, _, argument = path[1:].partition("/")
        if kind in ("reset", "close", "cut"):
            self.note(identifier, kind)
            if kind == "cut":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
                await writer.drain()
            elif kind == "reset":
                linger_not(writer)
            return False
        if kind == "slow":
            await asyncio.sleep(TIMEOUT * 3)
        elif kind in ("late", "later"):
            await asyncio.sleep(0.03)
        elif kind in ("code", "tries"):
            status = int(argument)
        elif kind == "retry":
            status = int(argument) if identifier in self.tried else 503
            self.tried.add(identifier)
        elif kind == "big":
            body = bytes(200_000)
        elif kind == "chain":
            status = await self.call("/reset" if argument == "reset" else f"/code/{argument}", identifier)
        self.note(identifier, status)
        if status in (204, 304):
            body = b""
        writer.write(f"HTTP/1.1 {status} Status\r\n".encode() + (b"" if status == 204 else b"content-length: %d\r\n" % len(body))
                     + b"\r\n" + body)
        return True

    async def call(self, path, identifier):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.outbound)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nhost: service2\r\nx-request-id: {identifier}\r\nconnection: close\r\n\r\n".encode())
            return int((await reader.read()).split(b" ", 2)[1])
        finally:
            writer.close()

    async def serve_grpc(self):
        import grpc

        async def call(request, context):
            identifier = dict(context.invocation_metadata())["x-request-id"]
            wish = request.decode()
            if wish in ("cancel", "deadline"):
                self.note(identifier, "late")
                await asyncio.sleep(TIMEOUT)
                return b""
            self.note(identifier, f"grpc {wish}")
            if wish != "0":
                code = next(code for code in grpc.StatusCode if code.value[0] == int(wish))
                await context.abort(code, "as wished")
            return b"hello"

        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        service, method = METHOD[1:].split("/")
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            service, {method: grpc.unary_unary_rpc_method_handler(call)}),))
        self.server.add_insecure_port(f"127.0.0.1:{self.port + 1}")
        await self.server.start()


def linger_not(writer):
    """The end of the connection will be a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# The proxies


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def typed(name, message, **fields):
    return {"name": name, "typed_config": {"@type": message if "/" in message else f"{TYPES}.{message}", **fields}}


def cluster(name, port, service=None, h2=False):
    found = {"name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": {"cluster_name": name, "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]},
        "circuit_breakers": {"thresholds": [{"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096,
                                             "max_retries": 4096}]}}
    if service:
        found["metadata"] = {"filter_metadata": {"istio": {"services": [
            {"host": f"{service}.default.svc.cluster.local", "name": service, "namespace": "default"}]}}}
    if h2:
        found["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http2_protocol_options": {}}}}
    return found


LOG = {"id": "%REQ(X-REQUEST-ID)%", "code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%", "grpc": "%GRPC_STATUS_NUMBER%",
       "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "cluster": "%UPSTREAM_CLUSTER%", "type": "%REQ(CONTENT-TYPE)%",
       "details": "%RESPONSE_CODE_DETAILS%"}


def listener(name, port, direction, routes, folder):
    """`routes` by prefix; what is gRPC goes to the cluster of the same name with `-grpc`."""
    def route(match, action):
        return {"match": match, **action}

    exchange = typed("istio.metadata_exchange", "type.googleapis.com/io.istio.http.peer_metadata.Config", **{
        f"{'upstream' if direction == 'OUTBOUND' else 'downstream'}_{what}": [{"istio_headers": {}}]
        for what in ("discovery", "propagation")})
    manager = typed(
        "envoy.filters.network.http_connection_manager", "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name, codec_type="AUTO",
        access_log=[typed("envoy.access_loggers.file", "access_loggers.file.v3.FileAccessLog", path=str(folder / f"{name}.log"),
                          log_format={"json_format": LOG})],
        route_config={"name": name, "virtual_hosts": [{"name": "any", "domains": ["*"], "routes": [
            route(match, action) for match, action in routes]}]},
        http_filters=[exchange, typed("istio.stats", "type.googleapis.com/stats.PluginConfig"),
                      typed("envoy.filters.http.router", "filters.http.router.v3.Router")])
    return {"name": name, "address": address(port), "traffic_direction": direction, "filter_chains": [{"filters": [manager]}]}


def proxy(name, admin, listeners, clusters):
    service = name.removesuffix("-sidecar")
    return {
        "node": {"id": f"{name}-1", "cluster": service, "metadata": {
            "NAMESPACE": "default", "WORKLOAD_NAME": f"{service}-v1", "CLUSTER_ID": "Kubernetes", "MESH_ID": "cluster.local",
            "LABELS": {"app": service, "version": "v1", "service.istio.io/canonical-name": service,
                       "service.istio.io/canonical-revision": "v1"}}},
        "admin": {"address": address(admin)},
        "static_resources": {"listeners": listeners, "clusters": clusters}}


def configurations(ports, folder):
    """By proxy. The admin interface's port is `<name>-admin`."""
    retried = {"retry_policy": {"retry_on": "5xx,connect-failure", "num_retries": 1, "retry_back_off": {
        "base_interval": "0.001s", "max_interval": "0.002s"}}}
    plain = {"cluster": "service1", "timeout": "5s"}
    front = [
        ({"prefix": "/", "grpc": {}}, {"route": {"cluster": "service1-grpc", "timeout": "5s"}}),
        ({"prefix": "/direct"}, {"direct_response": {"status": 418, "body": {"inline_string": "here"}}}),
        ({"prefix": "/dead"}, {"route": {"cluster": "dead"}}),
        ({"prefix": "/retry"}, {"route": {**plain, **retried}}), ({"prefix": "/tries"}, {"route": {**plain, **retried}}),
        ({"prefix": "/slow"}, {"route": {**plain, "timeout": f"{TIMEOUT}s"}}),
        # By HTTP/2, where a request that is given up does not end a connection.
        *(({"prefix": f"/{name}"}, {"route": {**plain, "cluster": "service1-h2"}}) for name in ("big", "cut", "later")),
        *(({"prefix": f"/{name}"}, {"route": plain}) for name in ("code", "reset", "close", "late", "chain"))]

    def inbound(service):
        return [({"prefix": "/", "grpc": {}}, {"route": {"cluster": "local-grpc", "timeout": "0s"}}),
                ({"prefix": "/"}, {"route": {"cluster": "local", "timeout": "0s"}})]

    found = {"front-proxy": proxy("front-proxy", ports["front-proxy-admin"], [
        listener("front", ports["front"], "OUTBOUND", front, folder)], [
        cluster("service1", ports["inbound1"], "service1"), cluster("service1-grpc", ports["inbound1"], "service1", h2=True),
        cluster("service1-h2", ports["inbound1"], "service1", h2=True),
        cluster("dead", ports["dead"], "dead")])}
    for number, service in enumerate(SERVICES, 1):
        listeners = [listener(f"inbound{number}", ports[f"inbound{number}"], "INBOUND", inbound(service), folder)]
        clusters = [cluster("local", ports[service], service), cluster("local-grpc", ports[service] + 1, service, h2=True)]
        if number == 1:
            listeners.append(listener("outbound1", ports["outbound1"], "OUTBOUND", [
                ({"prefix": "/"}, {"route": {"cluster": "service2", "timeout": "5s"}})], folder))
            clusters.append(cluster("service2", ports["inbound2"], "service2"))
        found[f"{service}-sidecar"] = proxy(f"{service}-sidecar", ports[f"{service}-sidecar-admin"], listeners, clusters)
    return found


# The clients


class Client:
    """One after the other, each with an id of its own."""

    def __init__(self, port, seed, channel, accounts):
        self.port = port
        self.random = random.Random(seed)
        self.channel = channel
        self.accounts = accounts
        self.connection = None

    async def run(self, count):
        call = self.channel.unary_unary(METHOD)
        for _ in range(count):
            wish = self.random.choices(list(WISHES), list(WISHES.values()))[0]
            identifier = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
            self.accounts[key(identifier)] = wish, None
            if wish.startswith("grpc"):
                seen = await self.call(call, wish.split()[1], identifier)
            else:
                try:
                    seen = await self.exchange(wish, identifier)
                except (OSError, asyncio.IncompleteReadError):
                    seen = "cut"
                    self.leave()
            self.accounts[key(identifier)] = wish, seen
        self.leave()

    def leave(self):
        if self.connection:
            self.connection[1].close()
        self.connection = None

    async def exchange(self, wish, identifier):
        self.connection = self.connection or await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.connection
        path = self.random.choice(["/late", "/later"]) if wish.startswith("leave") else wish
        writer.write(f"GET {path} HTTP/1.1\r\nhost: front\r\nx-request-id: {identifier}\r\n\r\n".encode())
        if wish.startswith("leave"):
            if wish == "leave late":
                await asyncio.sleep(self.random.random() * 0.06)
            else:
                await writer.drain()
            self.leave()
            return "left"
        async with asyncio.timeout(20):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            status = int(head.split(" ", 2)[1])
            if "transfer-encoding: chunked" in head:
                while size := int(await reader.readline(), 16):
                    await reader.readexactly(size + 2)
                await reader.readline()
            elif "content-length:" in head:
                await reader.readexactly(int(head.partition("content-length:")[2].split("\r\n")[0]))
        if "connection: close" in head:
            self.leave()
        return str(status)

    async def call(self, call, wish, identifier):
        import grpc

        metadata = (("x-request-id", identifier),)
        try:
            running = call(wish.encode(), metadata=metadata, timeout=TIMEOUT / 4 if wish == "deadline" else 20)
            if wish == "cancel":
                await asyncio.sleep(0.05)
                running.cancel()
            await running
            return "grpc 0"
        except grpc.aio.AioRpcError as error:
            return "left" if wish == "deadline" else f"grpc {error.code().value[0]}"
        except asyncio.CancelledError:
            return "left"


# The accounts


class Accounts:
    def __init__(self, options):
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="accounts-"))
        self.processes = {}
        self.wrong = []

    async def run(self):
        names = ["front", "inbound1", "outbound1", "inbound2", "dead", "front-proxy-admin", *(f"{s}-sidecar-admin" for s in SERVICES)]
        ports = free_ports(len(names) + 4)
        self.ports = dict(zip(names, ports))
        for number, service in enumerate(SERVICES):
            self.ports[service] = ports[len(names) + 2 * number]  # and the next one, for gRPC
        try:
            await self.start()
            seen = await self.requests()
            metrics = await self.settled()
            for name in SERVICES:
                self.processes[name].communicate(b"\n", timeout=20)
            self.join(seen, metrics)
        finally:
            for process in reversed(self.processes.values()):
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
            for process in self.processes.values():
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if self.options.keep:
                print(f"kept: {self.folder}")
            else:
                shutil.rmtree(self.folder, ignore_errors=True)
        return self.wrong

    async def start(self):
        for name in SERVICES:
            self.processes[name] = subprocess.Popen(
                [sys.executable, __file__, "--serve", name, str(self.ports[name]), str(self.ports["outbound1"]),
                 str(self.folder / f"{name}.log"), "--proxy", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for name, configured in configurations(self.ports, self.folder).items():
            path = self.folder / f"{name}.json"
            path.write_text(json.dumps(configured))
            with open(self.folder / f"{name}.err", "wb") as log:
                self.processes[name] = subprocess.Popen(
                    [self.options.proxy, "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "warning",
                     "--drain-time-s", "1", "--file-flush-interval-msec", "100"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for name in SERVICES:
            if await asyncio.to_thread(self.processes[name].stdout.readline) != b"ready\n":
                sys.exit(f"accounts: {name} does not start")
        for name in configurations(self.ports, self.folder):
            end = time.monotonic() + 30
            while True:
                try:
                    await self.admin(name, "/ready")
                    break
                except OSError:
                    if self.processes[name].poll() is not None or time.monotonic() > end:
                        sys.exit(f"accounts: {name} does not start:\n"
                                 + (self.folder / f"{name}.err").read_text(errors="replace")[-2000:])
                    await asyncio.sleep(0.05)

    async def admin(self, name, path):
        def read():
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[f'{name}-admin']}{path}", timeout=20) as response:
                return response.read().decode()

        return await asyncio.to_thread(read)

    async def requests(self):
        import grpc

        seen = {}
        began = time.monotonic()
        # A connection for each: a client that cancels must not wait for those of others.
        channels = [grpc.aio.insecure_channel(f"127.0.0.1:{self.ports['front']}", options=[("grpc.use_local_subchannel_pool", 1)])
                    for _ in range(CLIENTS)]
        await asyncio.gather(*(
            Client(self.ports["front"], self.options.seed * 1000 + number, channels[number], seen).run(
                self.options.requests // CLIENTS) for number in range(CLIENTS)))
        for channel in channels:
            await channel.close()
        print(f"{len(seen)} requests in {time.monotonic() - began:.0f} seconds")
        return seen

    async def settled(self):
        """Istio's metrics of every proxy, when nothing is on its way any more."""
        end = time.monotonic() + SETTLE
        found = {}
        for name in ("front-proxy", *(f"{service}-sidecar" for service in SERVICES)):
            while True:
                values = json.loads(await self.admin(name, "/stats?format=json"))["stats"]
                left = [entry["name"] for entry in values if entry.get("value") and entry.get("name", "").endswith(
                    "downstream_rq_active") and not entry["name"].startswith(("http.admin", "listener.admin"))]
                if not left:
                    break
                if time.monotonic() > end:
                    self.wrong.append(f"{name}: {left} when all was over")
                    break
                await asyncio.sleep(0.1)
            found[name] = [sample for sample in samples(await self.admin(name, "/stats/prometheus"))
                           if sample[0].startswith("istio_request")]
        await asyncio.sleep(0.5)  # the logs are written every 100 ms
        return found

    def lines(self, name):
        """The lines of an access log, by request."""
        found = defaultdict(list)
        for line in (self.folder / f"{name}.log").read_text().splitlines():
            entry = json.loads(line)
            found[key(str(entry["id"]))].append(entry)
        return found

    def served(self, name):
        found = defaultdict(list)
        for line in (self.folder / f"{name}.log").read_text().splitlines():
            identifier, _, status = line.partition(" ")
            found[key(identifier)].append(status)
        return found

    # What must fit together

    def check(self, holds, text):
        if not holds:
            self.wrong.append(text)

    def join(self, seen, metrics):
        logs = {name: self.lines(name) for name in ("front", "inbound1", "outbound1", "inbound2")}
        served = {name: self.served(name) for name in SERVICES}
        compared = Counter()
        for identifier, (wish, status) in seen.items():
            lines = logs["front"].get(identifier, [])
            # Whoever leaves at once may be gone before the proxy has read anything.
            if wish == "leave early" and not lines or status == "left" and wish.startswith("grpc") and not lines:
                continue
            if len(lines) != 1:
                self.wrong.append(f"{wish} {identifier}: {len(lines)} lines in the front proxy's log: {lines}")
                continue
            line = lines[0]
            if status not in ("left", "cut"):
                self.check(told(line) == status, f"{wish} {identifier}: the client saw {status}, the front proxy {line}")
                compared["client and front proxy"] += 1
            self.hop(wish, identifier, line, logs["inbound1"].get(identifier, []), "service1-sidecar", compared)
            for inner in logs["inbound1"].get(identifier, []):
                # Whoever is too late is told so by the library of gRPC, not by the service.
                if inner["flags"] in (None, "-") and wish != "grpc deadline":
                    self.check(told(inner) in served["service1"].get(identifier, []),
                               f"{wish} {identifier}: service1 did not answer {inner}, but {served['service1'].get(identifier)}")
                    compared["service1's sidecar and service1"] += 1
            for call in logs["outbound1"].get(identifier, []):
                self.hop(wish, identifier, call, logs["inbound2"].get(identifier, []), "service2-sidecar", compared)
                compared["calls of service1"] += 1
            calls = sum(1 for one in served["service1"].get(identifier, [])) if wish.startswith("/chain") else 0
            self.check(len(logs["outbound1"].get(identifier, [])) == calls,
                       f"{wish} {identifier}: {calls} calls of service1, {logs['outbound1'].get(identifier)}")
        for name in logs:
            unknown = set(logs[name]) - set(seen)
            self.check(not unknown, f"{name}: {len(unknown)} requests that nobody sent: {list(unknown)[:3]}")
        for text, count in compared.items():
            print(f"  compared {count} times: {text}")
        self.count(logs, metrics)

    def hop(self, wish, identifier, outer, inner, name, compared):
        """A request as the one who sent it on wrote it down, and as the next one did."""
        went = int(outer["attempts"] or 0) if outer["cluster"] not in (None, "dead", "-") else 0
        ended = outer["flags"] in (None, "-") or outer["flags"] in ("URX",)
        if ended:
            self.check(len(inner) == went, f"{wish} {identifier}: sent {went} times, {len(inner)} came to {name}: {outer} {inner}")
            if went and inner:
                last = inner[-1]
                self.check(told(last) == told(outer) or last["flags"] not in (None, "-") and last["code"] == outer["code"],
                           f"{wish} {identifier}: {outer} and {last} of {name}")
                compared[f"{'front proxy' if name == 'service1-sidecar' else 'outbound and inbound'}: codes of {name}"] += 1
        else:
            self.check(len(inner) <= max(went, 1), f"{wish} {identifier}: sent {went} times, {len(inner)} came to {name}: {outer}")

    def count(self, logs, metrics):
        """Istio's counts of each reporter against the lines of its log."""
        for name, listener_name, reporter in (
                ("front-proxy", "front", "source"), ("service1-sidecar", "inbound1", "destination"),
                ("service1-sidecar", "outbound1", "source"), ("service2-sidecar", "inbound2", "destination")):
            logged, counted, series = Counter(), Counter(), 0
            for lines in logs[listener_name].values():
                for line in lines:
                    logged[labels_of(line, name, reporter)] += 1
            for metric, labels, value in metrics[name]:
                if metric == "istio_requests_total" and labels["reporter"] == reporter:
                    series += 1
                    counted[told_by(labels, reporter)] += int(value)
            for labels in logged.keys() | counted.keys():
                self.check(logged[labels] == counted[labels],
                           f"{name}, reporter {reporter}, {dict(zip(LABELS, labels))}: {logged[labels]} lines in the log, "
                           f"{counted[labels]} counted")
            total = sum(logged.values())
            durations = sum(int(value) for metric, labels, value in metrics[name]
                            if metric == "istio_request_duration_milliseconds_count" and labels["reporter"] == reporter)
            self.check(durations == sum(counted.values()), f"{name}, {reporter}: {durations} durations of {sum(counted.values())}")
            print(f"  {name}, reporter {reporter}: {total} requests in the log, {sum(counted.values())} counted in {series} series")


def told(line):
    """The outcome as a client sees it."""
    if str(line["type"] or "").startswith("application/grpc"):
        return f"grpc {line['grpc']}"
    return str(line["code"])


LABELS = ("code", "flags", "gRPC", "protocol", "service", "source", "destination")
UNKNOWN_YET = "*"  # the other end has said who it is, or not: it depends on how far the request came


def labels_of(line, name, reporter):
    """What Istio's metric says of a request with this line in a proxy's log."""
    grpc = str(line["type"] or "").startswith("application/grpc")
    flags, own = str(line["flags"] or "-"), f"{name.removesuffix('-sidecar')}-v1"
    if reporter == "destination":
        service, source, destination = own.removesuffix("-v1"), "front-proxy-v1" if own == "service1-v1" else "service1-v1", own
    else:
        # A request that goes nowhere is counted for the host that was asked for.
        service = (line["cluster"] or "front").partition("-")[0]
        source, destination = own, f"{service}-v1" if service in SERVICES else "unknown"
        if service in SERVICES and flags != "-":
            destination = UNKNOWN_YET
    return (str(line["code"] or 0), flags, str(line["grpc"]) if grpc and line["grpc"] is not None else "",
            "grpc" if grpc else "http", service, source, destination)


def told_by(labels, reporter):
    """The same of a series."""
    unknown = reporter == "source" and labels["destination_service_name"] in SERVICES and labels["response_flags"] != "-"
    return (labels["response_code"], labels["response_flags"], labels.get("grpc_response_status", ""), labels["request_protocol"],
            labels["destination_service_name"], labels["source_workload"],
            UNKNOWN_YET if unknown else labels["destination_workload"])


SAMPLE = re.compile(r'^(\w+)\{(.*)\} (\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(text):
    for line in text.splitlines():
        if match := SAMPLE.match(line):
            yield match[1], dict(LABEL.findall(match[2])), float(match[3])


def free_ports(count):
    """One after the other, below the range from which the kernel takes the ports of clients."""
    while True:
        first = random.SystemRandom().randrange(20000, 31000)
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return list(range(first, first + count))
        except OSError:
            continue


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy", required=True)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the logs, and say where")
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        name, port, outbound, log = options.serve
        return asyncio.run(Service(name, int(port), int(outbound), log).run())
    wrong = asyncio.run(Accounts(options).run())
    for text in wrong[:30]:
        print(f"WRONG   {text}")
    print(f"accounts: {len(wrong)} findings (seed {options.seed})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
