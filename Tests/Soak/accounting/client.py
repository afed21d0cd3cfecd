"""The clients: they ask, wait or leave, and remember what they saw."""

import asyncio
import random
import uuid

import grpc

from .wishes import METHOD, TIMEOUT, WISHES, key


class Client:
    """One after the other, each with an id of its own."""

    def __init__(self, port, seed, channel, accounts):
        self.port = port
        self.random = random.Random(seed)
        self.channel = channel
        self.accounts = accounts
        self.connection = None

    async def run(self, count):
        call = self.channel.unary_unary(METHOD)
        for _ in range(count):
            wish = self.random.choices(list(WISHES), list(WISHES.values()))[0]
            identifier = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
            self.accounts[key(identifier)] = wish, None
            if wish.startswith("grpc"):
                seen = await self.call(call, wish.split()[1], identifier)
            else:
                try:
                    seen = await self.exchange(wish, identifier)
                except (OSError, asyncio.IncompleteReadError):
                    seen = "cut"
                    self.leave()
            self.accounts[key(identifier)] = wish, seen
        self.leave()

    def leave(self):
        if self.connection:
            self.connection[1].close()
        self.connection = None

    async def exchange(self, wish, identifier):
        self.connection = self.connection or await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.connection
        path = self.random.choice(["/late", "/later"]) if wish.startswith("leave") else wish
        writer.write(f"GET {path} HTTP/1.1\r\nhost: front\r\nx-request-id: {identifier}\r\n\r\n".encode())
        if wish.startswith("leave"):
            if wish == "leave late":
                await asyncio.sleep(self.random.random() * 0.06)
            else:
                await writer.drain()
            self.leave()
            return "left"
        async with asyncio.timeout(20):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            status = int(head.split(" ", 2)[1])
            if "transfer-encoding: chunked" in head:
                while size := int(await reader.readline(), 16):
                    await reader.readexactly(size + 2)
                await reader.readline()
            elif "content-length:" in head:
                await reader.readexactly(int(head.partition("content-length:")[2].split("\r\n")[0]))
        if "connection: close" in head:
            self.leave()
        return str(status)

    async def call(self, call, wish, identifier):
        metadata = (("x-request-id", identifier),)
        try:
            running = call(wish.encode(), metadata=metadata, timeout=TIMEOUT / 4 if wish == "deadline" else 20)
            if wish == "cancel":
                await asyncio.sleep(0.05)
                running.cancel()
            await running
            return "grpc 0"
        except grpc.aio.AioRpcError as error:
            return "left" if wish == "deadline" else f"grpc {error.code().value[0]}"
        except asyncio.CancelledError:
            return "left"
