"""How a connection begins (RFC 9113 §3)."""

from functools import partial

from .. import frames
from ..case import case, expect

portable = partial(case, portable=True)


@portable("9113 §3.4", "The client's preface is followed by its SETTINGS, which may be empty.")
async def preface_and_settings(c):
    await c.serves(1)


@portable("9113 §3.4", "A connection that begins with something else ends.", started=False)
async def preface_wrong(c):
    c.send(b"INVALID CONNECTION PREFACE\r\n\r\n")
    await c.closed()


@case("9113 §3.4", "A preface that goes wrong in its middle ends the connection.", started=False)
async def preface_wrong_late(c):
    c.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r")
    await c.closed()


@case("9113 §3.4", "A preface that goes wrong in its first line ends the connection.", started=False)
async def preface_wrong_version(c):
    c.send(b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n", frames.settings())
    await c.closed()


@case("9113 §3.4", "A first frame that is no SETTINGS ends the connection.", started=False)
async def first_frame_ping(c):
    c.send(frames.PREFACE, frames.ping())
    await c.connection_error(frames.PROTOCOL_ERROR)


@case("9113 §3.4", "A first frame that is a request ends the connection, and the request goes nowhere.", started=False)
async def first_frame_headers(c):
    c.get(1, c.test.path())
    c.send(frames.PREFACE, frames.headers(1, c.block(path=c.test.path()), 5))
    await c.closed()
    expect(not c.test.requests, "the request has reached the upstream")


@case("9113 §3.4", "The preface may come byte by byte.", started=False)
async def preface_bytewise(c):
    c.sent_settings.append(())
    for byte in frames.PREFACE + frames.settings():
        c.send(bytes([byte]))
        await c.drain()
    await c.until(lambda: c.acknowledged, "ACK of SETTINGS")
    await c.serves(1)


@case("9113 §3.4", "Preface, SETTINGS and a request may come at once, before the server has said anything.",
      started=False)
async def request_at_once(c):
    c.send(frames.PREFACE)
    c.send_settings()
    c.get(1)
    await c.good(1)


@case("9113 §4.1", "Frames may come byte by byte.")
async def frames_bytewise(c):
    c.opened(1)
    for byte in frames.headers(1, c.block(more=[("x-test", "1")])) + frames.data(1, b"test", 1):
        c.send(bytes([byte]))
        await c.drain()
    await c.good(1)
