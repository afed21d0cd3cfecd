#!/usr/bin/env python3
"""A gRPC server with methods of all four kinds, without generated code: messages are bytes.

`grpc_server.py [PORT]` prints `PORT n` when it serves, and `CANCELLED` for each call whose client has gone away.
"""

import concurrent.futures
import sys
import time

import grpc

PIECE = b"x" * 65536


def unary(request, context):
    """Answers what it was asked; what to do besides is said in the metadata."""
    metadata = dict(context.invocation_metadata())
    context.set_trailing_metadata((("x-trailer", "t"), ("x-bin-bin", b"\x00\x01")))
    if "fail" in metadata:
        context.abort(grpc.StatusCode(
            next(code.value for code in grpc.StatusCode if code.value[0] == int(metadata["fail"]))), "no: 50% é")
    if "hang" in metadata:
        context.add_callback(lambda: print("CANCELLED", flush=True))
        while context.is_active():
            time.sleep(0.01)
    context.send_initial_metadata((("x-header", "h"),))
    return b"%s remaining=%d" % (request, int(context.time_remaining() or 0) if metadata.get("deadline") else 0)


def server_stream(request, context):
    """As many pieces as it is told."""
    context.add_callback(lambda: print("ENDED", flush=True))
    for _ in range(int(request)):
        yield PIECE


def client_stream(requests, context):
    """How many bytes have come in how many messages."""
    count = size = 0
    for request in requests:
        count += 1
        size += len(request)
    return b"%d %d" % (count, size)


def both(requests, context):
    """Each message, as it comes."""
    for request in requests:
        yield request


def main():
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(16),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
        "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
        "Both": grpc.stream_stream_rpc_method_handler(both),
    }),))
    port = server.add_insecure_port(f"127.0.0.1:{(sys.argv + ['0'])[1]}")
    server.start()
    print("PORT", port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
