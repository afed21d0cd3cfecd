"""Flow control in both directions (RFC 9113 §5.2, §6.9)."""

from functools import partial

from .. import frames
from ..case import case, expect
from ..frames import FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, INITIAL_WINDOW_SIZE, MAX_WINDOW, PROTOCOL_ERROR

portable = partial(case, portable=True)


async def settled(c, *pairs):
    count = c.acknowledged + 1
    c.send_settings(*pairs)
    await c.until(lambda: c.acknowledged == count, "ACK of SETTINGS")


@portable("9113 §6.9", "WINDOW_UPDATE by 0 for the connection is a connection error.")
async def update_zero_connection(c):
    c.send(frames.window_update(0, 0))
    await c.connection_error(PROTOCOL_ERROR)


@portable("9113 §6.9", "WINDOW_UPDATE by 0 for a stream is an error of the stream.")
async def update_zero_stream(c):
    c.post(1)
    c.send(frames.window_update(1, 0))
    await c.stream_error(1, PROTOCOL_ERROR)


@portable("9113 §6.9", "WINDOW_UPDATE of another length than 4 is a connection error.")
async def update_length(c):
    c.send(frames.frame(frames.WINDOW_UPDATE, 0, 0, bytes([0, 0, 1])))
    await c.connection_error(FRAME_SIZE_ERROR)


@portable("9113 §6.9.1", "No more DATA is sent than the window allows.")
async def window_of_one(c):
    c.automatic = False
    await settled(c, (INITIAL_WINDOW_SIZE, 1))
    c.get(1)
    await c.until(lambda: c.streams[1].body, "DATA")
    await c.alive()
    expect(len(c.streams[1].body) == 1, f"{c.streams[1]}, the window was 1")


@portable("9113 §6.9.1", "A window of the connection above 2^31-1 is a connection error.")
async def window_overflow_connection(c):
    c.send(frames.window_update(0, MAX_WINDOW), frames.window_update(0, MAX_WINDOW))
    await c.connection_error(FLOW_CONTROL_ERROR)


@portable("9113 §6.9.1", "A window of a stream above 2^31-1 is an error of the stream.")
async def window_overflow_stream(c):
    c.post(1)
    c.send(frames.window_update(1, MAX_WINDOW), frames.window_update(1, MAX_WINDOW))
    await c.stream_error(1, FLOW_CONTROL_ERROR)


@portable("9113 §6.9.2", "A change of the initial window holds for streams that are open.")
async def initial_window_changed(c):
    c.automatic = False
    await settled(c, (INITIAL_WINDOW_SIZE, 0))
    c.get(1)
    await c.head(1)
    expect(not c.streams[1].body, f"{c.streams[1]}, the window was 0")
    c.send_settings((INITIAL_WINDOW_SIZE, 1))
    await c.until(lambda: c.streams[1].body, "DATA")
    await c.alive()
    expect(len(c.streams[1].body) == 1, f"{c.streams[1]}, the window was 1")


@portable("9113 §6.9.2", "A window may become negative, and must be made positive before there is more DATA.")
async def initial_window_negative(c):
    c.automatic = False
    await settled(c, (INITIAL_WINDOW_SIZE, 3))
    c.get(1)
    await c.until(lambda: len(c.streams[1].body) == 3, "3 bytes of DATA")
    await settled(c, (INITIAL_WINDOW_SIZE, 2))
    c.grant(1, 2)
    await c.until(lambda: len(c.streams[1].body) == 4, "one more byte of DATA")
    await c.alive()
    expect(len(c.streams[1].body) == 4, f"{c.streams[1]}, the window allowed 4")


@portable("9113 §6.9.2", "An initial window above 2^31-1 is a connection error.")
async def initial_window_too_large(c):
    c.send(frames.settings((INITIAL_WINDOW_SIZE, MAX_WINDOW + 1)))
    await c.connection_error(FLOW_CONTROL_ERROR)


@case("9113 §6.9.2", "An initial window that makes the window of a stream overflow is an error.")
async def initial_window_overflows(c):
    c.post(1)
    c.grant(1, MAX_WINDOW - 65535)
    c.send_settings((INITIAL_WINDOW_SIZE, 65536))
    await c.stream_error(1, FLOW_CONTROL_ERROR)  # of the connection, says the RFC; ending the stream is as good


@case("9113 §6.9.1", "The window of the connection holds for all streams together.")
async def window_shared(c):
    c.automatic = False
    await settled(c, (INITIAL_WINDOW_SIZE, 1 << 20))
    for stream in (1, 3, 5, 7):
        c.get(stream, c.test.path("large", 50000))
    together = lambda: sum(len(stream.body) for stream in c.streams.values())
    await c.until(lambda: together() == 65535, "65535 bytes of DATA")
    await c.alive()
    expect(together() == 65535, f"{together()} bytes, the window was 65535")
    c.grant(0, 1 << 20)
    for stream in (1, 3, 5, 7):
        expect(len((await c.good(stream)).body) == 50000, f"{c.streams[stream]}")


@case("9113 §6.9", "Headers, trailers and empty DATA are not held up by an empty window.")
async def window_empty_end(c):
    c.automatic = False
    await settled(c, (INITIAL_WINDOW_SIZE, 0))
    c.get(1, c.test.path("raw", "no-content"))
    expect((await c.response(1)).status == "204", f"{c.streams[1]}")
    c.request(3, "HEAD", c.test.path())
    await c.good(3)


@case("9113 §6.9", "A response goes on as its window grows, byte by byte.")
async def window_drips(c):
    c.automatic = False
    await settled(c, (INITIAL_WINDOW_SIZE, 0))
    c.get(1, c.test.path())
    await c.head(1)
    while not c.streams[1].ended:
        before = len(c.streams[1].body)
        c.grant(1, 1)
        await c.until(lambda: len(c.streams[1].body) > before or c.streams[1].ended, "one more byte")
    await c.good(1)


@case("9113 §6.9", "Padding counts, and is granted again: a body may be sent in padded frames without end.")
async def padding_granted(c):
    c.post(1, c.test.path("echo"))
    await c.alive()
    window = min(65535 + c.updates.get(0, 0), c.settings.get(INITIAL_WINDOW_SIZE, 65535))
    sent, granted = 0, lambda: min(c.updates.get(1, 0) + c.settings.get(INITIAL_WINDOW_SIZE, 65535),
                                   c.updates.get(0, 0) + 65535)
    while sent < window * 2:
        await c.until(lambda: sent + 256 <= granted(), "WINDOW_UPDATE for padding")
        while sent + 256 <= granted() and sent < window * 2:
            c.send(frames.frame(frames.DATA, frames.PADDED, 1, frames.padded(b"x", 254)))
            sent += 256
        await c.drain()
    c.data(1, b"end", end=True)
    await c.good(1, b"x" * (sent // 256) + b"end")


@case("9113 §6.9.1", "DATA beyond what was granted is a flow control error.")
async def exceeded(c):
    c.post(1, c.test.path("deaf"))
    for _ in range(4096):  # 64 MiB, more than all buffers on the way to an upstream that does not read
        if c.ended or c.goaway or c.streams[1].closed:
            break
        c.data(1, bytes(16384))
        await c.drain()
    await c.stream_error(1, FLOW_CONTROL_ERROR)


@case("9113 §6.9", "Windows are granted again: large bodies arrive whole.")
async def upload_large(c):
    size, piece = 3 << 20, 16384
    c.post(1, c.test.path())
    sent = 0
    granted = lambda: min(c.updates.get(1, 0) + c.settings.get(INITIAL_WINDOW_SIZE, 65535), c.updates.get(0, 0) + 65535)
    while sent < size:
        await c.until(lambda: sent < granted(), "WINDOW_UPDATE")
        take = min(piece, size - sent, granted() - sent)
        c.data(1, bytes(take), end=sent + take == size)
        sent += take
        await c.drain()
    await c.good(1)
    expect(len(c.test.requests[0].body) == size, f"{len(c.test.requests[0].body)} bytes have arrived")


@case("9113 §6.9", "What was sent on a stream that is reset is granted again for the connection.")
async def reset_granted(c):
    # More than the connection's window in all, on streams that never come to their end.
    stream, sent, piece = 1, 0, 16384
    await c.alive()
    window = lambda: 65535 + c.updates.get(0, 0)
    for _ in range(window() // piece * 2 + 8):
        await c.until(lambda: sent + piece <= window(), "WINDOW_UPDATE of the connection")
        c.post(stream, c.test.path("never"))
        c.data(stream, bytes(piece))
        c.send(frames.rst_stream(stream))
        sent += piece
        stream += 2
    await c.serves(stream)
