#!/usr/bin/env python3
"""Speaks WebSocket with websocket_server.py through a proxy: `websocket_client.py PORT CASE…`; 0 if all is as it should be."""

import asyncio
import sys

import websockets.asyncio.client
import websockets.exceptions


def expect(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"{what}: {found!r}, not {wanted!r}")


async def messages(uri):
    """Text and bytes of all sizes, ping, and the end from either side."""
    async with websockets.asyncio.client.connect(uri, max_size=None, subprotocols=["chat"]) as connection:
        expect("subprotocol", connection.subprotocol, "chat")
        for message in ["hello", "", b"\x00" * 70000, "é" * 100, b"x" * (4 * 1024 * 1024)]:
            await connection.send(message)
            expect("echo", await connection.recv(), message)
        await (await connection.ping())
        await asyncio.gather(*(connection.send(f"{n}") for n in range(100)))
        expect("in order", sorted([await connection.recv() for _ in range(100)], key=int), [f"{n}" for n in range(100)])
        await connection.send("bye")
        try:
            await connection.recv()
            raise SystemExit("no end")
        except websockets.exceptions.ConnectionClosedError as end:
            expect("end", (end.rcvd.code, end.rcvd.reason), (4000, "as you wish"))


async def many(uri):
    """Many at once."""
    async def one(number):
        async with websockets.asyncio.client.connect(uri) as connection:
            for round in range(20):
                await connection.send(f"{number} {round}")
                expect("echo", await connection.recv(), f"{number} {round}")
    await asyncio.gather(*(one(number) for number in range(50)))


async def refused(uri):
    """Where no upgrade is allowed."""
    try:
        async with websockets.asyncio.client.connect(uri):
            raise SystemExit("not refused")
    except websockets.exceptions.InvalidStatus as error:
        expect("status", error.response.status_code, 403)


async def main():
    port, names = sys.argv[1], sys.argv[2:]
    for name in names:
        path = "/no" if name == "refused" else "/chat"
        await asyncio.wait_for(globals()[name](f"ws://127.0.0.1:{port}{path}"), 60)
        print("OK", name, flush=True)


asyncio.run(main())
