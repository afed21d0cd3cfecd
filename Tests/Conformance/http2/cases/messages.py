"""HTTP messages by HTTP/2: what is malformed never reaches an upstream (RFC 9113 §8)."""

from functools import partial

from .. import frames, hpack
from ..case import add, case, expect
from ..frames import END_HEADERS, END_STREAM, PROTOCOL_ERROR

portable = partial(case, portable=True)
WHOLE = END_STREAM | END_HEADERS


def malformed(name, rfc, says, more=(), without=(), first=(), portable=True):
    """A case in which a request with these fields is refused, and goes nowhere."""
    async def play(c):
        fields = [*first, *c.fields(path="/" if portable else c.test.path(), more=more, without=without)]
        c.headers(1, hpack.block(fields), WHOLE)
        await (c.stream_error(1, PROTOCOL_ERROR) if portable else c.refused(1, *STATUSES))
        expect(not c.test.requests, "the request has reached the upstream")

    add(name, __name__, rfc, says, play, portable=portable)


STATUSES = ("400", "404", "421", "501")

# What h2spec has too: an error of the stream it must be.

malformed("name-upper-case", "9113 §8.2.1", "A field name with a capital letter is malformed.", more=[("X-TEST", "ok")])
malformed("pseudo-unknown", "9113 §8.3", "An unknown pseudo-header field is malformed.", first=[(":test", "ok")])
malformed("pseudo-of-response", "9113 §8.3", "A response's pseudo-header field in a request is malformed.",
          first=[(":status", "200")])
malformed("pseudo-after-others", "9113 §8.3", "A pseudo-header field after others is malformed.",
          without=(":path",), more=[("x-test", "ok"), (":path", "/")])
malformed("connection-field", "9113 §8.2.2", "A field that belongs to the connection is malformed.",
          more=[("connection", "keep-alive")])
malformed("te", "9113 §8.2.2", "te says nothing but trailers.", more=[("te", "trailers, deflate")])
malformed("path-empty", "9113 §8.3.1", "An empty :path is malformed.", without=(":path",), first=[(":path", "")])
malformed("method-missing", "9113 §8.3.1", "A request without :method is malformed.", without=(":method",))
malformed("scheme-missing", "9113 §8.3.1", "A request without :scheme is malformed.", without=(":scheme",))
malformed("path-missing", "9113 §8.3.1", "A request without :path is malformed.", without=(":path",))
malformed("method-twice", "9113 §8.3.1", "A second :method is malformed.", first=[(":method", "GET")])
malformed("scheme-twice", "9113 §8.3.1", "A second :scheme is malformed.", first=[(":scheme", "http")])
malformed("path-twice", "9113 §8.3.1", "A second :path is malformed.", first=[(":path", "/")])


@portable("9113 §8.1", "Trailers that do not end the stream are an error.")
async def trailers_without_end(c):
    c.post(1)
    c.data(1, b"test")
    c.send(frames.headers(1, hpack.block([("x-test", "ok")])))
    await c.stream_error(1, PROTOCOL_ERROR)


@portable("9113 §8.1", "A pseudo-header field in trailers is malformed.")
async def trailers_pseudo(c):
    c.post(1)
    c.data(1, b"test")
    c.send(frames.headers(1, hpack.block([(":method", "POST")])))
    await c.stream_error(1, PROTOCOL_ERROR)


@case("9113 §8.1", "Also in those that end the stream.")
async def trailers_pseudo_at_end(c):
    c.post(1)
    c.data(1, b"test")
    c.send(frames.headers(1, hpack.block([(":method", "POST")]), WHOLE))
    await c.stream_error(1, PROTOCOL_ERROR)


@portable("9113 §8.1.1", "content-length that is not the length of DATA is malformed.")
async def length_wrong(c):
    c.post(1, more=[("content-length", "1")])
    c.data(1, b"test", end=True)
    await c.stream_error(1, PROTOCOL_ERROR)


@portable("9113 §8.1.1", "content-length that is not the length of several DATA is malformed.")
async def length_wrong_several(c):
    c.post(1, more=[("content-length", "1")])
    c.data(1, b"test")
    c.data(1, b"test", end=True)
    await c.stream_error(1, PROTOCOL_ERROR)


# Further ways to be malformed.

ours = partial(malformed, portable=False)

ours("name-empty", "9113 §8.2.1", "An empty name is malformed.", more=[("", "value")])
ours("name-space", "9113 §8.2.1", "A name with a space is malformed.", more=[("x test", "ok")])
ours("name-space-at-end", "9113 §8.2.1", "Also at its end: it would be another field for a lenient reader.",
     more=[("transfer-encoding ", "chunked")])
ours("name-colon", "9113 §8.2.1", "A name with a colon is malformed.", more=[("x-test: a", "ok")])
ours("name-line-end", "9113 §8.2.1", "A name with a line end is malformed.", more=[("x-a: b\r\nx-c", "ok")])
ours("name-nul", "9113 §8.2.1", "A name with NUL is malformed.", more=[("x-\0", "ok")])
ours("name-high-byte", "9113 §8.2.1", "A name with a byte over 127 is malformed.", more=[("x-\xe9", "ok")])
ours("name-delete", "9113 §8.2.1", "A name with DEL is malformed.", more=[("x-\x7f", "ok")])
ours("value-line-end", "9113 §8.2.1", "A value with CR LF is malformed.", more=[("x-a", "b\r\nx-smuggled: 1")])
ours("value-carriage-return", "9113 §8.2.1", "A value with CR is malformed.", more=[("x-a", "b\rc")])
ours("value-line-feed", "9113 §8.2.1", "A value with LF is malformed.", more=[("x-a", "b\nx-smuggled: 1")])
ours("value-nul", "9113 §8.2.1", "A value with NUL is malformed.", more=[("x-a", "b\0c")])
ours("transfer-encoding", "9113 §8.2.2", "transfer-encoding is malformed.", more=[("transfer-encoding", "chunked")])
ours("keep-alive", "9113 §8.2.2", "keep-alive is malformed.", more=[("keep-alive", "timeout=5")])
ours("proxy-connection", "9113 §8.2.2", "proxy-connection is malformed.", more=[("proxy-connection", "close")])
ours("upgrade", "9113 §8.2.2", "upgrade is malformed.", more=[("upgrade", "websocket")])
ours("connection-close", "9113 §8.2.2", "connection: close is malformed.", more=[("connection", "close")])
ours("length-twice", "9110 §8.6", "Two different lengths are malformed.",
     more=[("content-length", "0"), ("content-length", "5")])
ours("length-list", "9110 §8.6", "A list of different lengths is malformed.", more=[("content-length", "0, 5")])
ours("length-sign", "9110 §8.6", "A length with a sign is malformed.", more=[("content-length", "+0")])
ours("length-negative", "9110 §8.6", "A negative length is malformed.", more=[("content-length", "-1")])
ours("length-overflow", "9110 §8.6", "A length over 2^64 is malformed.",
     more=[("content-length", "18446744073709551616")])
ours("length-without-body", "9113 §8.1.1", "A length, and no DATA, is malformed.", more=[("content-length", "5")])
ours("path-space", "9113 §8.3.1", "A :path with a space is malformed.", without=(":path",),
     first=[(":path", "/a HTTP/1.1\r\nHost: b\r\n\r\nGET /smuggled")])
ours("path-line-end", "9113 §8.3.1", "A :path with a line end is malformed.", without=(":path",),
     first=[(":path", "/a\r\nx: y")])
ours("path-only-space", "9113 §8.3.1", "A :path that has a space in it is malformed.", without=(":path",),
     first=[(":path", "/a b")])
ours("path-relative", "9113 §8.3.1", "A :path that begins with no slash is malformed.", without=(":path",),
     first=[(":path", "relative")])
ours("path-absolute", "9113 §8.3.1", "A :path that is a whole URL is malformed.", without=(":path",),
     first=[(":path", "http://other.example/")])
ours("path-asterisk", "9113 §8.3.1", "A :path of * is for OPTIONS.", without=(":path",), first=[(":path", "*")])
ours("method-space", "9113 §8.3.1", "A :method with a space is malformed.", without=(":method",),
     first=[(":method", "GET /smuggled HTTP/1.1\r\nx:")])
ours("method-empty", "9113 §8.3.1", "An empty :method is malformed.", without=(":method",), first=[(":method", "")])
ours("scheme-line-end", "9113 §8.3.1", "A :scheme with a line end is malformed.", without=(":scheme",),
     first=[(":scheme", "http\r\nx: y")])
ours("authority-line-end", "9113 §8.3.1", "An :authority with a line end is malformed.", without=(":authority",),
     first=[(":authority", "a\r\nx: y")])
ours("authority-space", "9113 §8.3.1", "An :authority with a space is malformed.", without=(":authority",),
     first=[(":authority", "a b")])
ours("authority-user", "9113 §8.3.1", "An :authority with user information is malformed.", without=(":authority",),
     first=[(":authority", "user@conformance.example")])
ours("authority-twice", "9113 §8.3.1", "A second :authority is malformed.", first=[(":authority", "other.example")])
ours("authority-missing", "9113 §8.3.1", "A request without :authority and host is malformed.",
     without=(":authority",))
ours("host-twice", "9110 §7.2", "Two different hosts are malformed.", without=(":authority",),
     more=[("host", "a.example"), ("host", "b.example")])
ours("connect-with-path", "9113 §8.5", "CONNECT has no :path and :scheme.", without=(":method",),
     first=[(":method", "CONNECT")])
ours("protocol-without-setting", "8441 §4", ":protocol with another method than CONNECT is malformed.",
     first=[(":protocol", "websocket")])


@case("9113 §8.3.1", "A host that is the :authority is no error, and one of them arrives.")
async def host_the_same(c):
    c.get(1, c.test.path(), more=[("host", "conformance.example")])
    await c.good(1)
    expect(c.test.requests[0].values("host") == ["conformance.example"], f"{c.test.requests[0].fields}")


@case("9113 §8.3.1", "A host that is not the :authority is refused, or does not arrive.")
async def host_different(c):
    c.get(1, c.test.path(), more=[("host", "other.example")])
    await c.until(lambda: c.ended or c.goaway or c.streams[1].closed, "the end of the stream")
    hosts = [request.values("host") for request in c.test.requests]
    expect(hosts in ([], [["conformance.example"]]), f"{hosts}")


@case("9113 §8.3.1", "A host may stand for :authority.")
async def host_instead(c):
    c.get(1, c.test.path(), without=(":authority",), more=[("host", "conformance.example")])
    await c.good(1)
    expect(c.test.requests[0].values("host") == ["conformance.example"], f"{c.test.requests[0].fields}")


@case("9113 §8.2.2", "te: trailers is allowed.")
async def te_trailers(c):
    c.get(1, c.test.path(), more=[("te", "trailers")])
    await c.good(1)


@case("9113 §8.2.3", "Cookies that come apart arrive as one.")
async def cookies(c):
    c.get(1, c.test.path(), more=[("cookie", "a=1"), ("cookie", "b=2"), ("x-between", "1"), ("cookie", "c=3")])
    await c.good(1)
    expect(c.test.requests[0].values("cookie") == ["a=1; b=2; c=3"], f"{c.test.requests[0].fields}")


@case("9113 §8.1", "Fields and body of a request arrive, as HTTP/1.1.")
async def request_arrives(c):
    c.post(1, c.test.path("echo"), more=[("x-one", "1"), ("x-two", "a"), ("x-two", "b"), ("content-length", "11")])
    c.data(1, b"hello ")
    c.data(1, b"world", end=True)
    await c.good(1, b"hello world")
    request = c.test.requests[0]
    expect(request.start == f"POST {c.test.path('echo')} HTTP/1.1" and request.body == b"hello world"
           and request.values("x-one") == ["1"] and ",".join(request.values("x-two")).replace(" ", "") == "a,b"
           and request.values("content-length") == ["11"] and not request.values("transfer-encoding"),
           f"{request.start} {request.fields} {request.body}")


@case("9113 §8.1", "A body without content-length arrives whole.")
async def request_without_length(c):
    c.post(1, c.test.path("echo"))
    c.data(1, b"one")
    await c.until(lambda: c.streams[1].body == b"one", "the first piece, while the request goes on")
    c.data(1, b"two", end=True)
    await c.good(1, b"onetwo")
    expect(c.test.requests[0].complete, "the request has not ended")


@case("9113 §8.1", "A body may end with an empty DATA.")
async def request_empty_end(c):
    c.post(1, c.test.path("echo"), more=[("content-length", "4")])
    c.data(1, b"body")
    c.data(1, b"", end=True)
    await c.good(1, b"body")


@case("9113 §8.1", "Trailers of the request arrive.")
async def request_trailers(c):
    c.post(1, c.test.path("echo"), more=[("te", "trailers")])
    c.data(1, b"body")
    c.send(frames.headers(1, hpack.block([("x-checksum", "abc")]), WHOLE))
    await c.good(1)
    expect(("x-checksum", "abc") in [(name.lower(), value) for name, value in c.test.requests[0].trailers],
           f"{c.test.requests[0].trailers}")


def bad_trailers(name, says, fields):
    async def play(c):
        c.post(1, c.test.path("echo"))
        c.data(1, b"body")
        c.send(frames.headers(1, hpack.block(fields), WHOLE))
        await c.until(lambda: c.ended or c.goaway or c.streams[1].closed, "the end of the stream")
        for request in c.test.requests:
            smuggled = [value for key, value in request.trailers + request.fields if key.lower() in
                        ("x-smuggled", "content-length", "connection") or "\r" in value]
            expect(not smuggled, f"{smuggled} reached the upstream")
        expect(c.ended or c.goaway or c.streams[1].reset is not None or not any(
            request.complete and request.trailers for request in c.test.requests), "they reached the upstream")

    add(name, __name__, "9113 §8.1", says, play)


bad_trailers("trailers-line-end", "A value with CR LF in trailers is malformed.", [("x-a", "b\r\nx-smuggled: 1")])
bad_trailers("trailers-upper-case", "A capital letter in trailers is malformed.", [("X-Smuggled", "1")])
bad_trailers("trailers-connection", "A field of the connection in trailers is malformed.", [("connection", "close")])


@case("9113 §8.1.1", "A body that is longer than its content-length does not reach the upstream whole.")
async def length_too_short(c):
    c.post(1, c.test.path("never"), more=[("content-length", "4")])
    c.data(1, b"body" + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", end=True)
    await c.refused(1)


@case("9113 §8.1.1", "A body that is shorter than its content-length never looks whole.")
async def length_too_long(c):
    c.post(1, c.test.path("echo"), more=[("content-length", "10")])
    c.data(1, b"body", end=True)
    await c.refused(1)
    expect(not any(request.complete for request in c.test.requests), "the request looked whole")


@case("9113 §8.1", "A request that the client resets does not look whole.")
async def request_reset(c):
    c.post(1, c.test.path("never"))
    c.data(1, b"body")
    expect(await c.test.backend.until(lambda: c.test.requests, c.test.deadline), "the request has not arrived")
    c.send(frames.rst_stream(1))
    request = c.test.requests[0]
    expect(await c.test.backend.until(request.gone.is_set, c.test.deadline), "the upstream's connection stays open")
    expect(not request.complete, "the request looked whole")
    await c.serves(3)


@case("9113 §8.1", "A response before the end of its request is passed on.")
async def response_early(c):
    c.post(1, c.test.path("early"))
    c.data(1, b"body")
    expect((await c.response(1)).status == "200" and c.streams[1].body == b"early", f"{c.streams[1]}")


@case("9113 §8.1", "Trailers of the response arrive.")
async def response_trailers(c):
    c.get(1, c.test.path("trailers"), more=[("te", "trailers")])
    await c.good(1, b"body")
    expect(c.streams[1].trailers == [("x-checksum", "abc")], f"{c.streams[1].heads}")


@case("9113 §8.2.2", "Fields of the upstream's connection do not reach the client.")
async def response_connection_fields(c):
    c.get(1, c.test.path("raw", "connection-fields"))
    await c.good(1, b"ok")  # the reader refuses them; `x-hop` is Connection's to name
    expect(c.streams[1].value("x-hop") is None, f"{c.streams[1].final}")


@case("9113 §8.2.1", "Names of an upstream's fields become lower-case.")
async def response_names(c):
    c.get(1, c.test.path("raw", "upper-case"))
    await c.good(1, b"ok")
    expect(c.streams[1].value("x-upper-case") == "Kept", f"{c.streams[1].final}")


@case("9113 §8.1", "Set-Cookie lines stay apart.")
async def response_cookies(c):
    c.get(1, c.test.path("raw", "cookies"))
    await c.good(1, b"ok")
    cookies = [value for name, value in c.streams[1].final if name == "set-cookie"]
    expect(cookies == ["a=1", "b=2"], f"{c.streams[1].final}")


@case("9113 §8.1", "204 and 304 have no body.")
async def response_without_body(c):
    c.get(1, c.test.path("raw", "no-content"))
    expect((await c.response(1)).status == "204" and c.streams[1].ended, f"{c.streams[1]}")
    c.get(3, c.test.path("raw", "not-modified"))
    expect((await c.response(3)).status == "304" and c.streams[3].ended, f"{c.streams[3]}")


@case("9110 §15.2", "An interim response goes before the final one, or is left out.")
async def response_interim(c):
    c.get(1, c.test.path("raw", "early-hints"))
    await c.good(1, b"ok")


def upstream_case(name, says, which, *statuses):
    """What an upstream leaves incomplete never looks complete."""
    async def play(c):
        c.get(1, c.test.path("raw", which))
        response = await c.response(1)
        if statuses and response.status in statuses:
            return
        expect(response.reset is not None and not response.ended, f"{response}, instead of RST_STREAM")
        await c.serves(3)

    add(name, __name__, "9113 §8.1", says, play)


upstream_case("truncated-length", "A response that ends before its length ends with RST_STREAM.", "cut-length")
upstream_case("truncated-chunks", "A response without its last chunk ends with RST_STREAM.", "cut-chunks")
upstream_case("truncated-chunk", "A response that ends within a chunk ends with RST_STREAM.", "cut-chunk")
upstream_case("malformed-chunk", "A response with a malformed chunk ends with RST_STREAM.", "bad-chunk", "502", "503")
upstream_case("no-http", "An upstream that does not speak HTTP is answered for.", "no-http", "502", "503")


@case("9113 §8.1", "A response without a length that the upstream ends by closing is whole.")
async def response_until_close(c):
    c.get(1, c.test.path("raw", "until-close"))
    await c.good(1, b"all of it")


@case("9113 §8.1", "A response that an upstream resets ends with RST_STREAM; others go on.")
async def response_reset(c):
    c.get(1, c.test.path("reset"))
    await c.head(1)
    c.get(3, c.test.path())
    await c.good(3)
    c.test.backend.release(c.test.path("reset"))
    response = await c.response(1)
    expect(response.reset is not None and not response.ended, f"{response}, instead of RST_STREAM")
    await c.serves(5)


@case("9113 §8.1", "Requests on one connection are served side by side: one that waits holds up none.")
async def multiplexed(c):
    c.get(1, c.test.path("never"))
    for stream in range(3, 43, 2):
        c.get(stream, c.test.path())
    for stream in range(3, 43, 2):
        await c.good(stream)
    expect(not c.streams[1].closed, f"{c.streams[1]}")


@case("9113 §8.1", "A header block of many fields, in both directions.")
async def large_head(c):
    more = [(f"x-field-{number}", "v" * 400) for number in range(60)]
    block = c.block(path=c.test.path(), more=more)
    c.headers(1, block[:16000], END_STREAM)
    c.send(frames.continuation(1, block[16000:]))
    await c.good(1)
    arrived = dict(c.test.requests[0].fields)
    expect(all(arrived.get(name) == value for name, value in more), "fields are missing")


@case("9110 §15.5", "More fields than are allowed are refused with 431, and the connection goes on.")
async def head_too_many(c):
    c.headers(1, c.block(path=c.test.path(), more=[(f"x-{number}", "v") for number in range(200)]), WHOLE)
    await c.over_limit(1)
    expect(not c.test.requests, "the request has reached the upstream")


@case("9113 §6.5.2", "The limit of a header list is advertised, and holds.")
async def head_too_large(c):
    limit = c.settings.get(frames.MAX_HEADER_LIST_SIZE)
    block = c.block(path=c.test.path(), more=[(f"x-{number}", "v" * 8000) for number in range(10)])
    c.headers(1, block[:16000], END_STREAM)
    for at in range(16000, len(block), 16000):
        c.send(frames.continuation(1, block[at:at + 16000], END_HEADERS if at + 16000 >= len(block) else 0))
    await c.over_limit(1)
    expect(not c.test.requests, "the request has reached the upstream")
    expect(limit is None or limit <= 1 << 20, f"{limit} bytes are advertised")
