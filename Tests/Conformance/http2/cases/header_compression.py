"""HPACK that is wrong, or rarely seen (RFC 7541)."""

from functools import partial

from .. import frames, hpack
from ..case import add, case, expect
from ..frames import COMPRESSION_ERROR, END_HEADERS, END_STREAM

WHOLE = END_STREAM | END_HEADERS


def compression_error(name, rfc, says, extra, portable=True):
    """A case in which something after a request's fields is a compression error."""
    async def play(c):
        c.headers(1, c.block() + extra, WHOLE)
        await c.connection_error(COMPRESSION_ERROR)

    add(name, __name__, rfc, says, play, portable=portable)


ours = partial(compression_error, portable=False)

compression_error("index-unknown", "7541 §2.3.3", "An indexed field whose index does not exist is an error.",
                  hpack.indexed(70))
compression_error("index-unknown-name", "7541 §2.3.3", "A literal whose name's index does not exist is an error.",
                  hpack.literal(70, "value", hpack.WITH_INDEXING))
compression_error("table-size-late", "7541 §4.2", "A table size update after a field is an error.", hpack.table_size(1))
compression_error("padding-long", "7541 §5.2", "More than 7 bits of padding are an error.",
                  b"\x00" + hpack.string("x-test") + b"\x82" + hpack.bits([hpack.CODES[ord("a")]], "1" * 11))
compression_error("padding-zeros", "7541 §5.2", "Padding that is not the beginning of EOS is an error.",
                  b"\x00" + hpack.string("x-test") + b"\x81" + hpack.bits([hpack.CODES[ord("a")]], 0))
compression_error("huffman-eos", "7541 §5.2", "EOS within a string is an error.",
                  b"\x00" + hpack.string("x-test") + b"\x84" + hpack.bits([hpack.EOS], 1))
compression_error("index-zero", "7541 §6.1", "Index 0 is an error.", hpack.indexed(0))


@case("7541 §6.3", "A table size update above SETTINGS_HEADER_TABLE_SIZE is an error.", portable=True)
async def table_size_too_large(c):
    most = c.settings.get(frames.HEADER_TABLE_SIZE, 4096)
    c.headers(1, hpack.table_size(most + 1) + c.block(), WHOLE)
    await c.connection_error(COMPRESSION_ERROR)


ours("integer-endless", "7541 §5.1", "An integer that does not end is an error.", b"\xff" + b"\x80" * 40)
ours("integer-too-large", "7541 §5.1", "An integer over 2^32 is an error.", b"\xff" + b"\xff" * 9 + b"\x01")
ours("integer-overflow", "7541 §5.1", "So is one over 2^64.", b"\xff" + b"\xff" * 18 + b"\x7f")
ours("string-too-long", "7541 §5.2", "A string that is longer than its block is an error.",
     b"\x00" + hpack.string("x-test") + hpack.integer(1 << 20, 7) + b"value")
ours("string-missing", "7541 §6.2", "A field without a value is an error.", b"\x00" + hpack.string("x-test"))
ours("index-static-end", "7541 §2.3.3", "The first index behind the static table does not exist in an empty table.",
     hpack.indexed(62))


@case("7541 §2.3.2", "What was put into the table can be referred to, also in later requests.")
async def table_used(c):
    c.headers(1, c.block(path=c.test.path()) + hpack.literal("x-first", "one", hpack.WITH_INDEXING), WHOLE)
    c.headers(3, c.block(path=c.test.path()) + hpack.indexed(62) + hpack.literal(62, "two", hpack.WITH_INDEXING), WHOLE)
    c.headers(5, c.block(path=c.test.path()) + hpack.indexed(62) + hpack.indexed(63), WHOLE)
    for stream in (1, 3, 5):
        await c.good(stream)
    seen = sorted(request.values("x-first") for request in c.test.requests)
    # Several lines of one name may have been joined.
    seen = sorted(",".join(values).replace(" ", "") for values in seen)
    expect(sorted("".join(sorted(values.split(","))) for values in seen) == ["one", "onetwo", "onetwo"], f"{seen}")


@case("7541 §4.4", "An entry that is larger than the table empties it, and is no error.")
async def table_entry_too_large(c):
    c.headers(1, c.block() + hpack.literal("x-first", "one", hpack.WITH_INDEXING)
              + hpack.literal("x-large", "a" * 5000, hpack.WITH_INDEXING), WHOLE)
    await c.good(1)
    c.headers(3, c.block() + hpack.indexed(62), WHOLE)
    await c.connection_error(COMPRESSION_ERROR)


@case("7541 §4.3", "Entries leave the table, the oldest first.")
async def table_eviction(c):
    block = c.block(path=c.test.path())
    many = b"".join(hpack.literal("x-entry", f"{number:0>61}", hpack.WITH_INDEXING) for number in range(80))
    c.headers(1, block + many, WHOLE)  # 100 bytes each
    await c.good(1)
    c.headers(3, block + hpack.indexed(62 + 39), WHOLE)  # of which 40 remain
    await c.good(3)
    expect(dict(c.test.requests[-1].fields).get("x-entry") == f"{40:0>61}", f"{c.test.requests[-1].fields}")
    c.headers(5, block + hpack.indexed(62 + 40), WHOLE)
    await c.connection_error(COMPRESSION_ERROR)


@case("7541 §4.2", "A table that is made smaller loses what does not fit.")
async def table_made_smaller(c):
    c.headers(1, c.block() + hpack.literal("x-first", "one", hpack.WITH_INDEXING), WHOLE)
    await c.good(1)
    c.headers(3, hpack.table_size(0) + hpack.table_size(4096) + c.block() + hpack.indexed(62), WHOLE)
    await c.connection_error(COMPRESSION_ERROR)


@case("7541 §4.2", "The server keeps to the table size that the client allows.")
async def table_of_server(c):
    c.send_settings((frames.HEADER_TABLE_SIZE, 0))
    await c.until(lambda: c.acknowledged == 2, "ACK of SETTINGS")
    c.decoder.limit = 0
    for stream in (1, 3, 5):
        c.get(stream)
        await c.good(stream)
    expect(not c.decoder.table, "the server has put something into a table of size 0")


@case("7541 §5.2", "Every byte can be in a string with Huffman coding.")
async def huffman_every_byte(c):
    value = bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100))
    c.headers(1, c.block(path=c.test.path()) + hpack.literal("x-bytes", value, coded=True), WHOLE)
    await c.good(1)
    seen = c.test.requests[0].values("x-bytes")
    expect(seen == [value.decode("latin-1")], f"{seen}")
