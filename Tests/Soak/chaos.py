#!/usr/bin/env python3
"""Upstreams that fail in every way, clients that leave, and configurations that change, under retries, breakers, outlier detection,
health checks, a local limit, faults, mirrors, tracing and metrics: what arrives must be right all the same, and in the end nothing
may be left over.

    chaos.py --proxy FILE [--seconds S] [--seed N]

Every upstream answers with the body that it got, or in one of twenty wrong ways; so a client can tell whether a 200 is right. In
the end all gauges must be back at zero and all descriptors closed. Envoy can be tested as well.
"""

import argparse
import asyncio
import contextlib
import copy
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

TYPES = "type.googleapis.com/envoy.extensions"
CLIENTS = 60
SETTLE = 15.0  # seconds in which all must be over after the last request
RELOAD_INTERVAL = 0.25
# What an upstream does with a request, and how often among the others.
DEEDS = {
    "right": 16, "right in chunks": 6, "right and close": 2, "late": 2, "after 100": 1, "early answer": 1,
    "503": 6, "503 early": 2, "503 early and close": 2, "503 without a body": 2, "503 with a body that stops": 1, "retry-after": 1,
    "close": 2, "close late": 2, "reset": 2, "half a head": 1, "half a body": 1, "nothing": 1, "garbage": 1,
}
EARLY = b"early"


def typed(name, message, **fields):
    return {"name": name, "typed_config": {"@type": f"{TYPES}.{message}", **fields}}


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def tracing(number):
    """One of several ways to trace; spans go to upstreams that do not know what they are."""
    kinds = {
        "zipkin": ("ZipkinConfig", {
            "collector_cluster": "few", "collector_endpoint": "/few", "collector_endpoint_version": "HTTP_JSON",
            "trace_context_option": "USE_B3_WITH_W3C_PROPAGATION"}),
        "opentelemetry": ("OpenTelemetryConfig", {"service_name": "chaos", "http_service": {"http_uri": {
            "uri": "http://few/few", "cluster": "few", "timeout": "0.3s"}}})}
    kind = list(kinds)[number % 2]
    message, fields = kinds[kind]
    return {
        "random_sampling": {"value": [100, 10, 0][number // 2 % 3]}, "spawn_upstream_span": number % 3 != 1,
        "verbose": number % 5 == 0,
        "custom_tags": [{"tag": "agent", "request_header": {"name": "user-agent"}},
                        {"tag": "all", "value": "%REQ(tracestate)% %UPSTREAM_HOST%"}],
        "provider": {"name": f"envoy.tracers.{kind}", "typed_config": {
            "@type": f"type.googleapis.com/envoy.config.trace.v3.{message}", **fields}}}


def configuration(listener, admin, upstreams, istio):
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    retries = {
        "retry_on": "5xx,reset", "num_retries": 4, "per_try_timeout": "0.4s", "retry_back_off": {"base_interval": "0.005s"},
        "retry_host_predicate": [typed("envoy.retry_host_predicates.previous_hosts",
                                       "retry.host.previous_hosts.v3.PreviousHostsPredicate")],
        "rate_limited_retry_back_off": {"reset_headers": [{"name": "retry-after", "format": "SECONDS"}], "max_interval": "2s"}}

    def route(name, timeout, **more):
        return {"match": {"prefix": f"/{name}"}, "route": {"cluster": name, "timeout": timeout, "retry_policy": retries, **more}}

    def cluster(name, limits, **more):
        return {
            "name": name, "connect_timeout": "1s", "circuit_breakers": {"thresholds": [{**limits, "track_remaining": True}]},
            "load_assignment": {"cluster_name": name, "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(port)}} for port in upstreams]}]}, **more}

    watched = {
        "outlier_detection": {
            "consecutive_5xx": 3, "interval": "0.1s", "base_ejection_time": "0.3s", "max_ejection_percent": 100,
            "split_external_local_origin_errors": True, "consecutive_local_origin_failure": 3},
        "health_checks": [{"timeout": "0.2s", "interval": "0.2s", "no_traffic_interval": "0.2s", "unhealthy_threshold": 2,
                           "healthy_threshold": 1, "http_health_check": {"path": "/health"}}]}
    limit = typed("envoy.filters.http.local_ratelimit", "filters.http.local_ratelimit.v3.LocalRateLimit", stat_prefix="limit",
                  token_bucket={"max_tokens": 1000, "tokens_per_fill": 1000, "fill_interval": "1s"}, filter_enabled=always,
                  filter_enforced=always)
    fault = typed("envoy.filters.http.fault", "filters.http.fault.v3.HTTPFault", max_active_faults=20,
                  delay={"fixed_delay": "0.05s", "percentage": {"numerator": 10}},
                  abort={"http_status": 418, "percentage": {"numerator": 2}},
                  response_rate_limit={"fixed_limit": {"limit_kbps": 4000}, "percentage": {"numerator": 10}})
    stats = {"name": "istio.stats", "typed_config": {"@type": "type.googleapis.com/stats.PluginConfig"}}
    manager = typed(
        "envoy.filters.network.http_connection_manager", "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="chaos", tracing=tracing(0), http_filters=[
            *([stats] if istio else []), limit, fault, typed("envoy.filters.http.router", "filters.http.router.v3.Router")],
        route_config={"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": [
            route("many", "5s"), route("budget", "1s", request_mirror_policies=[{"cluster": "few"}]), route("few", "5s")]}]})
    return {
        "admin": {"address": address(admin)},
        "static_resources": {
            "listeners": [{"name": "chaos", "address": address(listener), "filter_chains": [{"filters": [manager]}]}],
            "clusters": [cluster("many", {"max_retries": 1000}, lb_policy="RANDOM"),
                         cluster("budget", {"retry_budget": {}, "max_connections": 10, "max_requests": 30,
                                            "max_pending_requests": 10}, lb_policy="LEAST_REQUEST"),
                         cluster("few", {"max_retries": 3, "max_requests": 20}, **watched)]}}


def changed(whole, number):
    """Another configuration for the same traffic."""
    changed = copy.deepcopy(whole)
    manager = changed["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    if number % 4:
        manager["tracing"] = tracing(number)
    else:
        del manager["tracing"]
    for cluster in changed["static_resources"]["clusters"]:
        if number % 3 == 0:
            del cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][number % 4]
        if number % 5 == 1:
            cluster["circuit_breakers"]["thresholds"][0]["max_requests"] = 5 + number % 50
        if number % 7 == 2:
            cluster["connect_timeout"] = "2s"
    return changed


def trace_headers(source):
    """What clients may say of a trace: contexts that are right, and others."""
    def hexadecimal(digits):
        text = f"{source.getrandbits(digits * 4):0{digits}x}"
        return text if source.random() < 0.9 else source.choice([text[:-1], text + "0", text.upper(), "0" * digits, "\xe4" * 4, ""])

    found = []
    if source.random() < 0.3:
        version = source.choice(["00", "01", "ff", ""])
        found.append(("traceparent", f"{version}-{hexadecimal(32)}-{hexadecimal(16)}-{hexadecimal(2)}"))
        if source.random() < 0.3:
            found += [("tracestate", source.choice(["a=1", "a=1,b=2", "", "\xff\xfe", "x" * 3000]))] * source.choice([1, 1, 2, 20])
    if source.random() < 0.2:
        found.append(("b3", source.choice([
            f"{hexadecimal(32)}-{hexadecimal(16)}-1-{hexadecimal(16)}", f"{hexadecimal(16)}-{hexadecimal(16)}",
            "0", "1", "d", "-", "", hexadecimal(16)])))
    if source.random() < 0.2:
        found += [("x-b3-traceid", hexadecimal(source.choice([16, 32]))), ("x-b3-spanid", hexadecimal(16)),
                  ("x-b3-parentspanid", hexadecimal(16)), ("x-b3-sampled", source.choice(["0", "1", "true", "what"]))]
        del found[len(found) - source.choice([0, 0, 0, 1, 2, 3]):]
    if source.random() < 0.3:
        identifier = f"{source.getrandbits(128):032x}"
        identifier = "-".join([identifier[:8], identifier[8:12], identifier[12:16], identifier[16:20], identifier[20:]])
        found.append(("x-request-id", source.choice([identifier, identifier.upper(), identifier[:-1], "mine", "", "\xe4" * 36])))
    if source.random() < 0.1:
        found.append(("x-client-trace-id", source.choice(["ticket", "", "\xe4", "y" * 2000])))
    if source.random() < 0.3:
        found.append(("user-agent", source.choice(["curl/8", "\xe4\xf6", '"\\\t', "z" * 5000])))
    if source.random() < 0.1:
        found.append(("x-envoy-peer-metadata", source.choice(["", "!", "AAAA", "Cg" * 2000, "ChIKDkFQUF9DT05UQUlORVJTEgAaAA=="])))
        found.append(("x-envoy-peer-metadata-id", source.choice(["", "router~1", "\xe4"])))
    return found


async def read_head(reader):
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    return lines[0], {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}


async def read_body(reader, fields):
    if "chunked" not in fields.get("transfer-encoding", ""):
        return await reader.readexactly(int(fields.get("content-length", 0)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


def linger_not(writer):
    """The end of the connection will be a reset."""
    # The other side may have closed it first.
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Upstream:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.deeds = Counter()

    async def connected(self, reader, writer):
        try:
            while await self.request(reader, writer):
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError):
            pass
        finally:
            writer.close()

    async def request(self, reader, writer):
        """Whether the connection goes on."""
        _, fields = await read_head(reader)
        deed = self.random.choices(list(DEEDS), list(DEEDS.values()))[0]
        self.deeds[deed] += 1

        def answer(status, body, *lines):
            writer.write("\r\n".join([f"HTTP/1.1 {status} Status", *lines, f"content-length: {len(body)}", "", ""]).encode() + body)

        if deed in ("close", "reset"):
            if deed == "reset":
                linger_not(writer)
            return False
        if deed in ("503 early", "503 early and close", "early answer"):
            answer(503 if "503" in deed else 200, EARLY)
            if "close" not in deed:
                await read_body(reader, fields)
            return "close" not in deed
        if deed == "after 100":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await read_body(reader, fields)
        if deed == "close late":
            return False
        if deed == "nothing":
            await asyncio.sleep(1.5)
            return False
        if deed == "garbage":
            writer.write(b"\0\xffnonsense\r\n\r\n")
            return False
        if deed == "half a head":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-le")
            return False
        if deed == "half a body":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(body) + 100) + body)
            return False
        if deed == "503 with a body that stops":
            writer.write(b"HTTP/1.1 503 No\r\ncontent-length: 200000\r\n\r\nno")
            await reader.read()
            return False
        if deed == "late":
            await asyncio.sleep(self.random.random() * 0.3)
        if deed == "right in chunks":
            chunks = b"%x\r\n" % len(body) + body + b"\r\n" if body else b""
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
        elif deed in ("503", "503 without a body", "retry-after"):
            answer(503, b"no" if deed == "503" else b"", *(["retry-after: 1"] if deed == "retry-after" else []))
        else:
            answer(200, body, *(["connection: close"] if "close" in deed else []))
        return "close" not in deed


class Client:
    """Sends requests one after the other, and leaves some of them."""

    def __init__(self, address, seed, results, wrong):
        self.address = address
        self.random = random.Random(seed)
        self.results = results
        self.wrong = wrong
        self.connection = None

    async def run(self, until):
        while time.monotonic() < until:
            try:
                self.connection = self.connection or await asyncio.open_connection(*self.address)
                await self.exchange(*self.connection)
            except TimeoutError:
                self.wrong.append("a request that was never answered")
                self.leave()
            except (OSError, asyncio.IncompleteReadError, ValueError):
                self.results["closed"] += 1
                self.leave()
        self.leave()

    def leave(self):
        if self.connection:
            if self.random.random() < 0.3:
                linger_not(self.connection[1])
            self.connection[1].close()
        self.connection = None

    async def exchange(self, reader, writer):
        size = self.random.choice([0, 0, 5, 10, 1000, 20000, 70000, 200000])
        if self.random.random() < 0.01:
            size = 1_200_000  # more than is kept for another attempt
        body, chunked, patience = self.random.randbytes(size), self.random.random() < 0.4, self.random.random()
        framing = "transfer-encoding: chunked" if chunked else f"content-length: {size}"
        context = "".join(f"{name}: {value}\r\n" for name, value in trace_headers(self.random))
        path = self.random.choice(["many", "budget", "few"])
        writer.write(f"POST /{path} HTTP/1.1\r\nhost: x\r\n{framing}\r\n{context}\r\n".encode("latin-1"))
        for start in range(0, size, 9000):
            piece = body[start:start + 9000]
            writer.write(b"%x\r\n" % len(piece) + piece + b"\r\n" if chunked else piece)
            if self.random.random() < 0.05:
                await asyncio.sleep(0.005)
            if patience < 0.03 and self.random.random() < 0.2:
                return self.leave()
        if chunked:
            writer.write(b"0\r\n\r\n")
        if patience < 0.08:
            await asyncio.sleep(self.random.random() * 0.1)
            return self.leave()
        async with asyncio.timeout(30):
            start, fields = await read_head(reader)
            got = await read_body(reader, fields)
        status = start.split(" ")[1]
        self.results[status] += 1
        if status == "200" and got not in (body, EARLY):
            self.wrong.append(f"{len(got)} bytes came back of {size}")
        if fields.get("connection") == "close":
            self.leave()


class Chaos:
    def __init__(self, options):
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        self.file = self.folder / "proxy.json"
        self.process = None
        self.admin = None

    def write(self, configured):
        (self.folder / "new").write_text(json.dumps(configured))
        os.rename(self.folder / "new", self.file)

    async def get(self, path):
        def answer():
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=10) as response:
                return response.read().decode()

        return await asyncio.to_thread(answer)

    async def statistics(self):
        entries = json.loads(await self.get("/stats?format=json"))["stats"]
        return {entry["name"]: entry["value"] for entry in entries if "name" in entry}

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    async def run(self):
        """What went wrong."""
        upstream = Upstream(self.options.seed)
        servers = [await asyncio.start_server(upstream.connected, "127.0.0.1", 0, limit=1 << 22) for _ in range(4)]
        ports = [server.sockets[0].getsockname()[1] for server in servers] + [free_port()]  # nobody listens at the last
        listener, self.admin = free_port(), free_port()
        version = subprocess.run([self.options.proxy, "--version"], capture_output=True, text=True, check=False).stdout
        whole = configuration(listener, self.admin, ports, istio="martlet" in version)
        self.write(whole)
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [self.options.proxy, "-c", str(self.file), "--concurrency", "2", "--disable-hot-restart", "-l", "error",
                 "--drain-time-s", "1"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            await self.ready()
            before = self.descriptors()
            results, wrong = Counter(), []
            until = time.monotonic() + self.options.seconds
            await asyncio.gather(self.reload(whole, until), *(
                Client(("127.0.0.1", listener), self.options.seed * 1000 + number, results, wrong).run(until)
                for number in range(CLIENTS)))
            print(f"answers: {dict(sorted(results.items()))}\nupstreams: {dict(sorted(upstream.deeds.items()))}")
            wrong += await self.left_over(before)
            return wrong
        finally:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(30)

    async def ready(self):
        end = time.monotonic() + 30
        while True:
            try:
                await self.get("/ready")
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    sys.exit("chaos: the proxy does not start:\n" + (self.folder / "log").read_text(errors="replace")[-2000:])
                await asyncio.sleep(0.05)

    async def reload(self, whole, until):
        number = 0
        while time.monotonic() < until - 1:
            await asyncio.sleep(RELOAD_INTERVAL)
            number += 1
            self.write(changed(whole, number))
            self.process.send_signal(signal.SIGHUP)
        self.write(whole)
        await asyncio.sleep(0.5)
        self.process.send_signal(signal.SIGHUP)

    async def left_over(self, before):
        """What is not as it was before the first request, though all is over."""
        if self.process.poll() is not None:
            return [f"the proxy ended with status {self.process.returncode}: "
                    + (self.folder / "log").read_text(errors="replace")[-2000:]]
        end = time.monotonic() + SETTLE
        while True:
            values = await self.statistics()
            left = [f"{name} is {value}" for name, value in values.items() if value and left_behind(name)]
            most = before + len(self.idle(values))
            if self.descriptors() > most:
                left.append(f"{self.descriptors()} descriptors are open, of at most {most}")
            if not left or time.monotonic() > end:
                return left
            await asyncio.sleep(0.1)

    @staticmethod
    def idle(values):
        """Connections to upstreams that wait for the next request, and some of the admin interface."""
        return range(sum(value for name, value in values.items() if name.endswith(".upstream_cx_active")) + 8)


def left_behind(statistic):
    """Whether it must be zero when nothing is on its way. The admin interface's own request always is."""
    if statistic.startswith(("http.admin.", "listener.admin.")):
        return False
    return statistic.endswith((".upstream_rq_active", ".upstream_rq_pending_active", ".downstream_rq_active", ".active_faults",
                               ".rq_open", ".rq_pending_open", ".rq_retry_open"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy", required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chaos = Chaos(options)
    try:
        wrong = asyncio.run(chaos.run())
    finally:
        shutil.rmtree(chaos.folder, ignore_errors=True)
    for text in wrong[:20]:
        print(f"WRONG   {text}")
    print(f"chaos: {len(wrong)} findings (seed {options.seed})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
