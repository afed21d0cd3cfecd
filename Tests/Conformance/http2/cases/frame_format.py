"""The format of frames and of header blocks (RFC 9113 §4, §5.5)."""

from functools import partial

from .. import frames, hpack
from ..case import case
from ..frames import END_HEADERS, END_STREAM, MAX_FRAME_SIZE

portable = partial(case, portable=True)


@portable("9113 §4.1", "A frame of a type that is not known is ignored.")
async def type_unknown(c):
    c.send(frames.frame(0x16, 0, 0, bytes(8)))
    await c.alive()


@portable("9113 §4.1", "Flags that have no meaning are ignored.")
async def flags_undefined(c):
    c.send(frames.frame(frames.PING, 0x16, 0, b"flagged!"))
    await c.until(lambda: b"flagged!" in c.pongs, "ACK of the PING")


@portable("9113 §4.1", "The reserved bit before the stream is ignored.")
async def reserved_bit(c):
    c.send(frames.frame(frames.PING, 0, 1 << 31, b"reserved"))
    await c.until(lambda: b"reserved" in c.pongs, "ACK of the PING")


@portable("9113 §4.2", "DATA of 16,384 bytes is taken.")
async def size_data_largest(c):
    c.post(1)
    c.data(1, bytes(MAX_FRAME_SIZE), end=True)
    await c.good(1)


@portable("9113 §4.2", "DATA over SETTINGS_MAX_FRAME_SIZE is a frame size error.")
async def size_data_too_large(c):
    size = c.settings.get(frames.SETTING_MAX_FRAME_SIZE, MAX_FRAME_SIZE) + 1
    if size == 1 << 24:
        return  # no frame can be larger
    c.post(1)
    c.data(1, bytes(size), end=True)
    await c.stream_error(1, frames.FRAME_SIZE_ERROR)


@portable("9113 §4.2", "HEADERS over SETTINGS_MAX_FRAME_SIZE is a frame size error of the connection.")
async def size_headers_too_large(c):
    size = c.settings.get(frames.SETTING_MAX_FRAME_SIZE, MAX_FRAME_SIZE)
    if size == (1 << 24) - 1:
        return
    c.headers(1, c.block(more=[("x-large", "a" * size)]), END_STREAM | END_HEADERS)
    await c.connection_error(frames.FRAME_SIZE_ERROR)


@case("9113 §4.2", "So is one that only announces it: nobody waits for the rest.")
async def size_announced(c):
    c.opened(1)
    c.send(frames.frame(frames.HEADERS, END_HEADERS, 1, b"", length=(1 << 24) - 1))
    await c.connection_error(frames.FRAME_SIZE_ERROR)


@portable("9113 §4.3", "A header block that is no HPACK is a compression error.")
async def block_invalid(c):
    # A literal with incremental indexing whose name is at an index that does not exist.
    c.headers(1, b"\xff\x80\x80\x80\x01", END_STREAM | END_HEADERS)
    await c.connection_error(frames.COMPRESSION_ERROR)


@portable("9113 §4.3", "PRIORITY within a header block is a connection error.")
async def block_with_priority(c):
    block = c.block()
    c.headers(1, block[:5], END_STREAM)
    c.send(frames.priority(1), frames.continuation(1, block[5:]))
    await c.connection_error(frames.PROTOCOL_ERROR)


@portable("9113 §4.3", "HEADERS of another stream within a header block is a connection error.")
async def block_with_headers(c):
    block = c.block()
    c.headers(1, block[:5], END_STREAM)
    c.headers(3, block, END_STREAM | END_HEADERS)
    await c.connection_error(frames.PROTOCOL_ERROR)


@case("9113 §4.3", "A header block that breaks off within a field is a compression error.")
async def block_cut(c):
    c.headers(1, c.block() + hpack.literal("x-cut", "value")[:-2], END_STREAM | END_HEADERS)
    await c.connection_error(frames.COMPRESSION_ERROR)


@case("9113 §4.3", "The table goes on after a request that is refused: the next block may refer to it.")
async def block_of_refused_request(c):
    refused = c.block(without=(":path",)) + hpack.literal("x-remembered", "value", hpack.WITH_INDEXING)
    c.headers(1, refused, END_STREAM | END_HEADERS)
    await c.refused(1)
    if not c.ended and not c.goaway:
        c.headers(3, c.block(path=c.test.path()) + hpack.indexed(62), END_STREAM | END_HEADERS)
        await c.good(3)
        fields = dict(c.test.requests[0].fields)
        assert fields.get("x-remembered") == "value", fields


@portable("9113 §5.5", "An extension's frame is ignored.")
async def extension(c):
    c.send(frames.frame(0xFF, 0, 0, bytes(64)))
    await c.serves(1)


@case("9113 §5.5", "Also on a stream, whatever its state.")
async def extension_on_stream(c):
    c.send(frames.frame(0xFF, 0xFF, 1, bytes(64)))
    c.post(1)
    c.send(frames.frame(0xFF, 0xFF, 1, bytes(64)))
    c.data(1, end=True)
    c.send(frames.frame(0xFF, 0xFF, 1, bytes(64)))
    await c.good(1)
    c.send(frames.frame(0xFF, 0xFF, 1, bytes(64)))
    await c.serves(3)


@portable("9113 §5.5", "An extension's frame within a header block is a connection error.")
async def extension_in_block(c):
    block = c.block()
    c.headers(1, block[:5], END_STREAM)
    c.send(frames.frame(0xFF, 0, 0, bytes(8)), frames.continuation(1, block[5:]))
    await c.connection_error(frames.PROTOCOL_ERROR)
