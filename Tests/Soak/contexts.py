#!/usr/bin/env python3
"""Requests with trace headers of every kind, right and wrong: what upstreams get must be a context, and what collectors get the
spans that it names.

    contexts.py --proxy FILE [--requests N] [--seed N]

Every request has a number, by which are joined: what the client sent, what the upstream got, and the spans. For each: all formats
that the upstream got are valid and agree; if they say that the trace is sampled, there is exactly one span of the request, and it
has the ids that the upstream got; if they do not, there is none; a context that was right goes on in its trace. All that collectors
get is decoded strictly: as JSON, and by OpenTelemetry's own definitions. Needs the package opentelemetry-proto.
"""

import argparse
import asyncio
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from pathlib import Path

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

import chaos
from chaos import TYPES, address, free_port, read_body, read_head

TRACE = "type.googleapis.com/envoy.config.trace.v3"
CLIENTS = 24
SETTLE = 20.0
PROVIDERS = {
    "zipkin": {"trace_context_option": "USE_B3_WITH_W3C_PROPAGATION"},
    "zipkin-own": {"trace_context_option": "USE_B3_WITH_W3C_PROPAGATION", "shared_span_context": False, "trace_id_128bit": True},
    "otlp": None,
    "otlp-upstream": None,  # with a span for the request that is sent on
}
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-0([0-9a-f])")
GIVEN_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
B3 = re.compile(r"([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d])(?:-([0-9a-f]{16}))?)?")
TRACE_ID = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
SPAN_ID = re.compile(r"[0-9a-f]{16}")


def span_id_of(text):
    return text and SPAN_ID.fullmatch(text) and text != "0" * 16


def provider(name, collector):
    if PROVIDERS[name] is None:
        return {"name": "envoy.tracers.opentelemetry", "typed_config": {
            "@type": f"{TRACE}.OpenTelemetryConfig", "service_name": "contexts", "http_service": {"http_uri": {
                "uri": f"http://collector/{name}", "cluster": "collector", "timeout": "5s"}}}}
    return {"name": "envoy.tracers.zipkin", "typed_config": {
        "@type": f"{TRACE}.ZipkinConfig", "collector_cluster": "collector", "collector_endpoint": f"/{name}",
        "collector_endpoint_version": "HTTP_JSON", **PROVIDERS[name]}}


def cluster(name, port):
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]}}


def configuration(ports, admin, upstream, collector):
    listeners = [{"name": name, "address": address(port), "filter_chains": [{"filters": [{
        "name": "envoy.filters.network.http_connection_manager", "typed_config": {
            "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": name,
            "tracing": {"provider": provider(name, collector), "random_sampling": {"value": 50},
                        "spawn_upstream_span": name == "otlp-upstream"},
            "route_config": {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]}]},
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                "@type": f"{TYPES}.filters.http.router.v3.Router"}}]}}]}]} for name, port in ports.items()]
    return {"node": {"id": "contexts", "cluster": "contexts"}, "admin": {"address": address(admin)},
            "layered_runtime": {"layers": [{"name": "soon", "static_layer": {
                "tracing.zipkin.flush_interval_ms": 200, "tracing.opentelemetry.flush_interval_ms": 200}}]},
            "static_resources": {"listeners": listeners, "clusters": [
                cluster("upstream", upstream), cluster("collector", collector)]}}


class Contexts:
    def __init__(self, options):
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="contexts-"))
        self.sent, self.got = {}, {}
        self.spans = defaultdict(list)
        self.collected = 0
        self.wrong = []

    async def run(self):
        upstream = await asyncio.start_server(self.upstream, "127.0.0.1", 0, limit=1 << 20)
        collector = await asyncio.start_server(self.collector, "127.0.0.1", 0, limit=1 << 20)
        self.ports = {name: free_port() for name in PROVIDERS}
        self.admin = free_port()
        path = self.folder / "proxy.json"
        path.write_text(json.dumps(configuration(
            self.ports, self.admin, *(server.sockets[0].getsockname()[1] for server in (upstream, collector)))))
        with open(self.folder / "log", "wb") as log:
            process = subprocess.Popen([self.options.proxy, "-c", str(path), "--concurrency", "2", "--disable-hot-restart",
                                        "-l", "error", "--drain-time-s", "1"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            await self.ready(process)
            await asyncio.gather(*(self.client(number) for number in range(CLIENTS)))
            await self.settled()
            if process.poll() is not None:
                self.wrong.append("the proxy ended: " + (self.folder / "log").read_text(errors="replace")[-2000:])
            self.join()
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
            shutil.rmtree(self.folder, ignore_errors=True)
        return self.wrong

    async def ready(self, process):
        end = time.monotonic() + 30
        while True:
            try:
                await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{self.admin}/ready", timeout=5)
                return
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    sys.exit("contexts: the proxy does not start:\n" + (self.folder / "log").read_text(errors="replace")[-2000:])
                await asyncio.sleep(0.05)

    # The three who see something

    async def client(self, number):
        source = random.Random(self.options.seed * 1000 + number)
        connections = {}
        for index in range(self.options.requests // CLIENTS):
            name = source.choice(list(PROVIDERS))
            path = f"/{number}x{index}x"
            headers = [(field, value) for field, value in chaos.trace_headers(source) if not field.startswith("x-envoy-peer")]
            self.sent[path] = name, headers
            if name not in connections:
                connections[name] = await asyncio.open_connection("127.0.0.1", self.ports[name])
            reader, writer = connections[name]
            lines = "".join(f"{field}: {value}\r\n" for field, value in headers)
            writer.write(f"GET {path} HTTP/1.1\r\nhost: contexts\r\n{lines}\r\n".encode("latin-1"))
            async with asyncio.timeout(20):
                start, fields = await read_head(reader)
                await read_body(reader, fields)
            if not start.startswith(("HTTP/1.1 200", "HTTP/1.1 431")):  # twenty long fields are too much
                self.wrong.append(f"{path} of {name}: {start} for {headers}")
            if fields.get("connection") == "close":
                del connections[name]

    async def upstream(self, reader, writer):
        try:
            while True:
                start, fields = await read_head(reader)
                self.got[start.split(" ")[1]] = fields
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.close()

    async def collector(self, reader, writer):
        try:
            while True:
                start, fields = await read_head(reader)
                body = await read_body(reader, fields)
                self.collect(start.split(" ")[1][1:], body)
                writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n" if b"[" == body[:1]
                             else b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.close()

    def collect(self, name, body):
        try:
            if name.startswith("zipkin"):
                for span in json.loads(body.decode("utf-8")):
                    self.collected += 1
                    self.spans[path_of(span["tags"]["http.url"])].append(
                        (span["traceId"], span["id"], span.get("parentId"), span["kind"]))
                return
            found = defaultdict(list)
            for resource in trace_service_pb2.ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        self.collected += 1
                        tags = {attribute.key: attribute.value.string_value for attribute in span.attributes}
                        told = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex() or None, span.kind
                        if "http.url" in tags:
                            self.spans[path_of(tags["http.url"])].append(told)
                        else:
                            found[told[1]].append(told)
            for told in (one for many in found.values() for one in many):
                self.spans[f"up {told[1]}"].append(told)
        except (ValueError, KeyError) as error:
            self.wrong.append(f"{name}: a collector cannot read what it got: {error!r}: {body[:200]!r}")
        except Exception as error:  # noqa: BLE001: a DecodeError has no better name
            self.wrong.append(f"{name}: a collector cannot read what it got: {error!r}: {body[:200]!r}")

    async def settled(self):
        """No further span has come for a while."""
        end, before, quiet = time.monotonic() + SETTLE, -1, 0
        while time.monotonic() < end and quiet < 4:
            await asyncio.sleep(0.25)
            quiet = quiet + 1 if self.collected == before else 0
            before = self.collected

    # What must fit together

    def join(self):
        kinds = Counter()
        for path, (name, headers) in self.sent.items():
            got = self.got.get(path)
            if got is None:
                continue
            problem = self.judge(path, name, headers, got, kinds)
            if problem:
                contexts = {field: value for field, value in got.items() if field in (
                    "traceparent", "tracestate", "b3") or field.startswith("x-b3")}
                self.wrong.append(f"{name} {path}: {problem}\n          sent {headers}\n          got {contexts}\n"
                                  f"          spans {self.spans.get(path)}")
        print(f"{len(self.sent)} requests, {self.collected} spans; {dict(kinds)}")

    def judge(self, path, name, headers, got, kinds):
        contexts, problem = read_contexts(got)
        if problem:
            return problem
        if not contexts:
            return "the upstream got no context"
        ids = {(trace.rjust(32, "0"), span) for trace, span, _ in contexts.values()}
        if len(ids) != 1:
            return "the formats do not agree"
        if len({sampled for _, _, sampled in contexts.values()}) != 1:
            return "the formats do not agree about sampling"
        (trace, span), sampled = next(iter(ids)), next(iter(contexts.values()))[2]
        given = [value for field, value in headers if field == "traceparent"]
        others = [value for field, value in headers if field == "b3" or field.startswith("x-b3")]
        right = GIVEN_TRACEPARENT.fullmatch(given[0]) if len(given) == 1 and not others else None
        if right:
            kinds["a context that goes on"] += 1
            if right[2] != trace:
                return "another trace than the client's"
            if right[3] == span and name != "zipkin":
                return "the client's span id goes on"
        spans = self.spans.get(path, [])
        kinds["sampled" if sampled else "not sampled"] += 1
        if len(spans) != (1 if sampled else 0):
            return f"{len(spans)} spans, sampled is {sampled}"
        if sampled:
            seen = spans[0]
            if seen[0].rjust(32, "0") != trace:
                return "the span is of another trace"
            if name == "otlp-upstream":
                upper = self.spans.get(f"up {span}", [])
                if len(upper) != 1 or upper[0][0] != trace or upper[0][2] != seen[1]:
                    return f"the span of the request that is sent on: {upper}"
            elif seen[1] != span:
                return "the upstream got another span id"
            if not span_id_of(seen[1]) or seen[2] is not None and (not span_id_of(seen[2]) or seen[2] == seen[1]):
                return "a span has an impossible id"
        return None


def path_of(url):
    return "/" + url.split("/", 3)[3]


def read_contexts(fields):
    """((trace id, span id, sampled) by format, what is wrong)."""
    found = {}
    if "traceparent" in fields:
        match = TRACEPARENT.fullmatch(fields["traceparent"])
        if not match or match[1] == "0" * 32 or not span_id_of(match[2]):
            return found, "traceparent is none"
        found["w3c"] = match[1], match[2], bool(int(match[3], 16) & 1)
    if "b3" in fields:
        match = B3.fullmatch(fields["b3"])
        if not match or match[1].strip("0") == "" or not span_id_of(match[2]):
            return found, "b3 is none"
        found["b3"] = match[1], match[2], match[3] in ("1", "d")
    if "x-b3-traceid" in fields or "x-b3-spanid" in fields:
        trace, span = fields.get("x-b3-traceid", ""), fields.get("x-b3-spanid", "")
        if not TRACE_ID.fullmatch(trace) or trace.strip("0") == "" or not span_id_of(span):
            return found, "x-b3-traceid and -spanid are none"
        if "x-b3-parentspanid" in fields and not span_id_of(fields["x-b3-parentspanid"]):
            return found, "x-b3-parentspanid is none"
        found["x-b3"] = trace, span, fields.get("x-b3-sampled") == "1" or fields.get("x-b3-flags") == "1"
    elif "x-b3-parentspanid" in fields:
        return found, "x-b3-parentspanid without a span"
    return found, None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy", required=True)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    wrong = asyncio.run(Contexts(options).run())
    for text in wrong[:12]:
        print(f"WRONG   {text}")
    print(f"contexts: {len(wrong)} findings (seed {options.seed})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
