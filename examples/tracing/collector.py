#!/usr/bin/env python3
"""A small collector of spans: takes what Jaeger takes, on the same ports, and shows the traces in a browser.

    collector.py

| port  | what                                                                                            |
|-------|-------------------------------------------------------------------------------------------------|
| 9411  | Zipkin v2 JSON                                                                                  |
| 4318  | OTLP over HTTP, 4317 OTLP over gRPC (with the packages opentelemetry-proto and grpcio)          |
| 16686 | the traces: `/` lists them, `/trace/ID` shows one as a waterfall, `/spans` is all of it as JSON |

It keeps the last 10,000 spans, in memory.
"""

import json
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ZIPKIN, OTLP_HTTP, OTLP_GRPC, PAGE = 9411, 4318, 4317, 16686
KEPT = 10_000

try:
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
    from opentelemetry.proto.trace.v1 import trace_pb2
except ImportError:
    trace_service_pb2 = None
try:
    import grpc
except ImportError:
    grpc = None

spans = deque(maxlen=KEPT)
errors = []  # what could not be read


# All formats end up as the same mapping. Times are microseconds.


def of_zipkin(span):
    return {
        "trace": span["traceId"], "id": span["id"], "parent": span.get("parentId"), "name": span.get("name", ""),
        "kind": span.get("kind", ""), "service": span.get("localEndpoint", {}).get("serviceName", ""),
        "start": span["timestamp"], "duration": span["duration"], "tags": span.get("tags", {}),
        "shared": span.get("shared", False), "events": [entry["value"] for entry in span.get("annotations", [])],
        "status": "",
    }


def of_otlp(data):
    for of_resource in trace_service_pb2.ExportTraceServiceRequest.FromString(data).resource_spans:
        resource = {attribute.key: value_of(attribute.value) for attribute in of_resource.resource.attributes}
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield {
                    "trace": span.trace_id.hex(), "id": span.span_id.hex(), "parent": span.parent_span_id.hex() or None,
                    "name": span.name, "kind": trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
                    "service": resource.get("service.name", ""), "start": span.start_time_unix_nano // 1000,
                    "duration": (span.end_time_unix_nano - span.start_time_unix_nano) // 1000,
                    "tags": {attribute.key: value_of(attribute.value) for attribute in span.attributes},
                    "shared": False, "events": [event.name for event in span.events],
                    "status": trace_pb2.Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
                }


def value_of(value):
    return getattr(value, value.WhichOneof("value") or "string_value")


# Where they come in


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def body(self):
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return data

    def answer(self, status, text=b"", content_type="text/html; charset=utf-8"):
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Zipkin(Handler):
    def do_POST(self):  # noqa: N802
        take(lambda data: map(of_zipkin, json.loads(data)), self.body())
        self.answer(202)


class OTLP(Handler):
    def do_POST(self):  # noqa: N802
        take(of_otlp, self.body())
        self.answer(200, content_type="application/x-protobuf")


def take(decode, data):
    try:
        spans.extend(list(decode(data)))
    except (ValueError, KeyError, TypeError) as error:
        errors.append(repr(error))


def grpc_server():
    def export(data, _):
        take(of_otlp, data)
        return b""

    service = grpc.method_handlers_generic_handler(
        "opentelemetry.proto.collector.trace.v1.TraceService", {"Export": grpc.unary_unary_rpc_method_handler(export)})
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((service,))
    server.add_insecure_port(f"127.0.0.1:{OTLP_GRPC}")
    server.start()
    return server


# The pages


class Page(Handler):
    def do_GET(self):  # noqa: N802
        if self.path == "/ready":
            self.answer(200)
        elif self.path == "/spans":
            self.answer(200, json.dumps({"spans": list(spans), "errors": errors}).encode(), "application/json")
        elif self.path.startswith("/trace/"):
            found = [span for span in list(spans) if span["trace"] == self.path.removeprefix("/trace/")]
            self.answer(200 if found else 404, document(waterfall(found) if found else "<p>No such trace."))
        else:
            self.answer(200, document(listing()))


def listing():
    traces = {}
    for span in list(spans):
        traces.setdefault(span["trace"], []).append(span)
    rows = ""
    for trace, members in sorted(traces.items(), key=lambda item: -min(span["start"] for span in item[1]))[:100]:
        first = tree(members)[0][1]
        services = " ".join(dict.fromkeys(escape(span["service"]) for _, span in tree(members)))
        rows += (f'<tr{failed(members)}><td><a href="/trace/{escape(trace)}">{escape(first["name"])}</a>'
                 f'<td>{escape(path(first))}<td>{services}<td class=n>{len(members)}<td class=n>{ms(length(members))}')
    return f"<h1>Traces</h1><table><tr><th>first span<th>path<th>services<th>spans<th>took{rows}</table>"


def waterfall(members):
    begin, total = min(span["start"] for span in members), max(length(members), 1)
    rows = ""
    for depth, span in tree(members):
        left, width = 100 * (span["start"] - begin) / total, max(100 * span["duration"] / total, 0.4)
        tags = "".join(f"<tr><td>{escape(name)}<td>{escape(str(value))}" for name, value in sorted(span["tags"].items()))
        rows += (f'<details{failed([span])}><summary><span class=what style="padding-left:{depth}em">'
                 f'<b>{escape(span["service"])}</b> {escape(span["name"])} <i>{escape(span["kind"].lower())}</i></span><span class=track>'
                 f'<span class="bar {escape(span["kind"].lower())}" style="left:{left:.2f}%;width:{width:.2f}%"></span></span>'
                 f'<span class=n>{ms(span["duration"])}</span></summary><table>{tags}</table></details>')
    first = tree(members)[0][1]
    return (f'<p><a href="/">All traces</a><h1>{escape(first["name"])}</h1>'
            f'<p>{escape(first["trace"])} · {len(members)} spans · {ms(length(members))}{rows}')


def tree(members):
    """(depth, span) in the order in which one would tell it. A server's span that shares its id with the client's comes
    after that."""
    members = sorted(members, key=lambda span: (span["start"], span["shared"]))
    ids = {span["id"] for span in members}
    told = []

    def tell(span, depth):
        told.append((depth, span))
        others = [other for other in members if all(other is not one for _, one in told)]
        if not span["shared"]:
            twin = next((other for other in others if other["id"] == span["id"] and other["shared"]), None)
            if twin:
                return tell(twin, depth + 1)
        for other in others:
            if other["parent"] == span["id"] and all(other is not one for _, one in told):
                tell(other, depth + 1)
        return None

    for span in members:
        first_of_its_id = not any(one is not span and one["id"] == span["id"] and not one["shared"] for one in members)
        if all(span is not one for _, one in told) and span["parent"] not in ids - {span["id"]} and first_of_its_id:
            tell(span, 0)
    return told or [(0, span) for span in members]


def failed(members):
    return " class=error" if any(span["tags"].get("error") for span in members) else ""


def length(members):
    return max(span["start"] + span["duration"] for span in members) - min(span["start"] for span in members)


def ms(microseconds):
    return f"{microseconds / 1000:.2f} ms"


def path(span):
    return f'{span["tags"].get("http.method", "")} {span["tags"].get("http.url", "")} {span["tags"].get("http.status_code", "")}'


def document(body):
    return f"""<!doctype html><meta charset=utf-8><title>Traces</title><meta name=viewport content="width=device-width">
<style>
:root {{ color-scheme: light dark; --line: #8884; --client: #3b82f6; --server: #10b981; --bad: #ef4444 }}
body {{ font: 14px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.3rem }} a {{ color: inherit }} i {{ opacity: .6 }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line) }}
.n {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }}
summary {{ display: grid; grid-template-columns: 22rem 1fr 6rem; gap: .8rem; padding: .25rem 0; cursor: pointer;
  border-bottom: 1px solid var(--line) }}
.what {{ overflow: hidden; white-space: nowrap; text-overflow: ellipsis }}
.track {{ position: relative }} .bar {{ position: absolute; top: .25em; height: 1em; border-radius: 2px; background: #888 }}
.client {{ background: var(--client) }} .server {{ background: var(--server) }}
.error b, tr.error td:first-child {{ color: var(--bad) }} .error .bar {{ background: var(--bad) }}
details table {{ margin: .3rem 0 1rem 2rem; width: auto }}
</style>
{body}""".encode()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    if trace_service_pb2 and grpc:
        running = grpc_server()  # noqa: F841: it lives as long as it is held
    for port, handler in ((ZIPKIN, Zipkin), *([(OTLP_HTTP, OTLP)] if trace_service_pb2 else [])):
        threading.Thread(target=Server(("127.0.0.1", port), handler).serve_forever, daemon=True).start()
    try:
        Server(("127.0.0.1", PAGE), Page).serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
