#!/usr/bin/env python3
"""A rate limit service (envoy.service.ratelimit.v3.RateLimitService), with Envoy's own messages.

`rate_limit_server.py [PORT]` prints `PORT n` when it serves, and a line `ASKED domain key=value,… hits` for each descriptor that
it is asked about. A value of a descriptor says what is answered: `over`, `unknown`, `fail`, `hang`, `large`, and OK for any
other.
"""

import concurrent.futures
import sys
import time

import grpc
from envoy.service.ratelimit.v3 import rls_pb2

Response = rls_pb2.RateLimitResponse


def should_rate_limit(request, context):
    answer = Response(overall_code=Response.OK)
    for descriptor in request.descriptors:
        entries = ",".join(f"{entry.key}={entry.value}" for entry in descriptor.entries)
        hits = descriptor.hits_addend.value if descriptor.HasField("hits_addend") else "-"
        print("ASKED", request.domain, entries, hits, flush=True)
        status = answer.statuses.add(code=Response.OK, limit_remaining=7)
        status.current_limit.requests_per_unit = 10
        status.current_limit.unit = Response.RateLimit.MINUTE
        status.duration_until_reset.seconds = 30
        for value in [entry.value for entry in descriptor.entries]:
            if value == "over":
                answer.overall_code = status.code = Response.OVER_LIMIT
                status.limit_remaining = 0
                answer.raw_body = b"enough"
                answer.response_headers_to_add.add(key="x-service", value="said so")
                answer.response_headers_to_add.add(key="content-length", value="100000")
                answer.response_headers_to_add.add(key="no name", value="a")
            elif value == "unknown":
                answer.overall_code = Response.UNKNOWN
            elif value == "fail":
                context.abort(grpc.StatusCode.INTERNAL, "no: 50% é")
            elif value == "hang":
                while context.is_active():
                    time.sleep(0.01)
            elif value == "large":
                answer.raw_body = b"x" * (2 << 20)
            answer.request_headers_to_add.add(key="x-counted", value=value)
    return answer


def main():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("envoy.service.ratelimit.v3.RateLimitService", {
        "ShouldRateLimit": grpc.unary_unary_rpc_method_handler(
            should_rate_limit, rls_pb2.RateLimitRequest.FromString, Response.SerializeToString),
    }),))
    port = server.add_insecure_port(f"127.0.0.1:{(sys.argv + ['0'])[1]}")
    server.start()
    print("PORT", port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
