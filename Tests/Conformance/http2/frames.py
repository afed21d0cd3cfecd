"""HTTP/2 frames (RFC 9113 §4, §6) as bytes. Nothing is checked: broken ones must be possible."""

import struct
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_FRAME_SIZE = 1 << 14
DEFAULT_WINDOW = 65535
MAX_WINDOW = (1 << 31) - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
TYPES = ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
         "CONTINUATION"]

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITISED = 0x20

(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
 REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY,
 HTTP_1_1_REQUIRED) = range(14)
ERRORS = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
          "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
          "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"]

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, SETTING_MAX_FRAME_SIZE, \
    MAX_HEADER_LIST_SIZE = range(1, 7)
ENABLE_CONNECT_PROTOCOL = 8


def error_name(code):
    return ERRORS[code] if code < len(ERRORS) else f"error {code:#x}"


@dataclass
class Frame:
    type: int
    flags: int
    stream: int
    payload: bytes

    def __str__(self):
        name = TYPES[self.type] if self.type < len(TYPES) else f"type {self.type:#x}"
        text = f"{name} stream {self.stream} flags {self.flags:#x} length {len(self.payload)}"
        if self.type == RST_STREAM and len(self.payload) == 4:
            return f"{name}({error_name(self.code)}) stream {self.stream}"
        if self.type == GOAWAY and len(self.payload) >= 8:
            return f"{name}({error_name(self.code)}) last stream {self.last_stream} {self.payload[8:]!r}"
        return text

    @property
    def code(self):
        """The error code of RST_STREAM and GOAWAY."""
        return struct.unpack(">I", self.payload[:4] if self.type == RST_STREAM else self.payload[4:8])[0]

    @property
    def last_stream(self):
        return struct.unpack(">I", self.payload[:4])[0] & MAX_WINDOW

    @property
    def content(self):
        """The payload without padding and priority."""
        payload = self.payload
        if self.type in (DATA, HEADERS) and self.flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        if self.type == HEADERS and self.flags & PRIORITISED:
            payload = payload[5:]
        return payload


def frame(type, flags, stream, payload=b"", length=None):
    """A frame; `length` is what its header says, if that is not the truth. Bit 31 of the stream is the reserved one."""
    length = len(payload) if length is None else length
    return struct.pack(">BHBBI", length >> 16, length & 0xFFFF, type, flags, stream) + payload


def padded(content, padding, announced=None):
    """The payload of a PADDED frame; `announced` is the length of the padding that it claims to have."""
    return bytes([padding if announced is None else announced]) + content + bytes(padding)


def data(stream, content=b"", flags=0):
    return frame(DATA, flags, stream, content)


def headers(stream, block, flags=END_HEADERS):
    return frame(HEADERS, flags, stream, block)


def continuation(stream, block, flags=END_HEADERS):
    return frame(CONTINUATION, flags, stream, block)


def dependency(on, weight=16, exclusive=False):
    """The five bytes about priority in PRIORITY and HEADERS."""
    return struct.pack(">IB", on | (exclusive << 31), weight - 1)


def priority(stream, on=0, weight=16, exclusive=False):
    return frame(PRIORITY, 0, stream, dependency(on, weight, exclusive))


def rst_stream(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def settings_ack():
    return frame(SETTINGS, ACK, 0)


def ping(content=bytes(8), flags=0):
    return frame(PING, flags, 0, content)


def goaway(last=0, code=NO_ERROR, text=b""):
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code) + text)


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))
