#!/usr/bin/env python3
"""Sends requests over many connections at once, each the next as soon as it has its answer.

    load.py URL [--connections N] [--body JSON] [--seconds S] [--requests N]

Ends after so many seconds or requests, or by SIGINT, and prints what came of it as JSON: how many answers with which status,
how long they took, and when the first request was sent and the last answer came.
"""

import argparse
import asyncio
import json
import signal
import time
from collections import Counter
from urllib.parse import urlsplit


class Load:
    def __init__(self, options):
        self.options = options
        url = urlsplit(options.url)
        self.address = (url.hostname, url.port)
        body = (options.body or "").encode()
        self.request = (f"{'POST' if body else 'GET'} {url.path or '/'} HTTP/1.1\r\nhost: {url.netloc}\r\n"
                        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n").encode() + body
        self.left = options.requests or 1 << 62
        self.statuses = Counter()
        self.times = []
        self.first_answer = None
        self.last_request = None

    async def run(self):
        loop = asyncio.get_running_loop()
        workers = asyncio.gather(*(self.work() for _ in range(self.options.connections)))
        loop.add_signal_handler(signal.SIGINT, self.end)
        if self.options.seconds:
            loop.call_later(self.options.seconds, self.end)
        started = time.monotonic()
        await workers
        return self.summary(started, time.monotonic())

    def end(self):
        self.left = 0

    async def work(self):
        connection = None
        while self.left > 0:
            self.left -= 1
            try:
                connection = connection or await asyncio.open_connection(*self.address)
                begun = self.last_request = time.monotonic()
                status, connection = await self.exchange(*connection)
                self.times.append(time.monotonic() - begun)
                self.first_answer = self.first_answer or time.monotonic()
                self.statuses[status] += 1
            except (OSError, asyncio.IncompleteReadError):
                self.statuses["none"] += 1
                connection = None
        if connection:
            connection[1].close()

    async def exchange(self, reader, writer):
        writer.write(self.request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])}
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        else:
            await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            writer.close()
            return head.split(" ")[1], None
        return head.split(" ")[1], (reader, writer)

    def summary(self, started, ended):
        times = sorted(self.times) or [0.0]
        return {"requests": len(self.times), "statuses": dict(self.statuses), "longest": times[-1],
                "median": times[len(times) // 2], "p99": times[len(times) * 99 // 100],
                "seconds": ended - started, "seconds of demand": (self.last_request or 0) - (self.first_answer or 0)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--body")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--requests", type=int)
    print(json.dumps(asyncio.run(Load(parser.parse_args()).run())))


if __name__ == "__main__":
    main()
