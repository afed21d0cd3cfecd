"""The header of the PROXY protocol, as text: `v1 …` and `v2 …` with addresses, ports and further values."""

import asyncio
import socket
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def encode(text):
    """`v1 REST OF THE LINE`, `v2 SOURCE DESTINATION PORT PORT [TYPE=HEX …]`, `v2 local`, or `raw BYTES`."""
    version, _, rest = text.partition(" ")
    if version == "raw":
        return rest.encode("latin-1")
    if version == "v1":
        return f"PROXY {rest}\r\n".encode()
    if rest == "local":
        return SIGNATURE + b"\x20\0\0\0"
    source, destination, source_port, destination_port, *values = rest.split()
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    body = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    body += struct.pack(">HH", int(source_port), int(destination_port))
    for value in values:
        kind, _, content = value.partition("=")
        content = bytes.fromhex(content)
        body += struct.pack(">BH", int(kind, 0), len(content)) + content
    return SIGNATURE + bytes([0x21, 0x21 if family == socket.AF_INET6 else 0x11]) + struct.pack(">H", len(body)) + body


async def receive(sock):
    """Reads a header, and no byte more; as text."""
    loop = asyncio.get_running_loop()

    async def exactly(count):
        data = b""
        while len(data) < count:
            piece = await loop.sock_recv(sock, count - len(data))
            if not piece:
                raise OSError(f"the connection ended within the PROXY header: {data!r}")
            data += piece
        return data

    data = await exactly(6)
    if data == b"PROXY ":
        while not data.endswith(b"\n"):
            data += await exactly(1)
        return "v1 " + data[6:].decode("latin-1").strip()
    data += await exactly(10)
    if not data.startswith(SIGNATURE):
        return f"none: {data!r}"
    body = await exactly(struct.unpack(">H", data[14:16])[0])
    family = {1: socket.AF_INET, 2: socket.AF_INET6}.get(data[13] >> 4)
    text = "v2 " + ("local" if data[12] == 0x20 else f"{data[12]:#x} {data[13]:#x}")
    if family:
        size = 4 if family == socket.AF_INET else 16
        ports = struct.unpack(">HH", body[2 * size:2 * size + 4])
        text = (f"v2 {socket.inet_ntop(family, body[:size])} {socket.inet_ntop(family, body[size:2 * size])} "
                f"{ports[0]} {ports[1]}")
        body = body[2 * size + 4:]
    while len(body) >= 3:
        kind, length = struct.unpack(">BH", body[:3])
        text += f" {kind:#x}={body[3:3 + length].hex()}"
        body = body[3 + length:]
    return text
