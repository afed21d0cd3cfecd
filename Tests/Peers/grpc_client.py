#!/usr/bin/env python3
"""Calls the methods of grpc_server.py through a proxy: `grpc_client.py PORT CASE…`; ends with 0 if all is as it should be."""

import sys
import threading
import time

import grpc

PIECE = b"y" * 65536


def expect(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"{what}: {found!r}, not {wanted!r}")


def fails(call, code):
    try:
        call()
    except grpc.RpcError as error:
        expect("code", error.code(), code)
        return error
    raise SystemExit(f"did not fail with {code}")


class Cases:
    def __init__(self, channel):
        self.unary = channel.unary_unary("/test.Echo/Unary")
        self.server_stream = channel.unary_stream("/test.Echo/ServerStream")
        self.client_stream = channel.stream_unary("/test.Echo/ClientStream")
        self.both = channel.stream_stream("/test.Echo/Both")
        self.unknown = channel.unary_unary("/test.Echo/Unknown")
        self.lost = channel.unary_unary("/test.Nowhere/Unary")

    def kinds(self):
        """All four streaming kinds, metadata both ways."""
        response, call = self.unary.with_call(b"hello", timeout=20, metadata=(("x-a", "b"), ("x-b-bin", b"\xff\x00")))
        expect("unary", response, b"hello remaining=0")
        expect("header", dict(call.initial_metadata())["x-header"], "h")
        expect("trailers", {k: v for k, v in call.trailing_metadata() if k.startswith("x-")},
               {"x-trailer": "t", "x-bin-bin": b"\x00\x01"})
        expect("server stream", sum(len(m) for m in self.server_stream(b"20", timeout=20)), 20 * 65536)
        expect("client stream", self.client_stream(iter([b"a", b"bc", b""]), timeout=20), b"3 3")
        expect("both", list(self.both(iter([b"1", b"22", b"", PIECE]), timeout=20)), [b"1", b"22", b"", PIECE])
        # One message at a time: nothing waits for the next.
        self.last = threading.Semaphore(1)
        answers = self.both(self.talk(), timeout=20)
        for number in range(5):
            expect("answer", next(answers), b"%d" % number)
            self.last.release()
        expect("end", next(answers, None), None)

    def talk(self):
        for number in range(5):
            self.last.acquire()
            yield b"%d" % number

    def errors(self):
        """Failures of the server, with and without a body before."""
        error = fails(lambda: self.unary(b"x", timeout=20, metadata=(("fail", "5"),)), grpc.StatusCode.NOT_FOUND)
        expect("message", error.details(), "no: 50% é")
        expect("trailers", dict(error.trailing_metadata()).get("x-trailer"), "t")
        fails(lambda: self.unknown(b"x", timeout=20), grpc.StatusCode.UNIMPLEMENTED)

    def nowhere(self):
        """An answer of the proxy itself."""
        error = fails(lambda: self.lost(b"x", timeout=20), grpc.StatusCode.UNAVAILABLE)
        expect("message", error.details(), "no healthy upstream")

    def deadline(self):
        """The client's own deadline, and what the server hears of it."""
        response = self.unary(b"x", timeout=20, metadata=(("deadline", "1"),))
        remaining = int(response.split(b"=")[1])
        expect("remaining", 15 <= remaining <= 20, True)
        began = time.monotonic()
        fails(lambda: self.unary(b"x", timeout=0.5, metadata=(("hang", "1"),)), grpc.StatusCode.DEADLINE_EXCEEDED)
        expect("soon", time.monotonic() - began < 10, True)

    def bounded(self):
        """The proxy's bound, which is shorter than the client's."""
        error = fails(
            lambda: self.unary(b"x", timeout=20, metadata=(("hang", "1"),)), grpc.StatusCode.DEADLINE_EXCEEDED)
        # The server is told the same bound, and may be first to say that it is over.
        expect("message", error.details() in ("downstream duration timeout", "Deadline Exceeded"), True)

    def cancel(self):
        """The client goes away in the middle of a stream."""
        call = self.server_stream(b"100000", timeout=60)
        next(call)
        call.cancel()
        future = self.unary.future(b"x", timeout=60, metadata=(("hang", "1"),))
        time.sleep(0.3)
        future.cancel()

    def large(self):
        """1 GiB down, and 1 GiB up."""
        pieces = 1024 * 1024 * 1024 // len(PIECE)
        total = 0
        for message in self.server_stream(b"%d" % pieces, timeout=300):
            total += len(message)
        expect("down", total, pieces * len(PIECE))
        expect("up", self.client_stream((PIECE for _ in range(pieces)), timeout=300), b"%d %d" % (pieces, total))


def main():
    port, names = sys.argv[1], sys.argv[2:]
    options = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        cases = Cases(channel)
        for name in names:
            getattr(cases, name)()
            print("OK", name, flush=True)


if __name__ == "__main__":
    main()
