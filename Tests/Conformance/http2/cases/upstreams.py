"""Upstreams of HTTP/2 that break its rules: the client gets a clear answer, and everybody else is served."""

from .. import frames, hpack
from ..case import add, case, expect
from ..frames import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE,
                      MAX_CONCURRENT_STREAMS, MAX_WINDOW, PING, PUSH_PROMISE, RST_STREAM, SETTINGS, frame)

GROWTH = 32 << 20  # bytes that the process may grow by
OK = hpack.block([(":status", "200")])


def upstream(rfc, says, **options):
    return case(rfc, says, upstream=True, **options)


async def ends(c, stream=1, statuses=("502", "503")):
    """The request fails so that the client knows, and the client's connection is as good as before."""
    response = await c.response(stream)
    expect(response.status in statuses or response.reset is not None, f"{response}, instead of a failure")
    expect(not response.ended or response.status in statuses, f"{response} looks whole")
    await c.serves()


def plays(rfc, says, name, *pieces, statuses=("502", "503")):
    """A case in which the upstream answers with these frames."""
    async def play(c):
        c.test.upstream.answer = lambda peer, stream: peer.send(*pieces)
        c.get(1, c.test.path())
        await ends(c, statuses=statuses)

    add(name, __name__, rfc, says, play, upstream=True)


def greets(rfc, says, name, *pieces):
    """A case in which the upstream's connections begin like this."""
    async def play(c):
        c.test.upstream.greeting = b"".join(pieces)
        c.get(1, c.test.path())
        await ends(c)

    add(name, __name__, rfc, says, play, upstream=True)


def setting(identifier, value):
    return frames.settings((identifier, value))


# Connections

greets("9113 §3.4", "An upstream that speaks HTTP/1.1.", "greets_http1",
       b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
greets("9113 §3.4", "An upstream that speaks nothing at all.", "greets_noise", b"\x80noise" * 100)
greets("9113 §3.4", "A first frame that is no SETTINGS.", "greets_ping", frames.ping())
greets("9113 §6.5.2", "SETTINGS_INITIAL_WINDOW_SIZE above its range.", "greets_window",
       setting(INITIAL_WINDOW_SIZE, 1 << 31))
greets("9113 §6.5.2", "SETTINGS_MAX_FRAME_SIZE below its range.", "greets_frame_size", setting(5, 100))
greets("9113 §6.5", "SETTINGS of seven bytes.", "greets_settings_length", frame(SETTINGS, 0, 0, bytes(7)))
greets("9113 §6.5", "SETTINGS of a stream.", "greets_settings_stream", frame(SETTINGS, 0, 1))

for number, (rfc, says, pieces) in enumerate([
    ("9113 §4.2", "A frame above SETTINGS_MAX_FRAME_SIZE.", frame(DATA, 0, 1, bytes(20000))),
    ("9113 §6.1", "DATA of no stream.", frame(DATA, 0, 0, b"x")),
    ("9113 §6.1", "DATA with more padding than there is.", frames.headers(1, OK) + frame(DATA, 8, 1, b"\xff1")),
    ("9113 §6.2", "HEADERS of no stream.", frame(HEADERS, END_HEADERS, 0, OK)),
    ("9113 §5.1.1", "HEADERS of a stream that nobody has opened.", frame(HEADERS, END_HEADERS, 99, OK)),
    ("9113 §5.1.1", "HEADERS of a stream of the upstream's own.", frame(HEADERS, END_HEADERS, 2, OK)),
    ("9113 §6.4", "RST_STREAM of an idle stream.", frames.rst_stream(99)),
    ("9113 §6.4", "RST_STREAM of three bytes.", frame(RST_STREAM, 0, 1, bytes(3))),
    ("9113 §6.6", "A push that was not allowed.", frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + OK)),
    ("9113 §6.7", "PING of seven bytes.", frame(PING, 0, 0, bytes(7))),
    ("9113 §6.9", "WINDOW_UPDATE of nothing.", frames.window_update(0, 0)),
    ("9113 §6.9.1", "A window of the connection above 2^31-1.", frames.window_update(0, MAX_WINDOW)),
    ("9113 §6.9.1", "A window of the stream above 2^31-1.", frames.window_update(1, MAX_WINDOW)),
    ("9113 §6.10", "CONTINUATION of nothing.", frame(CONTINUATION, END_HEADERS, 1, OK)),
    ("9113 §6.10", "A header block that another frame interrupts.", frame(HEADERS, 0, 1, OK) + frames.ping()),
    ("7541 §2.3.3", "An index that no table has.", frames.headers(1, b"\xff\xff\x03")),
    ("7541 §6.3", "A table above SETTINGS_HEADER_TABLE_SIZE.", frames.headers(1, b"\x3f\xe1\xff\x03" + OK)),
    ("7541 §5.2", "A string that is longer than its block.", frames.headers(1, OK + b"\x00\x7f\xff\xff\x03x")),
    ("9113 §4.3", "A header block that ends in a field.", frames.headers(1, OK[:-1] + b"\x00\x05ab")),
]):
    plays(rfc, says, f"frame_{number + 1}", pieces)


# Messages that HTTP/1.1 could not carry

for number, (says, fields) in enumerate([
    ("A name in upper case.", [(":status", "200"), ("X-Upper", "1")]),
    ("A name with a space.", [(":status", "200"), ("x y", "1")]),
    ("A name with a colon.", [(":status", "200"), ("x:y", "1")]),
    ("A name with a line break.", [(":status", "200"), ("x\r\ny", "1")]),
    ("A name of nothing.", [(":status", "200"), ("", "1")]),
    ("A value with a line break.", [(":status", "200"), ("x-a", "1\r\nset-cookie: a=b")]),
    ("A value with a line feed.", [(":status", "200"), ("x-a", "1\nb")]),
    ("A value with NUL.", [(":status", "200"), ("x-a", "1\0b")]),
    ("connection", [(":status", "200"), ("connection", "close")]),
    ("keep-alive", [(":status", "200"), ("keep-alive", "timeout=5")]),
    ("proxy-connection", [(":status", "200"), ("proxy-connection", "close")]),
    ("transfer-encoding", [(":status", "200"), ("transfer-encoding", "chunked")]),
    ("upgrade", [(":status", "200"), ("upgrade", "h2c")]),
    ("Two lengths.", [(":status", "200"), ("content-length", "0"), ("content-length", "1")]),
    ("A length that is no number.", [(":status", "200"), ("content-length", "+1")]),
    ("A length above all numbers.", [(":status", "200"), ("content-length", "9" * 30)]),
    ("No status.", [("x-a", "1")]),
    ("A status of two digits.", [(":status", "20")]),
    ("A status of four digits.", [(":status", "2000")]),
    ("A status that is no number.", [(":status", "abc")]),
    ("101, which HTTP/2 does not have.", [(":status", "101")]),
    ("A status below all.", [(":status", "099")]),
    ("Two statuses.", [(":status", "200"), (":status", "200")]),
    ("A status behind a field.", [("x-a", "1"), (":status", "200")]),
    ("A pseudo header of requests.", [(":status", "200"), (":path", "/")]),
    ("A pseudo header of nobody.", [(":status", "200"), (":x", "1")]),
]):
    plays("9113 §8.2", says, f"message_{number + 1}", frames.headers(1, hpack.block(fields), END_HEADERS | END_STREAM),
          statuses=("502",))

for number, (rfc, says, pieces) in enumerate([
    ("9113 §8.1", "DATA before the head.", [frames.data(1, b"body", END_STREAM)]),
    ("9113 §8.1", "An interim response that ends the stream.",
     [frames.headers(1, hpack.block([(":status", "103")]), END_HEADERS | END_STREAM)]),
    ("9113 §8.1", "DATA behind an interim response.",
     [frames.headers(1, hpack.block([(":status", "103")])), frames.data(1, b"body", END_STREAM)]),
    ("9113 §8.1.1", "A body that is longer than it was said.",
     [frames.headers(1, hpack.block([(":status", "200"), ("content-length", "3")])),
      frames.data(1, b"body", END_STREAM)]),
    ("9113 §8.1.1", "A body that is shorter than it was said.",
     [frames.headers(1, hpack.block([(":status", "200"), ("content-length", "5")])),
      frames.data(1, b"body", END_STREAM)]),
    ("9113 §8.1.1", "No body where one was promised.",
     [frames.headers(1, hpack.block([(":status", "200"), ("content-length", "5")]), END_HEADERS | END_STREAM)]),
    ("9113 §8.1", "Trailers that end nothing.",
     [frames.headers(1, OK), frames.headers(1, hpack.block([("x-a", "1")]))]),
    ("9113 §8.1", "Trailers with a status.",
     [frames.headers(1, OK), frames.headers(1, OK, END_HEADERS | END_STREAM)]),
    ("9113 §8.1", "Trailers in upper case.",
     [frames.headers(1, OK), frames.headers(1, hpack.block([("X-A", "1")]), END_HEADERS | END_STREAM)]),
    ("9110 §15.2", "More interim responses than anybody needs.",
     [frames.headers(1, hpack.block([(":status", "103"), ("link", "</a>")])) * 2000]),
]):
    plays(rfc, says, f"sequence_{number + 1}", *pieces)

def resets(code, name, says, *before):
    """A case in which the upstream resets every request."""
    async def play(c):
        c.test.upstream.answer = lambda peer, stream: peer.send(
            *(make(stream) for make in before), frames.rst_stream(stream, code))
        c.get(1, c.test.path())
        await ends(c)

    add(name, __name__, "9113 §6.4", says, play, upstream=True)


for code in range(14):
    resets(code, f"reset_{code}", f"A request that is reset with {frames.error_name(code)} before its answer.")
    resets(code, f"cut_{code}", f"A response that is reset with {frames.error_name(code)}.",
           lambda stream: frames.headers(stream, OK), lambda stream: frames.data(stream, b"part"))


@upstream("9113 §5.1", "What comes behind the end of a response harms no other request.")
async def behind_the_end(c):
    def answer(peer, stream):
        peer.respond(stream, body=b"whole")
        peer.send(frames.data(stream, b"more"), frames.headers(stream, OK, END_HEADERS | END_STREAM))

    c.test.upstream.answer = answer
    c.get(1, c.test.path())
    await c.good(1, b"whole")
    await c.serves()


@upstream("9113 §6.8", "GOAWAY lets the response that it covers come.")
async def goaway_covers(c):
    def answer(peer, stream):
        peer.send(frames.goaway(stream))
        peer.respond(stream, body=b"whole")

    c.test.upstream.answer = answer
    for stream in (1, 3, 5):
        c.get(stream, c.test.path())
        await c.good(stream, b"whole")


@upstream("9113 §6.8", "A request that GOAWAY does not cover is sent again, once.")
async def goaway_below(c):
    c.test.upstream.answer = lambda peer, stream: peer.send(frames.goaway(0))
    c.get(1, c.test.path())
    await ends(c)
    expect(len(c.test.upstream.peers) <= 2, f"{len(c.test.upstream.peers)} connections for one request")


@upstream("9113 §6.8", "GOAWAY in the middle of a response, and the end of the connection.")
async def goaway_cut(c):
    def answer(peer, stream):
        peer.send(frames.headers(stream, OK), frames.data(stream, b"part"), frames.goaway(stream))
        peer.writer.close()

    c.test.upstream.answer = answer
    c.get(1, c.test.path())
    await ends(c)


@upstream("9113 §6.8", "GOAWAY whose last stream grows.")
async def goaway_grows(c):
    c.test.upstream.answer = lambda peer, stream: peer.send(frames.goaway(1), frames.goaway(101))
    c.get(1, c.test.path())
    await ends(c, statuses=("502", "503", "504"))


@upstream("9113 §5.1.2", "An upstream that takes no stream at all.")
async def no_streams(c):
    c.test.upstream.greeting = setting(MAX_CONCURRENT_STREAMS, 0)
    c.test.upstream.answer = lambda peer, stream: peer.send(frames.rst_stream(stream, frames.REFUSED_STREAM))
    c.get(1, c.test.path())
    await ends(c, statuses=("503", "504"))


@upstream("9113 §5.1.2", "An upstream that takes one stream at a time gets one at a time.")
async def one_stream(c):
    upstream = c.test.upstream
    upstream.greeting = setting(MAX_CONCURRENT_STREAMS, 1)
    upstream.answer = lambda peer, stream: peer.respond(stream, body=b"one")
    c.get(1, c.test.path())
    await c.good(1, b"one")
    for stream in range(3, 23, 2):
        c.get(stream, c.test.path())
    for stream in range(3, 23, 2):
        await c.good(stream, b"one")


@upstream("9113 §5.2", "An upstream that sends more than its window ends its connection, not the client's.")
async def window_overrun(c):
    c.automatic = False
    c.send_settings((INITIAL_WINDOW_SIZE, 0))
    await c.until(lambda: c.acknowledged == 2, "ACK of SETTINGS")

    async def answer(peer, stream):
        peer.send(frames.headers(stream, OK))
        await peer.flood(frames.data(stream, bytes(16384)), 1000)

    c.test.upstream.answer = answer
    c.get(1, c.test.path())
    response = await c.response(1)
    expect(response.reset is not None or response.status in ("502", "503"), f"{response}")
    c.send_settings((INITIAL_WINDOW_SIZE, 65535))
    await c.serves()


@upstream("9113 §10.5", "An upstream that says nothing.")
async def silent(c):
    c.test.upstream.greeting = b""
    c.test.upstream.acknowledges = False
    c.test.upstream.answer = lambda peer, stream: None
    c.get(1, c.test.path())
    await ends(c, statuses=("503", "504"))


@upstream("9113 §10.5", "An upstream that closes in the middle of a frame.")
async def cut_frame(c):
    def answer(peer, stream):
        peer.send(frames.headers(stream, OK), frames.data(stream, bytes(1000))[:500])
        peer.writer.close()

    c.test.upstream.answer = answer
    c.get(1, c.test.path())
    await ends(c)


@upstream("9113 §10.5", "An upstream that closes before it answers.")
async def closes(c):
    c.test.upstream.answer = lambda peer, stream: peer.writer.close()
    c.get(1, c.test.path())
    await ends(c)


@upstream("9113 §8.1", "An answer before the end of the request is one.")
async def early(c):
    c.test.upstream.answer = lambda peer, stream: peer.respond(stream, body=b"early")
    c.post(1, c.test.path())
    c.data(1, b"half")
    response = await c.response(1)
    expect(response.status == "200" and response.body == b"early", f"{response}")
    await c.serves()


# What costs the upstream nothing

def floods(rfc, says, name, content, count, headed=False):
    """The upstream sends this again and again: it is cut off, or the response comes all the same."""
    async def play(c):
        before = c.test.server.resident()

        async def answer(peer, stream):
            if headed:
                peer.send(frames.headers(stream, OK))
            await peer.flood(content * 100, count // 100)
            if not peer.ended:
                peer.respond(stream, body=b"whole")

        c.test.upstream.answer = answer
        c.get(1, c.test.path())
        response = await c.response(1)
        expect(response.closed, f"{response}")
        await c.serves()
        grown = c.test.server.resident() - before
        expect(grown < GROWTH, f"the process has grown by {grown >> 10} KiB")

    add(name, __name__, rfc, says, play, upstream=True, alone=True, process=True)


floods("9113 §10.5", "PING without end.", "flood_ping", frames.ping(), 100_000)
floods("9113 §10.5", "SETTINGS without end.", "flood_settings", frames.settings(), 100_000)
floods("9113 §10.5", "PRIORITY without end.", "flood_priority", frames.priority(1), 100_000)
floods("9113 §10.5", "WINDOW_UPDATE without end.", "flood_window_update", frames.window_update(1, 1), 100_000)
floods("9113 §10.5", "DATA without content, without end.", "flood_empty_data", frames.data(1), 100_000, headed=True)
floods("9113 §10.5", "Frames of unknown types without end.", "flood_unknown", frame(0xFA, 0, 1, bytes(16)), 100_000)
floods("9113 §10.5", "Interim responses without end.", "flood_interim",
       frames.headers(1, hpack.block([(":status", "100")])), 100_000)
floods("9113 §10.5", "Answers to PING that nobody has sent.", "flood_pong", frames.ping(flags=ACK), 100_000)
floods("9113 §10.5", "Responses to streams that are over.", "flood_stray", frames.data(1, b"x"), 100_000)


@upstream("9113 §10.5", "PING without end by an upstream that reads no answer.", alone=True, process=True)
async def flood_ping_unread(c):
    before = c.test.server.resident()

    async def answer(peer, stream):
        c.test.upstream.reads = False
        await peer.flood(frames.ping() * 1000, 3000)

    c.test.upstream.answer = answer
    c.get(1, c.test.path())
    await ends(c, statuses=("502", "503", "504"))
    grown = c.test.server.resident() - before
    expect(grown < GROWTH, f"the process has grown by {grown >> 10} KiB")


@upstream("9113 §10.5.1", "A head that does not end.", alone=True, process=True)
async def flood_continuation(c):
    before = c.test.server.resident()

    async def answer(peer, stream):
        peer.send(frame(HEADERS, 0, stream, OK))
        await peer.flood(frame(CONTINUATION, 0, stream, hpack.block([("x-a", "v" * 1000)])), 100_000)

    c.test.upstream.answer = answer
    c.get(1, c.test.path())
    await ends(c)
    grown = c.test.server.resident() - before
    expect(grown < GROWTH, f"the process has grown by {grown >> 10} KiB")


@upstream("7541 §7.3", "A head that is small on the wire and large in memory.", alone=True, process=True)
async def bomb(c):
    before = c.test.server.resident()
    entry = hpack.literal("x-bomb", "v" * 3900, hpack.WITH_INDEXING)

    def answer(peer, stream):
        peer.send(frames.headers(stream, OK + entry + hpack.indexed(62) * 12000, END_HEADERS | END_STREAM))

    c.test.upstream.answer = answer
    c.get(1, c.test.path())
    await ends(c, statuses=("502",))
    grown = c.test.server.resident() - before
    expect(grown < GROWTH, f"the process has grown by {grown >> 10} KiB")


@upstream("9113 §10.5.1", "A head above the limit, in one frame and in several.")
async def large_head(c):
    block = OK + b"".join(hpack.literal(f"x-{number}", "v" * 1000) for number in range(90))

    def answer(peer, stream):
        parts = [block[start:start + 16000] for start in range(0, len(block), 16000)]
        peer.send(frame(HEADERS, END_STREAM, stream, parts[0]))
        for part in parts[1:-1]:
            peer.send(frame(CONTINUATION, 0, stream, part))
        peer.send(frame(CONTINUATION, END_HEADERS, stream, parts[-1]))

    c.test.upstream.answer = answer
    c.get(1, c.test.path())
    await ends(c, statuses=("502",))


@upstream("9113 §10.5.1", "More fields than allowed.")
async def many_fields(c):
    c.test.upstream.answer = lambda peer, stream: peer.respond(stream, *((f"x-{n}", "1") for n in range(300)))
    c.get(1, c.test.path())
    await ends(c, statuses=("502",))


@upstream("9113 §5.2", "An upstream that grants no window makes the client wait: memory stays bounded.", alone=True,
          process=True)
async def no_window(c):
    before = c.test.server.resident()
    c.test.upstream.automatic = False
    c.test.upstream.answer = lambda peer, stream: None
    for stream in range(1, 21, 2):
        c.post(stream, c.test.path())
    for _ in range(20):
        for stream in range(1, 21, 2):
            c.data(stream, bytes(3000))
    await c.alive()
    await c.test.served()
    grown = c.test.server.resident() - before
    expect(grown < GROWTH, f"the process has grown by {grown >> 10} KiB")


@upstream("9113 §5.2.1", "A response that the upstream stops in the middle does not hold up the others.")
async def slow_stream(c):
    def answer(peer, stream):
        if len(peer.requests) == 1:
            peer.send(frames.headers(stream, OK), frames.data(stream, b"part"))
        else:
            peer.respond(stream, body=b"whole")

    c.test.upstream.answer = answer
    c.get(1, c.test.path())
    await c.head(1)
    for stream in range(3, 43, 2):
        c.get(stream, c.test.path())
        await c.good(stream, b"whole")
    expect(len(c.test.upstream.peers) == 1, "there were several connections")
