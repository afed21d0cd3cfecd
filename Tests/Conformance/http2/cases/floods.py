"""Attacks on one connection: it ends or is bounded, others are served meanwhile, and memory stays bounded."""

import functools

from .. import frames, hpack
from ..case import case, expect
from ..frames import END_HEADERS, END_STREAM

WHOLE = END_STREAM | END_HEADERS
GROWTH = 32 << 20  # bytes that the whole process may grow by during one attack


def flood(rfc, says, ends=True, **options):
    """A case whose function is an attack. `ends`: the connection must have ended after it."""
    def register(function):
        @functools.wraps(function)
        async def play(c):
            server = c.test.server
            before = server.resident()
            await function(c)
            if ends:
                await c.until(lambda: c.ended or c.goaway and c.goaway.code, "GOAWAY with an error, or the end")
            await c.test.served()
            grown = server.resident() - before
            expect(grown < GROWTH, f"the process has grown by {grown >> 10} KiB")

        return case(rfc, says, alone=True, process=True, **options)(play)

    return register


async def press(c, pieces):
    """Sends as much as the server takes; whether it has taken all."""
    for piece in pieces:
        if c.ended or c.goaway and c.goaway.code:
            return False
        c.send(piece)
        if not await c.taken():
            return False
    return True


@flood("9113 §10.5", "Requests that are reset at once (rapid reset) end the connection.")
async def rapid_reset(c):
    block = c.block(path=c.test.path("never"))
    await press(c, (frames.headers(stream, block, WHOLE) + frames.rst_stream(stream) for stream in range(1, 40001, 2)))
    expect(len(c.test.requests) < 5000, f"{len(c.test.requests)} requests have reached the upstream")


@flood("9113 §10.5", "So do requests that are reset after a while.")
async def rapid_reset_later(c):
    block = c.block(path=c.test.path("never"))

    def waves():
        for first in range(1, 40001, 100):
            streams = range(first, first + 100, 2)
            yield b"".join(frames.headers(stream, block, WHOLE) for stream in streams)
            yield b"".join(frames.rst_stream(stream) for stream in streams)

    await press(c, waves())


def provoked(name, says, *wrong):
    """Requests after each of which the client makes the server reset the stream."""
    async def play(c):
        block = c.block("POST", c.test.path("never"))

        def waves():
            for stream in range(1, 40001, 2):
                c.opened(stream)
                yield frames.headers(stream, block) + b"".join(make(stream) for make in wrong)

        await press(c, waves())

    play.__name__ = name
    flood("9113 §10.5", says)(play)


provoked("provoked-reset-window-zero",
         "Resets that a client provokes (MadeYouReset) by WINDOW_UPDATE by 0 end the connection.",
         lambda stream: frames.window_update(stream, 0))
provoked("provoked-reset-window-overflow", "So do those that it provokes by a window that overflows.",
         lambda stream: frames.window_update(stream, frames.MAX_WINDOW))
provoked("provoked-reset-trailers", "So do those that it provokes by trailers that do not end the request.",
         lambda stream: frames.headers(stream, hpack.block([("x", "1")])))
provoked("provoked-reset-priority", "So do those that it provokes by PRIORITY of a wrong length.",
         lambda stream: frames.frame(frames.PRIORITY, 0, stream, bytes(4)))


@flood("9113 §10.5", "Malformed requests without end end the connection.")
async def malformed_requests(c):
    block = hpack.block(c.fields(without=(":path",)))

    def requests():
        for stream in range(1, 40001, 2):
            c.opened(stream)
            yield frames.headers(stream, block, WHOLE)

    await press(c, requests())


@flood("9113 §10.5", "A header block that goes on without end in empty CONTINUATION frames ends the connection.")
async def continuation_empty(c):
    c.headers(1, c.block()[:5], 0)
    await press(c, (frames.continuation(1, b"", 0) * 100 for _ in range(1000)))


@flood("9113 §10.5", "So does one in small CONTINUATION frames.")
async def continuation_small(c):
    c.headers(1, c.block(), 0)
    await press(c, (frames.continuation(1, hpack.literal("x", "y"), 0) * 100 for _ in range(1000)))


@flood("9113 §10.5", "So does one in large CONTINUATION frames.")
async def continuation_large(c):
    c.headers(1, c.block(), 0)
    await press(c, (frames.continuation(1, hpack.literal("x-large", "y" * 16000), 0) for _ in range(4000)))


@flood("9113 §10.5", "PING without end, by a client that does not read, waits or ends the connection.", ends=False)
async def ping(c):
    c.pause()
    await press(c, (frames.ping() * 1000 for _ in range(2000)))


@flood("9113 §10.5", "SETTINGS without end, by a client that does not read, waits or ends the connection.", ends=False)
async def settings(c):
    c.pause()
    await press(c, (frames.settings((frames.INITIAL_WINDOW_SIZE, 65535)) * 1000 for _ in range(1000)))


@flood("9113 §10.5", "Requests without end, by a client that does not read, wait or end the connection.", ends=False)
async def requests_unread(c):
    c.pause()
    block = c.block(path=c.test.path())
    await press(c, (frames.headers(stream, block, WHOLE) for stream in range(1, 100001, 2)))


@flood("9113 §10.5", "Empty DATA without end ends the connection.")
async def data_empty(c):
    c.post(1, c.test.path("never"))
    await press(c, (frames.data(1) * 1000 for _ in range(200)))


@flood("9113 §10.5", "DATA of padding only without end is bounded.", ends=False)
async def data_padding(c):
    c.post(1, c.test.path("never"))
    c.send(*[frames.frame(frames.DATA, frames.PADDED, 1, frames.padded(b"", 0)) * 1000 for _ in range(50)])
    await c.taken()


@flood("9113 §10.5", "WINDOW_UPDATE without end ends the connection.")
async def window_update(c):
    c.get(1, c.test.path("never"))
    await press(c, (frames.window_update(1, 1) * 1000 for _ in range(300)))


@flood("9113 §10.5", "So it does for the connection.")
async def window_update_connection(c):
    await press(c, (frames.window_update(0, 1) * 1000 for _ in range(300)))


@flood("9113 §10.5", "PRIORITY without end ends the connection.")
async def priority(c):
    await press(c, (b"".join(frames.priority(stream) for stream in range(first, first + 2000, 2))
                    for first in range(1, 600001, 2000)))


@flood("9113 §10.5", "So it does on one stream.")
async def priority_one_stream(c):
    c.get(1, c.test.path("never"))
    await press(c, (frames.priority(1) * 1000 for _ in range(300)))


@flood("9113 §10.5", "Frames of unknown types without end are bounded.", ends=False)
async def unknown_frames(c):
    await press(c, (frames.frame(0xBA, 0, 0, bytes(8)) * 1000 for _ in range(300)))


@flood("7541 §7.3", "A small header block that means a large header list (HPACK bomb) is refused.", ends=False)
async def hpack_bomb(c):
    block = c.block(path=c.test.path()) + hpack.literal("x-large", "a" * 4000, hpack.WITH_INDEXING)
    c.headers(1, block, WHOLE)
    await c.response(1)
    block = c.block(path=c.test.path("bomb")) + hpack.indexed(62) * 15000  # 60 MB
    for stream in range(3, 103, 2):
        if c.ended or c.goaway and c.goaway.code:
            break
        c.headers(stream, block, WHOLE)
        await c.taken()
        await c.over_limit(stream)
    expect(len(c.test.requests) < 2, "the request has reached the upstream")


@flood("9113 §8.2.3", "Cookies that come apart count as what they are.", ends=False)
async def cookie_bomb(c):
    # Each costs one byte, and an entry of its own.
    crumb = hpack.literal("cookie", "a" * 3900, hpack.WITH_INDEXING)
    for stream in range(1, 41, 2):
        if c.ended or c.goaway and c.goaway.code:
            break
        c.headers(stream, c.block(path=c.test.path("bomb")) + crumb + hpack.indexed(62) * 12000, WHOLE)
        await c.taken()
        await c.over_limit(stream)
    expect(not c.test.requests, "the request has reached the upstream")


@flood("9113 §10.5.1", "The same for trailers.", ends=False)
async def trailers_bomb(c):
    c.post(1, c.test.path("echo"))
    c.data(1, b"body")
    c.headers(1, hpack.literal("x-large", "a" * 4000, hpack.WITH_INDEXING) + hpack.indexed(62) * 15000, WHOLE, "POST")
    await c.until(lambda: c.ended or c.goaway or c.streams[1].closed, "the end of the stream")
    expect(not any(request.trailers for request in c.test.requests), "the trailers have reached the upstream")
