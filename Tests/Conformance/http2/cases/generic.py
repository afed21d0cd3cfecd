"""What any server must take: every frame type and every HPACK representation in an ordinary use."""

from functools import partial

from .. import frames, hpack
from ..case import add, case, expect
from ..frames import END_HEADERS, END_STREAM, PADDED, PRIORITISED

portable = partial(case, portable=True)


@portable("9113 §3.4", "The server answers the preface with SETTINGS as its first frame.", started=False)
async def preface(c):
    c.send(frames.PREFACE)
    c.send_settings()
    await c.until(lambda: c.started, "the server's SETTINGS")


# Streams

@portable("9113 §5.1", "PRIORITY may come on an idle stream.")
async def idle_priority(c):
    c.send(frames.priority(1))
    c.get(1)
    await c.good(1)


@portable("9113 §5.1", "WINDOW_UPDATE may come on a half-closed stream.")
async def half_closed_window_update(c):
    c.get(1)
    c.grant(1, 1)
    await c.good(1)


@portable("9113 §5.1", "PRIORITY may come on a half-closed stream.")
async def half_closed_priority(c):
    c.get(1)
    c.send(frames.priority(1))
    await c.good(1)


@portable("9113 §5.1", "RST_STREAM may come on a half-closed stream.")
async def half_closed_rst_stream(c):
    c.get(1)
    c.send(frames.rst_stream(1))
    await c.alive()


@portable("9113 §5.1", "PRIORITY may come on a closed stream.")
async def closed_priority(c):
    c.get(1)
    await c.good(1)
    c.send(frames.priority(1))
    await c.alive()


# Frames

@portable("9113 §6.1", "DATA is taken.")
async def data(c):
    c.post(1)
    c.data(1, b"test", end=True)
    await c.good(1)


@portable("9113 §6.1", "Several DATA frames are taken.")
async def data_several(c):
    c.post(1)
    c.data(1, b"one")
    c.data(1, b"two", end=True)
    await c.good(1)


@portable("9113 §6.1", "DATA with padding is taken.")
async def data_padded(c):
    c.post(1)
    c.send(frames.frame(frames.DATA, END_STREAM | PADDED, 1, frames.padded(b"test", 6)))
    await c.good(1)


@portable("9113 §6.2", "HEADERS is taken.")
async def headers(c):
    c.get(1)
    await c.good(1)


@portable("9113 §6.2", "HEADERS with padding is taken.")
async def headers_padded(c):
    c.headers(1, frames.padded(c.block(), 20), END_STREAM | END_HEADERS | PADDED)
    await c.good(1)


@portable("9113 §6.2", "HEADERS with priority is taken.")
async def headers_priority(c):
    c.headers(1, frames.dependency(0, 256, True) + c.block(), END_STREAM | END_HEADERS | PRIORITISED)
    await c.good(1)


def priority_case(name, says, **fields):
    async def play(c):
        c.send(frames.priority(1, **fields))
        c.get(1)
        await c.good(1)

    add(name, __name__, "9113 §6.3", says, play, portable=True)


priority_case("priority_lightest", "PRIORITY with the smallest weight is taken.", weight=1)
priority_case("priority_heaviest", "PRIORITY with the largest weight is taken.", weight=256)
priority_case("priority_dependency", "PRIORITY with a dependency is taken.", on=3)
priority_case("priority_exclusive", "PRIORITY with an exclusive dependency is taken.", on=3, exclusive=True)


@portable("9113 §5.1.1", "PRIORITY on an idle stream opens none: lower numbers may still be used.")
async def priority_then_lower_stream(c):
    c.send(frames.priority(5))
    c.get(3)
    await c.good(3)


@portable("9113 §6.4", "RST_STREAM is taken.")
async def rst_stream(c):
    c.post(1)
    c.send(frames.rst_stream(1, frames.CANCEL))
    await c.alive()


@portable("9113 §6.5", "SETTINGS is taken, with any of its parameters.")
async def settings(c):
    c.send_settings((frames.HEADER_TABLE_SIZE, 4096), (frames.ENABLE_PUSH, 0), (frames.MAX_CONCURRENT_STREAMS, 100),
                    (frames.INITIAL_WINDOW_SIZE, 65535), (frames.SETTING_MAX_FRAME_SIZE, 16384),
                    (frames.MAX_HEADER_LIST_SIZE, 65536))
    await c.until(lambda: c.acknowledged == 2, "ACK of SETTINGS")


@portable("9113 §6.7", "PING is answered.")
async def ping(c):
    c.send(frames.ping(b"h2 suite"))
    await c.until(lambda: b"h2 suite" in c.pongs, "ACK of the PING, with its content")


@portable("9113 §6.8", "GOAWAY is taken: the server need not answer, and may close.")
async def goaway(c):
    c.send(frames.goaway(0, frames.NO_ERROR))
    c.send(frames.ping(b"goaway!!"))
    await c.until(lambda: c.ended or c.goaway or b"goaway!!" in c.pongs, "ACK of a PING, GOAWAY, or the end")


@portable("9113 §6.9", "WINDOW_UPDATE of the connection is taken.")
async def window_update_connection(c):
    c.grant(0, 1)
    c.get(1)
    await c.good(1)


@portable("9113 §6.9", "WINDOW_UPDATE of a stream is taken.")
async def window_update_stream(c):
    c.get(1)
    c.grant(1, 1)
    await c.good(1)


@portable("9113 §6.10", "A header block may go on in CONTINUATION.")
async def continuation(c):
    block = c.block()
    c.headers(1, block[:5], END_STREAM)
    c.send(frames.continuation(1, block[5:]))
    await c.good(1)


@portable("9113 §6.10", "A header block may go on in several CONTINUATION frames.")
async def continuation_several(c):
    block = c.block()
    c.headers(1, block[:5], END_STREAM)
    c.send(frames.continuation(1, block[5:9], 0), frames.continuation(1, b"", 0), frames.continuation(1, block[9:]))
    await c.good(1)


# Messages

@portable("9113 §8.1", "GET is answered.")
async def message_get(c):
    c.get(1)
    expect((await c.good(1)).body, "the response has no body")


@portable("9113 §8.1", "HEAD is answered without DATA content.")
async def message_head(c):
    c.request(1, "HEAD")
    expect(not (await c.good(1)).body, "the response has a body")


@portable("9113 §8.1", "POST is answered.")
async def message_post(c):
    c.post(1)
    c.data(1, b"test", end=True)
    await c.good(1)


@portable("9113 §8.1", "A request may have trailers.")
async def message_trailers(c):
    c.post(1, more=[("trailer", "x-test")])
    c.data(1, b"test")
    c.send(frames.headers(1, hpack.block([("x-test", "ok")]), END_STREAM | END_HEADERS))
    await c.good(1)


# HPACK

def hpack_case(name, rfc, says, before=b"", after=b""):
    async def play(c):
        c.headers(1, before + c.block() + after, END_STREAM | END_HEADERS)
        await c.good(1)

    add(name, __name__, rfc, says, play, portable=True)


AGENT = 58  # of user-agent in the static table

hpack_case("hpack_indexed", "7541 §6.1", "An indexed field is taken.", after=hpack.indexed(AGENT))
for kind, rfc, name, says in [(hpack.WITH_INDEXING, "7541 §6.2.1", "incremental", "with incremental indexing"),
                              (hpack.WITHOUT_INDEXING, "7541 §6.2.2", "without", "without indexing"),
                              (hpack.NEVER_INDEXED, "7541 §6.2.3", "never", "that is never indexed")]:
    for coded, suffix, how in [(False, "", "plain text"), (True, "-huffman", "Huffman coding")]:
        hpack_case(f"hpack-{name}-indexed-name{suffix}", rfc, f"A literal {says}, with an indexed name, in {how}.",
                   after=hpack.literal(AGENT, "suite", kind, coded))
        hpack_case(f"hpack-{name}-new-name{suffix}", rfc, f"A literal {says}, with a new name, in {how}.",
                   after=hpack.literal("x-test", "suite", kind, coded))
hpack_case("hpack-table-size", "7541 §6.3", "A dynamic table size update at the beginning of a block is taken.",
           before=hpack.table_size(0))
hpack_case("hpack-table-size-several", "7541 §4.2", "Two dynamic table size updates may come together.",
           before=hpack.table_size(128) + hpack.table_size(4096))
