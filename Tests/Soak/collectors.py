#!/usr/bin/env python3
"""Collectors of spans that hang, reset, answer nonsense, are slow, absent or come and go: requests must not notice, and memory must
stay bounded.

    collectors.py --proxy FILE [--seconds S] [--seed N]

Three listeners send a span of every request, and of every request to the upstream: by Zipkin's JSON, by OTLP over HTTP and over
gRPC. Each kind of collector is there for `--seconds` (default: 2), while requests come as fast as the machine does them (with
wrk, if it is installed) and some at a steady pace, whose times are compared with those beside a good collector. Then the
collector is good again, and must get spans. Envoy can be tested as well. Needs the package `h2`.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from bad_collectors import PROVIDERS, WAYS, Collectors, free_port

BACKEND = Path(__file__).resolve().parent.parent / "Benchmarks/backend.c"
TYPES = "type.googleapis.com/envoy.extensions"
TRACE = "type.googleapis.com/envoy.config.trace.v3"
PACE = 150  # requests a second whose times are looked at
GROWTH = 32 << 10  # KiB of memory that spans may take, in all
DESCRIPTORS = 64
RECOVERY = 40  # seconds; proxies wait longer and longer for a collector that fails


# The proxy


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name, port, speaks_h2=False):
    found = {"name": name, "type": "STATIC", "connect_timeout": "0.5s", "load_assignment": {"cluster_name": name, "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]}}
    if speaks_h2:
        found["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}}}}
    return found


def provider(name):
    if name == "zipkin":
        return {"name": "envoy.tracers.zipkin", "typed_config": {
            "@type": f"{TRACE}.ZipkinConfig", "collector_cluster": name, "collector_endpoint": "/api/v2/spans",
            "collector_endpoint_version": "HTTP_JSON"}}
    by = {"otlp-http": {"http_service": {"http_uri": {"uri": "http://x/v1/traces", "cluster": name, "timeout": "1s"}}},
          "otlp-grpc": {"grpc_service": {"envoy_grpc": {"cluster_name": name}, "timeout": "1s"}}}[name]
    return {"name": "envoy.tracers.opentelemetry", "typed_config": {
        "@type": f"{TRACE}.OpenTelemetryConfig", "service_name": "soak", **by}}


def listener(name, port):
    return {"name": name, "address": address(port), "filter_chains": [{"filters": [{
        "name": "envoy.filters.network.http_connection_manager", "typed_config": {
            "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name, "tracing": {"provider": provider(name), "spawn_upstream_span": True},
            "route_config": {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]}]},
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                "@type": f"{TYPES}.filters.http.router.v3.Router"}}]}}]}]}


class Soak:
    def __init__(self, options):
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="collectors-"))
        self.process = None
        self.wrong = []

    async def run(self):
        # The benchmarks' upstream: as many bytes as the path says, at once.
        program, upstream = self.folder / "backend", free_port()
        subprocess.run(["cc", "-O2", "-o", str(program), str(BACKEND)], check=True)
        backend = subprocess.Popen([str(program), str(upstream)], stdin=subprocess.DEVNULL)
        self.collectors = Collectors()
        to = await self.collectors.start(self.options.seed)
        self.wanted = {"upstream": upstream, **to}
        try:
            usual = None
            for way in self.options.ways:
                # Each kind meets a proxy that has not met another: whoever fails is left alone for a while.
                await self.start()
                await self.phase("good", quiet=True)  # warm
                usual = usual or await self.phase("good")
                memory, descriptors = self.memory(), self.descriptors()
                self.judge(way, usual, memory, descriptors, await self.phase(way))
                await self.recovered(way)
                await self.settled(way)
                self.end()
        finally:
            self.end()
            await self.collectors.stop()
            backend.kill()
            backend.wait()
        return self.wrong

    async def start(self):
        self.ports = {name: free_port() for name in PROVIDERS}
        self.admin = free_port()
        path = self.folder / "proxy.json"
        path.write_text(json.dumps({
            "node": {"id": "soak", "cluster": "soak"}, "admin": {"address": address(self.admin)},
            "layered_runtime": {"layers": [{"name": "often", "static_layer": {
                "tracing.zipkin.flush_interval_ms": 200, "tracing.opentelemetry.flush_interval_ms": 200,
                "tracing.zipkin.request_timeout": 1000}}]},
            "static_resources": {
                "listeners": [listener(name, port) for name, port in self.ports.items()],
                "clusters": [cluster(name, port, name == "otlp-grpc") for name, port in self.wanted.items()]}}))
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.options.proxy, "-c", str(path), "--concurrency", "2", "--disable-hot-restart", "-l", "error",
                 "--drain-time-s", "1"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        await self.ready()

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        self.process = None

    async def recovered(self, way):
        """Spans come again soon after the collectors are good."""
        before = await self.collectors.become("good")
        began, left = time.monotonic(), set(PROVIDERS)
        while left and time.monotonic() < began + RECOVERY:
            until = time.monotonic() + 0.5
            await asyncio.gather(*(self.paced(port, [], [], until) for port in self.ports.values()))
            for name, taken in (await self.collectors.become("good")).items():
                if name in left and taken > before[name]:
                    left.remove(name)
        print(f"  {'':<14}spans came again after {time.monotonic() - began:.1f} seconds", flush=True)
        self.wrong += [f"{way}: no spans came to {name} in {RECOVERY} seconds after it was good again" for name in left]

    async def ready(self):
        end = time.monotonic() + 30
        while True:
            try:
                await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{self.admin}/ready", timeout=5)
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    sys.exit("collectors: the proxy does not start:\n" + (self.folder / "log").read_text(errors="replace")[-2000:])
                await asyncio.sleep(0.05)

    async def phase(self, way, quiet=False):
        """How requests fared beside collectors of this kind: times in milliseconds, errors, and the proxy's memory at most."""
        await self.collectors.become(way)
        times, errors, most = [], [], [self.memory()]
        until = time.monotonic() + self.options.seconds
        loads = await self.load()

        async def watch():
            while time.monotonic() < until:
                most.append(self.memory())
                await asyncio.sleep(0.05)

        await asyncio.gather(watch(), *(self.paced(port, times, errors, until) for port in self.ports.values()))
        for load in loads:
            text = (await load.communicate())[0].decode()
            errors += [line.strip() for line in text.splitlines() if "Socket errors" in line or "Non-2xx" in line]
        self.dropped = await self.counters()
        times.sort()
        found = {"count": len(times), "p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100],
                 "errors": errors, "memory": max(most)}
        if not quiet:
            print(f"  {way:<14}{found['count']:>7} paced{found['p50']:>9.2f} ms{found['p99']:>9.2f} ms{len(errors):>5} errors"
                  f"{found['memory'] / 1024:>9.1f} MiB{self.descriptors():>6} descriptors   {self.dropped}", flush=True)
        return found

    async def load(self):
        """As many requests as the machine can do, of a few connections to each listener."""
        if not shutil.which("wrk"):
            return []
        return [await asyncio.create_subprocess_exec(
            "wrk", "-t1", "-c4", f"-d{max(1, round(self.options.seconds))}s", "--timeout", "10s", f"http://127.0.0.1:{port}/150",
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for port in self.ports.values()]

    async def paced(self, port, times, errors, until):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        due = time.monotonic()
        while time.monotonic() < until:
            due += len(self.ports) / PACE
            await asyncio.sleep(max(0, due - time.monotonic()))
            began = time.monotonic()
            try:
                writer.write(b"GET /5 HTTP/1.1\r\nhost: soak\r\n\r\n")
                async with asyncio.timeout(10):
                    head = await reader.readuntil(b"\r\n\r\n")
                    await reader.readexactly(5)
                if not head.startswith(b"HTTP/1.1 200"):
                    errors.append(head[:20].decode("latin-1"))
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                errors.append(repr(error))
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            times.append((time.monotonic() - began) * 1000)
            due = max(due, time.monotonic() - 0.1)
        writer.close()

    async def counters(self):
        def read():
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/stats?filter=^tracing", timeout=10) as response:
                return response.read().decode()

        found = dict(line.split(": ") for line in (await asyncio.to_thread(read)).splitlines() if ": " in line)
        return " ".join(f"{name.removeprefix('tracing.')} {value}" for name, value in found.items()
                        if "dropped" in name and value != "0")

    def memory(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise OSError("the proxy is gone")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def judge(self, way, usual, memory, descriptors, found):
        if found["errors"]:
            self.wrong.append(f"{way}: {len(found['errors'])} requests failed: {found['errors'][:3]}")
        for what, factor, more in (("p50", 3, 5), ("p99", 4, 50)):
            if found[what] > usual[what] * factor + more:
                self.wrong.append(f"{way}: {what} is {found[what]:.1f} ms; beside a good collector {usual[what]:.1f} ms")
        if found["memory"] > memory + GROWTH:
            self.wrong.append(f"{way}: {(found['memory'] - memory) / 1024:.0f} MiB more memory")
        if self.descriptors() > descriptors + DESCRIPTORS:
            self.wrong.append(f"{way}: {self.descriptors()} descriptors, there were {descriptors}")

    async def settled(self, way):
        """Nothing may be on its way when no more requests come."""
        end = time.monotonic() + 15

        def read():
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/stats?format=json", timeout=10) as response:
                return json.load(response)["stats"]

        while True:
            left = [f"{entry['name']} is {entry['value']}" for entry in await asyncio.to_thread(read)
                    if entry.get("value") and entry.get("name", "").endswith(("rq_active", "rq_pending_active"))
                    and not entry["name"].startswith(("http.admin", "listener.admin"))]
            if not left:
                return
            if time.monotonic() > end:
                self.wrong += [f"{way}: {text} when all was over" for text in left]
                return
            await asyncio.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy", required=True)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--way", action="append", choices=WAYS, dest="ways", help="only these")
    options = parser.parse_args()
    options.ways = options.ways or WAYS
    soak = Soak(options)
    try:
        wrong = asyncio.run(soak.run())
    finally:
        shutil.rmtree(soak.folder, ignore_errors=True)
    for text in wrong[:20]:
        print(f"WRONG   {text}")
    print(f"collectors: {len(wrong)} findings")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
