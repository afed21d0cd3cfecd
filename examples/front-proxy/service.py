#!/usr/bin/env python3
"""A small service: answers with the trace headers it received, and may call another service before it answers.

    service.py NAME PORT [PATH=URL ...]

A request for PATH calls URL first. There is no retry, timeout, TLS or metrics code in here, that is the mesh's work; all
that a service has to do is to pass the trace headers of the request that it serves to the calls that it makes for it.
"""

import http.client
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

TRACE_HEADERS = (
    "x-request-id",
    "traceparent",
    "tracestate",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "b3",
    "uber-trace-id",
    "x-ot-span-context",
)


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keep-alive
    disable_nagle_algorithm = True

    def do_GET(self):
        if not self.path.startswith(("/service/", "/trace/", "/ready")):
            self.answer(404, {"service": self.server.name, "error": f"there is no {self.path}"})
            return
        trace = {name: self.headers[name] for name in TRACE_HEADERS if name in self.headers}
        report = {
            "service": self.server.name,
            "path": self.path,
            "trace": trace,
            "headers": {name.lower(): value for name, value in self.headers.items()},
        }
        url = self.server.calls.get(self.path)
        if url:
            report["called"] = call(url, trace)
        self.answer(200, report)

    def answer(self, status, report):
        body = json.dumps(report, indent=2).encode() + b"\n"
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass  # the sidecar writes the access log


def call(url, trace):
    """What the other service answers, or the status if that was an error."""
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.netloc)
    try:
        connection.request("GET", target.path, headers=trace)
        response = connection.getresponse()
        body = response.read()
    except OSError as error:
        return {"error": str(error)}
    finally:
        connection.close()
    if response.status != 200:
        return {"error": f"status {response.status}: {body.decode(errors='replace')}"}
    return json.loads(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    name, port, *calls = sys.argv[1:]
    server = Server(("127.0.0.1", int(port)), Service)
    server.name = name
    server.calls = dict(argument.split("=", 1) for argument in calls)
    server.serve_forever()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
