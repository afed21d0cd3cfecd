"""Each frame type: where it may be, how long it is, what it may say (RFC 9113 §6, §7)."""

from functools import partial

from .. import frames
from ..case import add, case
from ..frames import ACK, END_HEADERS, END_STREAM, FRAME_SIZE_ERROR, PADDED, PROTOCOL_ERROR, STREAM_CLOSED

portable = partial(case, portable=True)


def connection_error(name, rfc, says, *pieces, codes=(PROTOCOL_ERROR,), portable=True):
    """A case in which some frames are an error of the connection."""
    async def play(c):
        c.send(*pieces)
        await c.connection_error(*codes)

    add(name, __name__, rfc, says, play, portable=portable)


# DATA

connection_error("data-without-stream", "9113 §6.1", "DATA on stream 0 is a connection error.",
                 frames.data(0, b"test", END_STREAM))


@portable("9113 §6.1", "DATA on a stream that is not open is an error.")
async def data_not_open(c):
    c.get(1)
    await c.good(1)
    c.data(1, b"test", end=True)
    await c.stream_error(1, STREAM_CLOSED)


@portable("9113 §6.1", "Padding of DATA that is as long as the payload is a connection error.")
async def data_padding(c):
    c.post(1)
    c.send(frames.frame(frames.DATA, END_STREAM | PADDED, 1, frames.padded(b"test", 0, announced=5)))
    await c.connection_error(PROTOCOL_ERROR)


@case("9113 §6.1", "A PADDED DATA frame without its length of padding is a frame size error.")
async def data_padding_missing(c):
    c.post(1)
    c.send(frames.frame(frames.DATA, END_STREAM | PADDED, 1))
    await c.connection_error(PROTOCOL_ERROR, FRAME_SIZE_ERROR)


@case("9113 §6.1", "Padding may be longer than what it pads.")
async def data_padding_long(c):
    c.post(1, c.test.path("echo"))
    c.send(frames.frame(frames.DATA, END_STREAM | PADDED, 1, frames.padded(b"test", 255)))
    await c.good(1, b"test")


@case("9113 §6.1", "DATA may consist of padding only.")
async def data_only_padding(c):
    c.post(1, c.test.path("echo"))
    c.send(frames.frame(frames.DATA, PADDED, 1, frames.padded(b"", 255)))
    c.data(1, b"body", end=True)
    await c.good(1, b"body")


# HEADERS

@portable("9113 §6.2", "HEADERS without END_HEADERS that is followed by PRIORITY is a connection error.")
async def headers_then_priority(c):
    c.headers(1, c.block(), END_STREAM)
    c.send(frames.priority(1))
    await c.connection_error(PROTOCOL_ERROR)


@portable("9113 §6.2", "HEADERS without END_HEADERS that is followed by another stream's is a connection error.")
async def headers_then_headers(c):
    c.headers(1, c.block(), END_STREAM)
    c.get(3)
    await c.connection_error(PROTOCOL_ERROR)


@portable("9113 §6.2", "HEADERS on stream 0 is a connection error.")
async def headers_without_stream(c):
    c.send(frames.headers(0, c.block(), END_STREAM | END_HEADERS))
    await c.connection_error(PROTOCOL_ERROR)


@portable("9113 §6.2", "Padding of HEADERS that is longer than the payload is a connection error.")
async def headers_padding(c):
    block = c.block()
    c.headers(1, frames.padded(block, 0, announced=min(255, len(block) + 1)), END_STREAM | END_HEADERS | PADDED)
    await c.connection_error(PROTOCOL_ERROR)


@case("9113 §6.2", "HEADERS that is too short for its priority is a connection error.")
async def headers_priority_cut(c):
    c.headers(1, bytes(4), END_STREAM | END_HEADERS | frames.PRIORITISED)
    await c.connection_error(PROTOCOL_ERROR, FRAME_SIZE_ERROR)


# PRIORITY

connection_error("priority-without-stream", "9113 §6.3", "PRIORITY on stream 0 is a connection error.",
                 frames.priority(0))


@portable("9113 §6.3", "PRIORITY of another length than 5 is an error of its stream.")
async def priority_length(c):
    c.opened(1)
    c.send(frames.frame(frames.PRIORITY, 0, 1, bytes(4)))
    await c.stream_error(1, FRAME_SIZE_ERROR)


# RST_STREAM

connection_error("rst-stream-without-stream", "9113 §6.4", "RST_STREAM on stream 0 is a connection error.",
                 frames.rst_stream(0))
connection_error("rst-stream-idle", "9113 §6.4", "RST_STREAM on an idle stream is a connection error.",
                 frames.rst_stream(1))


@portable("9113 §6.4", "RST_STREAM of another length than 4 is a connection error.")
async def rst_stream_length(c):
    c.post(1)
    c.send(frames.frame(frames.RST_STREAM, 0, 1, bytes(3)))
    await c.connection_error(FRAME_SIZE_ERROR)


# SETTINGS

connection_error("settings-ack-with-content", "9113 §6.5", "An ACK of SETTINGS with content is a connection error.",
                 frames.frame(frames.SETTINGS, ACK, 0, bytes(6)), codes=(FRAME_SIZE_ERROR,))
connection_error("settings-on-stream", "9113 §6.5", "SETTINGS on a stream is a connection error.",
                 frames.frame(frames.SETTINGS, 0, 1, bytes([0, 3, 0, 0, 0, 100])))
connection_error("settings-length", "9113 §6.5", "SETTINGS of a length that 6 does not divide is a connection error.",
                 frames.frame(frames.SETTINGS, 0, 0, bytes([0, 3, 0])), codes=(FRAME_SIZE_ERROR,))
connection_error("settings-enable-push", "9113 §6.5.2", "SETTINGS_ENABLE_PUSH is 0 or 1.",
                 frames.settings((frames.ENABLE_PUSH, 2)))
connection_error("settings-window-too-large", "9113 §6.5.2", "SETTINGS_INITIAL_WINDOW_SIZE is below 2^31.",
                 frames.settings((frames.INITIAL_WINDOW_SIZE, 1 << 31)), codes=(frames.FLOW_CONTROL_ERROR,))
connection_error("settings-frame-size-small", "9113 §6.5.2", "SETTINGS_MAX_FRAME_SIZE is at least 2^14.",
                 frames.settings((frames.SETTING_MAX_FRAME_SIZE, (1 << 14) - 1)))
connection_error("settings-frame-size-large", "9113 §6.5.2", "SETTINGS_MAX_FRAME_SIZE is below 2^24.",
                 frames.settings((frames.SETTING_MAX_FRAME_SIZE, 1 << 24)))


@portable("9113 §6.5.2", "A parameter that is not known is ignored.")
async def settings_unknown(c):
    c.send_settings((0xFF, 1))
    await c.alive()


@case("9113 §6.5", "A SETTINGS ACK that nobody waits for is ignored, or a connection error.")
async def settings_ack_unexpected(c):
    c.send(frames.settings_ack(), frames.ping(b"settings"))
    await c.until(lambda: c.ended or c.goaway or b"settings" in c.pongs, "ACK of a PING, or the end")


@portable("9113 §6.5.3", "Of several values of one parameter the last holds.")
async def settings_several_values(c):
    c.automatic = False
    c.send_settings((frames.INITIAL_WINDOW_SIZE, 100), (frames.INITIAL_WINDOW_SIZE, 1))
    await c.until(lambda: c.acknowledged == 2, "ACK of SETTINGS")
    c.get(1)
    await c.until(lambda: c.streams[1].body, "DATA")
    await c.alive()
    assert len(c.streams[1].body) == 1, c.streams[1]


@portable("9113 §6.5.3", "SETTINGS is acknowledged.")
async def settings_acknowledged(c):
    c.send_settings((frames.ENABLE_PUSH, 0))
    await c.until(lambda: c.acknowledged == 2, "ACK of SETTINGS")


@case("9113 §6.5.3", "Every SETTINGS is acknowledged.")
async def settings_each_acknowledged(c):
    for size in range(10):
        c.send_settings((frames.INITIAL_WINDOW_SIZE, 65535 + size))
    await c.until(lambda: c.acknowledged == 11, "ACK of all SETTINGS")


# PUSH_PROMISE

@portable("9113 §8.4", "PUSH_PROMISE of a client is a connection error.")
async def push_promise(c):
    c.get(1)
    c.send(frames.frame(frames.PUSH_PROMISE, END_HEADERS, 1, bytes([0, 0, 0, 2]) + c.block()))
    await c.connection_error(PROTOCOL_ERROR)


# PING

@portable("9113 §6.7", "The answer to a PING has its content.")
async def ping_content(c):
    c.send(frames.ping(b"\x00\xff\x01\xfe\x02\xfd\x03\xfc"))
    await c.until(lambda: b"\x00\xff\x01\xfe\x02\xfd\x03\xfc" in c.pongs, "ACK of the PING")


@portable("9113 §6.7", "A PING with ACK is not answered.")
async def ping_ack(c):
    c.send(frames.ping(b"answered", ACK))
    await c.alive()
    assert b"answered" not in c.pongs, "an ACK was answered"


connection_error("ping-on-stream", "9113 §6.7", "PING on a stream is a connection error.",
                 frames.frame(frames.PING, 0, 1, bytes(8)))
connection_error("ping-length", "9113 §6.7", "PING of another length than 8 is a connection error.",
                 frames.frame(frames.PING, 0, 0, bytes(6)), codes=(FRAME_SIZE_ERROR,))

# GOAWAY

connection_error("goaway-on-stream", "9113 §6.8", "GOAWAY on a stream is a connection error.",
                 frames.frame(frames.GOAWAY, 0, 1, bytes(8)))
connection_error("goaway-length", "9113 §6.8", "GOAWAY that is too short is a connection error.",
                 frames.frame(frames.GOAWAY, 0, 0, bytes(7)), codes=(FRAME_SIZE_ERROR, PROTOCOL_ERROR), portable=False)


@case("9113 §6.8", "After the client's GOAWAY its streams come to their end.")
async def goaway_open_streams(c):
    c.post(1)
    c.send(frames.goaway())
    c.data(1, b"test", end=True)
    await c.good(1)


# CONTINUATION

@portable("9113 §6.10", "Several CONTINUATION frames are taken.")
async def continuation_several(c):
    block = c.block(more=[("x-test", "1")])
    c.headers(1, block[:-8], END_STREAM)
    c.send(frames.continuation(1, block[-8:-4], 0), frames.continuation(1, block[-4:]))
    await c.good(1)


@portable("9113 §6.10", "CONTINUATION without END_HEADERS that is followed by another frame is a connection error.")
async def continuation_then_data(c):
    block = c.block(more=[("x-test", "1")])
    c.headers(1, block[:-8], 0)
    c.send(frames.continuation(1, block[-8:], 0), frames.data(1, b"test", END_STREAM))
    await c.connection_error(PROTOCOL_ERROR)


@portable("9113 §6.10", "CONTINUATION on stream 0 is a connection error.")
async def continuation_without_stream(c):
    block = c.block()
    c.headers(1, block[:5], END_STREAM)
    c.send(frames.continuation(0, block[5:]))
    await c.connection_error(PROTOCOL_ERROR)


@portable("9113 §6.10", "CONTINUATION after a HEADERS with END_HEADERS is a connection error.")
async def continuation_after_headers(c):
    c.post(1)
    c.send(frames.continuation(1, c.block()))
    await c.connection_error(PROTOCOL_ERROR)


@portable("9113 §6.10", "CONTINUATION after one with END_HEADERS is a connection error.")
async def continuation_after_continuation(c):
    block = c.block()
    c.headers(1, block[:5], 0)
    c.send(frames.continuation(1, block[5:]), frames.continuation(1, block))
    await c.connection_error(PROTOCOL_ERROR)


@portable("9113 §6.10", "CONTINUATION after DATA is a connection error.")
async def continuation_after_data(c):
    c.post(1)
    c.data(1, b"test")
    c.send(frames.continuation(1, c.block()))
    await c.connection_error(PROTOCOL_ERROR)


# Codes

@portable("9113 §7", "A GOAWAY with a code that is not known is nothing special.")
async def code_unknown_goaway(c):
    c.send(frames.goaway(0, 0xFF), frames.ping(b"unknown?"))
    await c.until(lambda: c.ended or c.goaway or b"unknown?" in c.pongs, "ACK of a PING, GOAWAY, or the end")


@portable("9113 §7", "A RST_STREAM with a code that is not known is nothing special.")
async def code_unknown_rst_stream(c):
    c.post(1)
    c.send(frames.rst_stream(1, 0xFF))
    await c.alive()
