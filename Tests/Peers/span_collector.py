#!/usr/bin/env python3
"""A collector of spans: Zipkin's API (version 2, JSON), OTLP over HTTP (protobuf) and OTLP over gRPC, decoded with OpenTelemetry's
own messages.

`span_collector.py (http|https|grpc) [PORT]` prints `PORT n` when it serves, a line `EXPORT path spans {headers}` for each export and a line
`SPAN {…}` for each span in it: Zipkin's as it came, OTLP's with the fields that follow from its message. What is no valid export is
a line `WRONG …`, and is answered with 400 or INVALID_ARGUMENT.
"""

import concurrent.futures
import http.server
import json
import pathlib
import ssl
import sys
import threading

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Request = trace_service_pb2.ExportTraceServiceRequest
Response = trace_service_pb2.ExportTraceServiceResponse
printing = threading.Lock()


def say(*words):
    with printing:
        print(*words, flush=True)


def attributes(pairs):
    return {pair.key: pair.value.string_value for pair in pairs}


def otlp_spans(request):
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "resource": attributes(resource.resource.attributes),
                    "scope": [scope.scope.name, scope.scope.version],
                    "traceId": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parentId": span.parent_span_id.hex(),
                    "name": span.name,
                    "kind": Span.SpanKind.Name(span.kind),
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "tags": attributes(span.attributes),
                    "flags": span.flags,
                    "traceState": span.trace_state,
                    "status": span.status.code,
                }


def report(path, headers, spans):
    spans = list(spans)
    say("EXPORT", path, len(spans), json.dumps(headers))
    for span in spans:
        say("SPAN", json.dumps(span))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self):
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def do_POST(self):
        body = self.body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = b""
        try:
            if self.headers["content-type"] == "application/json":
                spans = json.loads(body.decode("utf-8"))
                status = 202
            else:
                spans = otlp_spans(Request.FromString(body))
                status = 200
            report(self.path, headers, spans)
        except Exception as error:  # whatever a body can be
            say("WRONG", repr(error), repr(body[:2000]))
            status = 400
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def serve_http(port, over_tls=False):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if over_tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificates = pathlib.Path(__file__).resolve().parent.parent / "Certificates"
        context.load_cert_chain(certificates / "server-rsa.pem", certificates / "server-rsa-key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    say("PORT", server.server_address[1])
    server.serve_forever()


def serve_grpc(port):
    import grpc

    def export(request, context):
        report(context.peer().split(":")[0], dict(context.invocation_metadata()), otlp_spans(request))
        return Response()

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {
        "Export": grpc.unary_unary_rpc_method_handler(export, Request.FromString, Response.SerializeToString),
    }),))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    say("PORT", port)
    server.wait_for_termination()


def main():
    port = int((sys.argv + ["0"])[2])
    {"http": serve_http, "https": lambda port: serve_http(port, over_tls=True), "grpc": serve_grpc}[sys.argv[1]](port)


if __name__ == "__main__":
    main()
