"""Peers that are slow or stop: nobody waits for ever, and what waits is bounded (RFC 9113 §10.5)."""

from .. import frames, hpack
from ..case import case, expect
from ..frames import END_HEADERS, END_STREAM, INITIAL_WINDOW_SIZE

GROWTH = 48 << 20  # bytes that the process may grow by


@case("9113 §10.5", "A connection that says nothing ends after its idle time.", started=False, idle_timeout="0.3s",
      request_headers_timeout="0.3s")
async def silent(c):
    await c.closed()


@case("9113 §10.5", "So does one whose preface does not come to its end.", started=False, idle_timeout="0.3s",
      request_headers_timeout="0.3s")
async def preface_half(c):
    c.send(frames.PREFACE[:20])
    await c.closed()


@case("9113 §10.5", "So does one whose preface is not followed by SETTINGS.", started=False, idle_timeout="0.3s",
      request_headers_timeout="0.3s")
async def settings_missing(c):
    c.send(frames.PREFACE)
    await c.closed()


@case("9113 §10.5", "So does one without a request, which is told by GOAWAY.", idle_timeout="0.3s")
async def idle(c):
    await c.closed()
    expect(c.goaway and c.goaway.code == frames.NO_ERROR, "there was no GOAWAY(NO_ERROR)")


@case("9113 §10.5", "PING does not keep a connection without requests open for ever.", idle_timeout="0.5s")
async def idle_ping(c):
    while not c.ended:
        count = len(c.pongs)
        c.send(frames.ping())
        await c.until(lambda: c.ended or len(c.pongs) > count, "ACK of a PING, or the end")


@case("9113 §10.5", "A header block that does not come to its end is not waited for.", idle_timeout="2s",
      request_headers_timeout="0.3s")
async def header_block_half(c):
    c.headers(1, c.block()[:5], END_STREAM)
    await c.until(lambda: c.ended or c.goaway and c.goaway.code or c.streams[1].closed, "the end of the stream")


@case("9113 §10.5", "A body that stops ends its stream, and the request does not look whole.",
      stream_idle_timeout="0.3s")
async def body_half(c):
    c.post(1, c.test.path("never"))
    c.data(1, b"half")
    await c.until(lambda: c.ended or c.streams[1].closed, "the end of the stream")
    expect(c.streams[1].status in (None, "408", "504"), f"{c.streams[1]}")
    expect(not any(request.complete for request in c.test.requests), "the request looked whole")
    if not c.ended:
        await c.serves(3)


@case("9113 §10.5", "A response that stops ends its stream with RST_STREAM.", stream_idle_timeout="0.3s")
async def response_half(c):
    c.get(1, c.test.path("stall"))
    response = await c.response(1)
    expect(response.reset is not None, f"{response}")
    await c.serves(3)


@case("9113 §10.5", "A client that grants no window ends its stream after the idle time.", stream_idle_timeout="0.3s")
async def window_never(c):
    c.automatic = False
    c.send_settings((INITIAL_WINDOW_SIZE, 0))
    await c.until(lambda: c.acknowledged == 2, "ACK of SETTINGS")
    c.get(1, c.test.path())
    response = await c.response(1)
    expect(response.reset is not None and not response.body, f"{response}")


@case("9113 §10.5", "A client that grants no window makes the upstream wait: memory stays bounded.", alone=True,
      process=True)
async def window_zero_large_responses(c):
    before = c.test.server.resident()
    c.automatic = False
    c.send_settings((INITIAL_WINDOW_SIZE, 0))
    await c.until(lambda: c.acknowledged == 2, "ACK of SETTINGS")
    streams = range(1, 2 * min(100, c.settings.get(frames.MAX_CONCURRENT_STREAMS, 100)), 2)
    for stream in streams:
        c.get(stream, c.test.path("large", 20_000_000))
    for stream in streams:
        await c.head(stream)
    await c.alive()
    await c.test.served()
    grown = c.test.server.resident() - before
    expect(grown < GROWTH, f"the process has grown by {grown >> 10} KiB for {len(streams)} responses")


@case("9113 §10.5", "So does one that does not read.", alone=True, process=True)
async def unread_large_responses(c):
    before = c.test.server.resident()
    c.send_settings((INITIAL_WINDOW_SIZE, frames.MAX_WINDOW))
    c.grant(0, frames.MAX_WINDOW - 65535)
    await c.until(lambda: c.acknowledged == 2, "ACK of SETTINGS")
    streams = range(1, 2 * min(100, c.settings.get(frames.MAX_CONCURRENT_STREAMS, 100)), 2)
    c.pause()
    for stream in streams:
        c.get(stream, c.test.path("large", 20_000_000))
    # Nothing can be seen of a client that does not read, but that the others are served.
    backend = c.test.backend
    expect(await backend.until(lambda: len(c.test.requests) >= len(streams), c.test.deadline), "requests are missing")
    for _ in range(5):
        await c.test.served()
    grown = c.test.server.resident() - before
    expect(grown < GROWTH, f"the process has grown by {grown >> 10} KiB for {len(streams)} responses")


@case("9113 §10.5", "An upstream that does not read makes the client wait: what is granted is bounded.", alone=True,
      process=True)
async def upstream_unread(c):
    before = c.test.server.resident()
    streams = range(1, 2 * min(50, c.settings.get(frames.MAX_CONCURRENT_STREAMS, 100)), 2)
    for stream in streams:
        c.post(stream, c.test.path("deaf"))
    await c.alive()
    sent, piece = 0, 16384
    initial = c.settings.get(INITIAL_WINDOW_SIZE, 65535)
    expect(initial <= 1 << 20, f"the window of a stream is {initial}")
    used = dict.fromkeys(streams, 0)
    stuck = False
    while not stuck and sent < 512 << 20:
        stuck = True
        for stream in streams:
            while (used[stream] + piece <= initial + c.updates.get(stream, 0)
                   and sent + piece <= 65535 + c.updates.get(0, 0)):
                c.data(stream, bytes(piece))
                used[stream] += piece
                sent += piece
                stuck = False
        await c.taken()
        await c.alive()
    expect(sent < 256 << 20, f"{sent} bytes were taken")
    grown = c.test.server.resident() - before
    expect(grown < GROWTH, f"the process has grown by {grown >> 10} KiB, for {sent >> 10} KiB of bodies")


@case("9113 §10.5", "A header list that drips in is taken within its time.")
async def header_block_drips(c):
    block = c.block(path=c.test.path())
    c.headers(1, block[:1], END_STREAM)
    for at in range(1, len(block), 8):
        c.send(frames.continuation(1, block[at:at + 8], END_HEADERS if at + 8 >= len(block) else 0))
        await c.drain()
    if len(block) > 8 * 8:  # so many frames may be too many
        await c.until(lambda: c.ended or c.goaway or c.streams[1].closed, "a response, or the end")
    else:
        await c.good(1)
