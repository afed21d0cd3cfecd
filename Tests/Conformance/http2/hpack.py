"""HPACK (RFC 7541): pieces of header blocks, also wrong ones, and a strict decoder."""

import struct

# The Huffman code of appendix B is canonical, so that the lengths say it all: symbols by length, in order.
_SYMBOLS = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: b"\\\xc3\xd0",
    20: b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2",
    21: b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6",
    22: b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9",
    23: b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5"
        b"\xe7\xef",
    24: b"\t\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed",
    25: b"\xc7\xcf\xea\xeb",
    26: b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff",
    27: b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe",
    28: b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f"
        b"\xdc\xf9",
    30: b"\n\r\x16",
}
EOS = (0x3FFFFFFF, 30)

STATIC = [(name.encode(), value.encode()) for name, value in [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", "")]]


def _codes():
    code, length, codes = 0, 0, {}
    for bits, symbols in _SYMBOLS.items():
        code <<= bits - length
        length = bits
        for symbol in symbols:
            codes[symbol] = (code, bits)
            code += 1
    return codes


CODES = _codes()
_BY_CODE = {(bits, code): symbol for symbol, (code, bits) in CODES.items()}


class Malformed(Exception):
    """What arrived is not HPACK."""


# Pieces of header blocks

def integer(value, prefix, pattern=0):
    """An integer with a prefix of so many bits (§5.1); `pattern` has the bits before them."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes([pattern | value])
    out, value = [pattern | most], value - most
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes([*out, value])


def bits(pairs, fill=1):
    """Codes of (value, length) as bytes, filled up with ones or zeros; more padding if `fill` is a text of bits."""
    text = "".join(format(value, f"0{length}b") for value, length in pairs)
    text += fill if isinstance(fill, str) else str(fill) * (-len(text) % 8)
    return bytes(int(text[at:at + 8], 2) for at in range(0, len(text), 8))


def huffman(text, fill=1):
    return bits([CODES[byte] for byte in text], fill)


def string(text, coded=False):
    text = text.encode("latin-1") if isinstance(text, str) else text
    return integer(len(coded_text := huffman(text)), 7, 128) + coded_text if coded else integer(len(text), 7) + text


def indexed(index):
    return integer(index, 7, 128)


WITH_INDEXING, WITHOUT_INDEXING, NEVER_INDEXED = (6, 0x40), (4, 0x00), (4, 0x10)


def literal(name, value, kind=WITHOUT_INDEXING, coded=False):
    """A literal field (§6.2); `name` is a text or an index."""
    prefix, pattern = kind
    if isinstance(name, int):
        return integer(name, prefix, pattern) + string(value, coded)
    return bytes([pattern]) + string(name, coded) + string(value, coded)


def table_size(size):
    return integer(size, 5, 0x20)


def block(fields):
    """Fields as literals that leave no trace in the table, so that each block means the same at any time."""
    return b"".join(literal(name, value) for name, value in fields)


# Decoding

class Decoder:
    """The table is bounded by `limit`, as our SETTINGS say."""

    def __init__(self, limit=4096):
        self.limit = limit
        self.size_limit = limit
        self.table = []
        self.size = 0

    def decode(self, data):
        fields, at, begun = [], 0, False
        while at < len(data):
            first = data[at]
            if first & 0x80:
                index, at = self.integer(data, at, 7)
                fields.append(self.entry(index))
            elif first & 0xE0 == 0x20:
                size, at = self.integer(data, at, 5)
                if begun or size > self.limit:
                    raise Malformed(f"table size update to {size}")
                self.size_limit = size
                self.evict()
                continue
            else:
                indexing = first & 0x40
                index, at = self.integer(data, at, 6 if indexing else 4)
                if index:
                    name = self.entry(index)[0]
                else:
                    name, at = self.string(data, at)
                value, at = self.string(data, at)
                fields.append((name, value))
                if indexing:
                    self.table.insert(0, (name, value))
                    self.size += len(name) + len(value) + 32
                    self.evict()
            begun = True
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]

    def evict(self):
        while self.size > self.size_limit:
            name, value = self.table.pop()
            self.size -= len(name) + len(value) + 32

    def entry(self, index):
        if 0 < index <= len(STATIC):
            return STATIC[index - 1]
        if index <= len(STATIC) + len(self.table) and index:
            return self.table[index - len(STATIC) - 1]
        raise Malformed(f"index {index}")

    @staticmethod
    def integer(data, at, prefix):
        try:
            most = (1 << prefix) - 1
            value = data[at] & most
            at += 1
            if value == most:
                shift = 0
                while True:
                    byte = data[at]
                    at += 1
                    value += (byte & 127) << shift
                    shift += 7
                    if not byte & 128:
                        break
            return value, at
        except IndexError as error:
            raise Malformed("an integer that does not end") from error

    def string(self, data, at):
        if at >= len(data):
            raise Malformed("a string is missing")
        coded = data[at] & 128
        length, at = self.integer(data, at, 7)
        text = data[at:at + length]
        if len(text) < length:
            raise Malformed("a string that does not end")
        return (unhuffman(text) if coded else text), at + length


def unhuffman(data):
    out, code, length = bytearray(), 0, 0
    for byte in data:
        for shift in range(7, -1, -1):
            code, length = code << 1 | byte >> shift & 1, length + 1
            symbol = _BY_CODE.get((length, code))
            if symbol is not None:
                out.append(symbol)
                code = length = 0
            elif length >= 30:
                raise Malformed("EOS or no code")
    if length > 7 or code != (1 << length) - 1:
        raise Malformed("padding")
    return bytes(out)


def _check():
    assert huffman(b"www.example.com").hex() == "f1e3c2e5f23a6ba0ab90f4ff"  # RFC 7541 C.4.1
    assert unhuffman(huffman(bytes(range(256)))) == bytes(range(256))
    assert integer(1337, 5) == b"\x1f\x9a\x0a" and struct.calcsize(">I") == 4


_check()
