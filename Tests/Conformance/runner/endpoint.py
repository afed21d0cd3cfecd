"""One end of a TCP connection of a case: reads in the background, writes in order, and never blocks the others."""

import asyncio
import socket
import struct

from .wire import Malformed, Truncated


class Endpoint:
    """What has arrived is in `buffer`; `ended` says that nothing more will come, `reset` that it ended with RST."""

    def __init__(self, sock, bytewise=False):
        self.sock = sock
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bytewise = bytewise
        self.buffer = bytearray()
        self.received = 0
        self.ended = False
        self.reset = False
        self.closed_by_us = False
        self.shut = False
        self.message = None
        self.news = asyncio.Event()
        self.on_news = None
        self.reading = asyncio.Event()
        self.reading.set()
        self.outgoing = asyncio.Queue()
        self.tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]

    async def _read(self):
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self.reading.wait()
                data = await loop.sock_recv(self.sock, 65536)
                if not data:
                    break
                self.buffer += data
                self.received += len(data)
                self._announce()
        except OSError:
            self.reset = True
        self.ended = True
        self._announce()

    def _announce(self):
        self.news.set()
        if self.on_news:
            self.on_news()

    async def _write(self):
        loop = asyncio.get_running_loop()
        while True:
            data = await self.outgoing.get()
            try:
                if self.bytewise and len(data) <= 16384:
                    for index in range(len(data)):
                        await loop.sock_sendall(self.sock, data[index : index + 1])
                        if index % 16 == 0:
                            await asyncio.sleep(0)
                else:
                    await loop.sock_sendall(self.sock, data)
            except OSError:
                pass  # the other end has closed; what it said before that is what counts
            finally:
                self.outgoing.task_done()

    def send(self, data):
        self.outgoing.put_nowait(data)

    async def wait(self):
        """Until something new has arrived."""
        self.news.clear()
        await self.news.wait()

    async def line(self, limit):
        while True:
            index = self.buffer.find(b"\n")
            if index >= 0:
                line = bytes(self.buffer[: index + 1])
                if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
                    raise Malformed(f"line {line[:200]!r}")
                del self.buffer[: index + 1]
                return line[:-2]
            if len(self.buffer) > limit:
                raise Malformed(f"no end of line within {limit} bytes: {bytes(self.buffer[:100])!r}")
            if self.ended:
                raise Truncated(f"the connection {'was reset' if self.reset else 'ended'} after {bytes(self.buffer[:200])!r}")
            await self.wait()

    async def exactly(self, count):
        while len(self.buffer) < count:
            if self.ended:
                raise Truncated("the connection ended")
            await self.wait()
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    async def some(self, limit=1 << 30):
        """What is there, at most `limit` bytes; empty at the end."""
        while not self.buffer:
            if self.ended:
                return b""
            await self.wait()
        data = bytes(self.buffer[:limit])
        del self.buffer[:limit]
        return data

    async def until_ended(self):
        while not self.ended:
            await self.wait()

    async def flush(self):
        await self.outgoing.join()

    async def half_close(self):
        await self.flush()
        if not self.shut:
            self.shut = True
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    async def abort(self):
        """Ends the connection with RST."""
        await self.flush()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        if self.closed_by_us:
            return
        self.closed_by_us = True
        for task in self.tasks:
            task.cancel()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.sock.fileno())
        loop.remove_writer(self.sock.fileno())
        self.sock.close()
        self.ended = True
