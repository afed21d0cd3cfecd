#!/usr/bin/env python3
"""The services of these systems, as small as they can be. There is no timeout, no retry and no breaker in here: that is the mesh's
work.

    services.py ROLE PORT [ARGUMENT]

order PORT CALLS        POST /orders calls payment at the port CALLS; GET /myPages/…
payment PORT            takes as long as PUT /slowness {"seconds": …, "random": …} has said
payment-later PORT      answers at once that it cannot be paid now
store PORT              fishstore and delivery
front-end PORT CALLS    a page of what catalogue and carts answer at the port CALLS
catalogue PORT, carts PORT
endpoints PORT COUNT    COUNT endpoints from PORT on; PUT /failing {"ports": […], "seconds": …} says which answer 503

GET /seen, where there is one, tells what the service has seen. Times are those of the system's monotonic clock.
"""

import asyncio
import json
import random
import sys
import time


async def read_message(reader):
    """(first line, headers, body) of a message, or None at the end of the connection."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    headers = {}
    for line in head[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return head[0], headers, body


def message(first, body, *headers):
    text = json.dumps(body).encode() if body is not None else b""
    return "\r\n".join([first, *headers, f"content-length: {len(text)}", "", ""]).encode() + text


class Service:
    """Each request is given to `answer`, which returns (status, JSON)."""

    backlog = 1024

    def __init__(self, port):
        self.port = port

    async def serve(self):
        server = await asyncio.start_server(self.connected, "127.0.0.1", self.port, backlog=self.backlog)
        async with server:
            await server.serve_forever()

    async def connected(self, reader, writer):
        try:
            while request := await read_message(reader):
                method, path, _ = request[0].split(" ")
                status, body = await self.answer(method, path, request[1], json.loads(request[2]) if request[2] else None)
                writer.write(message(f"HTTP/1.1 {status} Status", body, "content-type: application/json"))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class Calls:
    """Calls of another service, over connections that are kept."""

    def __init__(self, port):
        self.port = port
        self.idle = []

    async def __call__(self, method, path, body=None):
        while True:
            reused = bool(self.idle)
            reader, writer = self.idle.pop() if reused else await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(message(f"{method} {path} HTTP/1.1", body, "host: services"))
            answer = await read_message(reader)
            if answer or not reused:
                break
            writer.close()  # the other side had ended it
        if answer is None:
            raise ConnectionError("no answer")
        if answer[1].get("connection") == "close":
            writer.close()
        else:
            self.idle.append((reader, writer))
        return int(answer[0].split(" ")[1]), json.loads(answer[2]) if answer[2].startswith((b"{", b"[")) else None


class Order(Service):
    def __init__(self, port, calls):
        super().__init__(port)
        self.calls = Calls(int(calls))
        self.orders = {}

    async def answer(self, method, path, headers, body):
        if method == "GET":
            return 200, {"orders": len(self.orders)}
        status, payment = await self.calls("POST", "/payments", {"customerName": body.get("customerName"), "qty": body.get("qty")})
        if status == 200:
            number = len(self.orders) + 1
            self.orders[number] = body["fishName"]
            return 201, {"id": number, "status": "OrderPlaced"}
        if status == 202:
            return 202, {"status": "NotPlaced", "reason": payment["reason"]}
        return 503, {"status": "NotPlaced", "reason": f"payment: {status}"}


class Payment(Service):
    def __init__(self, port):
        super().__init__(port)
        self.seconds, self.random = 0.02, 0.0
        self.times = []

    async def answer(self, method, path, headers, body):
        if path == "/slowness":
            self.seconds, self.random = body["seconds"], body["random"]
            return 200, {}
        if path == "/seen":
            return 200, {"times": self.times}
        self.times.append(time.monotonic())
        await asyncio.sleep(self.seconds + random.random() * self.random)
        return 200, {"status": "PayApproved"}


class PaymentLater(Service):
    async def answer(self, method, path, headers, body):
        return 202, {"status": "Later", "reason": "payment is not there now"}


class Store(Service):
    async def answer(self, method, path, headers, body):
        return 200, {"port": self.port, "path": path}


class FrontEnd(Service):
    def __init__(self, port, calls):
        super().__init__(port)
        self.calls = Calls(int(calls))

    async def answer(self, method, path, headers, body):
        _, catalogue = await self.calls("GET", "/catalogue")
        status, cart = await self.calls("GET", "/carts/57a98d98e4b00679b4a830b2/items")
        return 200, {"catalogue": catalogue, "cart": cart if status == 200 else None}


class Catalogue(Service):
    async def answer(self, method, path, headers, body):
        return 200, [{"id": "3395a43e-2d88-40de-b95f-e00e1502085b", "name": "Colourful", "price": 18}]


class Carts(Service):
    backlog = 1  # so that connections to one that hangs do not come about, soon

    async def answer(self, method, path, headers, body):
        return 200, [{"itemId": "3395a43e-2d88-40de-b95f-e00e1502085b", "quantity": 1}]


class Endpoint(Service):
    def __init__(self, port, all_of_them):
        super().__init__(port)
        self.all = all_of_them

    async def answer(self, method, path, headers, body):
        return await self.all.answer(self.port, path, headers, body)


class Endpoints:
    """They can do so much work at a time, all together: what comes beyond waits, as it would for a database."""

    def __init__(self, port, count):
        self.ports = range(port, port + int(count))
        self.failing, self.seconds = set(), 0.0
        self.work = asyncio.Semaphore(20)
        self.begin()

    def begin(self):
        self.requests = self.retries = self.active = self.active_retries = 0
        self.worst = []  # (retries, all) on their way, when there were more retries than ever before

    async def serve(self):
        await asyncio.gather(*(Endpoint(port, self).serve() for port in self.ports))

    async def answer(self, port, path, headers, body):
        if path == "/failing":
            self.failing, self.seconds = set(body["ports"]), body["seconds"]
            self.begin()
            return 200, {}
        if path == "/seen":
            return 200, {"requests": self.requests, "retries": self.retries, "worst": self.worst}
        retry = headers["x-envoy-attempt-count"] != "1"
        self.requests += not retry
        self.retries += retry
        self.active += 1
        self.active_retries += retry
        if retry and self.active_retries > (self.worst[-1][0] if self.worst else 0):
            self.worst.append((self.active_retries, self.active))
        try:
            async with self.work:
                await asyncio.sleep(self.seconds)
            return (503, {"error": "no"}) if port in self.failing else (200, {"port": port})
        finally:
            self.active -= 1
            self.active_retries -= retry


ROLES = {"order": Order, "payment": Payment, "payment-later": PaymentLater, "store": Store, "front-end": FrontEnd,
         "catalogue": Catalogue, "carts": Carts, "endpoints": Endpoints}


async def main():
    role, port, *more = sys.argv[1:]
    await ROLES[role](int(port), *more).serve()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
