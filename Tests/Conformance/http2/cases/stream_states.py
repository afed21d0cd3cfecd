"""Streams: their states, numbers, concurrency and dependencies, and errors (RFC 9113 §5)."""

from functools import partial

from .. import frames, hpack
from ..case import case, expect
from ..frames import END_HEADERS, END_STREAM, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED

portable = partial(case, portable=True)


# Idle

@portable("9113 §5.1", "DATA on an idle stream is a connection error.")
async def idle_data(c):
    c.opened(1)
    c.data(1, b"test", end=True)
    await c.connection_error(PROTOCOL_ERROR)


@portable("9113 §5.1", "RST_STREAM on an idle stream is a connection error.")
async def idle_rst_stream(c):
    c.send(frames.rst_stream(1))
    await c.connection_error(PROTOCOL_ERROR)


@portable("9113 §5.1", "WINDOW_UPDATE on an idle stream is a connection error.")
async def idle_window_update(c):
    c.send(frames.window_update(1, 100))
    await c.connection_error(PROTOCOL_ERROR)


@portable("9113 §5.1", "CONTINUATION on an idle stream is a connection error.")
async def idle_continuation(c):
    c.opened(1)
    c.send(frames.continuation(1, c.block()))
    await c.connection_error(PROTOCOL_ERROR)


# Half-closed by the client

@portable("9113 §5.1", "DATA after the end of a request is an error.")
async def half_closed_data(c):
    c.get(1)
    c.data(1, b"test", end=True)
    await c.stream_error(1, STREAM_CLOSED)


@portable("9113 §5.1", "HEADERS after the end of a request is an error.")
async def half_closed_headers(c):
    c.get(1)
    c.get(1)
    await c.stream_error(1, STREAM_CLOSED)


@portable("9113 §5.1", "CONTINUATION after the end of a request is an error.")
async def half_closed_continuation(c):
    c.get(1)
    c.send(frames.continuation(1, c.block()))
    await c.stream_error(1, STREAM_CLOSED, PROTOCOL_ERROR)


# Closed by RST_STREAM

@portable("9113 §5.1", "DATA after RST_STREAM is an error.")
async def reset_data(c):
    c.post(1)
    c.send(frames.rst_stream(1))
    c.data(1, b"test", end=True)
    await c.stream_error(1, STREAM_CLOSED)


@portable("9113 §5.1", "HEADERS after RST_STREAM is an error.")
async def reset_headers(c):
    c.post(1)
    c.send(frames.rst_stream(1))
    c.get(1)
    await c.stream_error(1, STREAM_CLOSED)


@portable("9113 §5.1", "CONTINUATION after RST_STREAM is an error.")
async def reset_continuation(c):
    c.post(1)
    c.send(frames.rst_stream(1), frames.continuation(1, hpack.block([("x-test", "1")])))
    await c.stream_error(1, STREAM_CLOSED, PROTOCOL_ERROR)


# Closed by both ends

@portable("9113 §5.1", "DATA on a stream that has ended is a connection error.")
async def closed_data(c):
    c.get(1)
    await c.good(1)
    c.data(1, b"test", end=True)
    await c.stream_error(1, STREAM_CLOSED)


@portable("9113 §5.1", "HEADERS on a stream that has ended is a connection error.")
async def closed_headers(c):
    c.get(1)
    await c.good(1)
    c.get(1)
    await c.connection_error(STREAM_CLOSED)


@portable("9113 §5.1", "CONTINUATION on a stream that has ended is a connection error.")
async def closed_continuation(c):
    c.get(1)
    await c.good(1)
    c.send(frames.continuation(1, hpack.block([("x-test", "1")])))
    await c.connection_error(STREAM_CLOSED, PROTOCOL_ERROR)


@case("9113 §5.1", "WINDOW_UPDATE and RST_STREAM on a stream that has ended are ignored.")
async def closed_ignored(c):
    c.get(1)
    await c.good(1)
    c.send(frames.window_update(1, 10), frames.rst_stream(1), frames.priority(1))
    await c.serves(3)


# Numbers

@portable("9113 §5.1.1", "An even number is a connection error.")
async def number_even(c):
    c.get(2)
    await c.connection_error(PROTOCOL_ERROR)


@portable("9113 §5.1.1", "A number below one that was used before is a connection error.")
async def number_smaller(c):
    c.get(5)
    c.get(3)
    await c.connection_error(PROTOCOL_ERROR)


@portable("9113 §5.1.1", "A number that is used again while its stream is half-closed is an error of the stream.")
async def number_again(c):
    c.get(5)
    c.get(5)
    await c.stream_error(5, STREAM_CLOSED)


@case("9113 §5.1.1", "Numbers may leave others out, up to the largest.")
async def number_largest(c):
    c.get(101)
    await c.good(101)
    c.get((1 << 31) - 1)
    await c.good((1 << 31) - 1)


# Concurrency

@portable("9113 §5.1.2", "A stream above SETTINGS_MAX_CONCURRENT_STREAMS is an error of the stream.")
async def concurrency_exceeded(c):
    most = c.settings.get(frames.MAX_CONCURRENT_STREAMS)
    if most is None or most > 20000:
        return  # there is no limit that could be reached
    for number in range(most + 1):
        c.post(1 + 2 * number)
    await c.stream_error(1 + 2 * most, PROTOCOL_ERROR, REFUSED_STREAM)


@case("9113 §5.1.2", "As many as are allowed are served, and a stream that ends makes room for another.")
async def concurrency_reached(c):
    most = c.settings.get(frames.MAX_CONCURRENT_STREAMS, 100)
    expect(most <= 1024, f"{most} streams may be open")
    for number in range(most):
        c.post(1 + 2 * number)
    await c.alive()
    c.data(1, end=True)
    await c.good(1)
    c.get(1 + 2 * most)
    await c.good(1 + 2 * most)
    for number in range(1, most):
        c.data(1 + 2 * number, end=True)
    for number in range(1, most):
        await c.good(1 + 2 * number)


# Dependencies: RFC 9113 has none any more; what RFC 7540 forbids is still an error for those who send it.

@portable("7540 §5.3.1", "HEADERS whose stream depends on itself is an error of the stream.")
async def dependency_self_headers(c):
    c.headers(1, frames.dependency(1) + c.block(), END_STREAM | END_HEADERS | frames.PRIORITISED)
    await c.stream_error(1, PROTOCOL_ERROR)


@portable("7540 §5.3.1", "PRIORITY whose stream depends on itself is an error of the stream.")
async def dependency_self_priority(c):
    c.opened(1)
    c.send(frames.priority(1, on=1))
    await c.stream_error(1, PROTOCOL_ERROR)


# Errors of the connection

@portable("9113 §5.4.1", "After an error of the connection it is closed.")
async def error_closes(c):
    c.send(frames.frame(frames.PING, 0, 0, bytes(6)))
    await c.closed()


@portable("9113 §5.4.1", "An error of the connection is told by GOAWAY.")
async def error_goaway(c):
    c.send(frames.frame(frames.PING, 0, 0, bytes(6)))
    await c.connection_error(frames.FRAME_SIZE_ERROR)


@case("9113 §5.4.1", "GOAWAY names the last stream that was processed.")
async def error_goaway_last_stream(c):
    c.get(1)
    c.get(3)
    await c.good(1)
    await c.good(3)
    c.send(frames.frame(frames.PING, 0, 0, bytes(6)))
    await c.until(lambda: c.goaway, "GOAWAY")
    expect(c.goaway.last_stream == 3, f"the last stream is {c.goaway.last_stream}")
    await c.closed()


@case("9113 §5.4.2", "An error of a stream leaves the others alone.")
async def error_of_stream_only(c):
    c.post(1)
    c.get(3, without=(":path",))
    await c.refused(3)
    if not c.ended and not (c.goaway and c.goaway.code):
        c.data(1, end=True)
        await c.good(1)
