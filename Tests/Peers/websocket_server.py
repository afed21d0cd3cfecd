#!/usr/bin/env python3
"""A WebSocket server (RFC 6455): sends every message back; `bye` ends the connection.

`websocket_server.py [PORT]` prints `PORT n` when it serves.
"""

import asyncio
import sys

import websockets.asyncio.server


async def echo(connection):
    async for message in connection:
        if message == "bye":
            return await connection.close(4000, "as you wish")
        await connection.send(message)


def choose(_, subprotocols):
    return "chat" if "chat" in subprotocols else None


async def main():
    async with websockets.asyncio.server.serve(
            echo, "127.0.0.1", int((sys.argv + ["0"])[1]), max_size=None, subprotocols=["chat"], select_subprotocol=choose) as server:
        print("PORT", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
