"""The services: they do what they are asked for, and write it down."""

import asyncio
import contextlib
import os
import socket
import struct
import sys

import grpc

from .wishes import METHOD, TIMEOUT


class Service:
    """Does what the path says, and writes down the id, and the status with which it answered."""

    def __init__(self, name, port, outbound, log):
        self.name, self.port, self.outbound = name, port, outbound
        self.log = open(log, "w", buffering=1 << 16)
        self.tried = set()

    def note(self, identifier, status):
        self.log.write(f"{identifier} {status}\n")

    async def run(self):
        await asyncio.start_server(self.connected, "127.0.0.1", self.port, backlog=1024)
        await self.serve_grpc()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        self.log.close()
        os._exit(0)  # whoever still waits, waits in vain

    async def connected(self, reader, writer):
        try:
            while await self.request(reader, writer):
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def request(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path = head.split(" ", 2)[1]
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])}
        identifier = fields["x-request-id"]
        status, body = 200, b"hello"
        kind, _, argument = path[1:].partition("/")
        if kind in ("reset", "close", "cut"):
            self.note(identifier, kind)
            if kind == "cut":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
                await writer.drain()
            elif kind == "reset":
                linger_not(writer)
            return False
        if kind == "slow":
            await asyncio.sleep(TIMEOUT * 3)
        elif kind in ("late", "later"):
            await asyncio.sleep(0.03)
        elif kind in ("code", "tries"):
            status = int(argument)
        elif kind == "retry":
            status = int(argument) if identifier in self.tried else 503
            self.tried.add(identifier)
        elif kind == "big":
            body = bytes(200_000)
        elif kind == "chain":
            status = await self.call("/reset" if argument == "reset" else f"/code/{argument}", identifier)
        self.note(identifier, status)
        if status in (204, 304):
            body = b""
        writer.write(f"HTTP/1.1 {status} Status\r\n".encode() + (b"" if status == 204 else b"content-length: %d\r\n" % len(body))
                     + b"\r\n" + body)
        return True

    async def call(self, path, identifier):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.outbound)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nhost: service2\r\nx-request-id: {identifier}\r\n"
                         "connection: close\r\n\r\n".encode())
            return int((await reader.read()).split(b" ", 2)[1])
        finally:
            writer.close()

    async def serve_grpc(self):
        async def call(request, context):
            identifier = dict(context.invocation_metadata())["x-request-id"]
            wish = request.decode()
            if wish in ("cancel", "deadline"):
                self.note(identifier, "late")
                await asyncio.sleep(TIMEOUT)
                return b""
            self.note(identifier, f"grpc {wish}")
            if wish != "0":
                code = next(code for code in grpc.StatusCode if code.value[0] == int(wish))
                await context.abort(code, "as wished")
            return b"hello"

        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        service, method = METHOD[1:].split("/")
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            service, {method: grpc.unary_unary_rpc_method_handler(call)}),))
        self.server.add_insecure_port(f"127.0.0.1:{self.port + 1}")
        await self.server.start()


def linger_not(writer):
    """The end of the connection will be a reset."""
    # The other side may have closed it first.
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
