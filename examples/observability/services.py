#!/usr/bin/env python3
"""The services of the shop and a collector of spans, all in one process, as small as they can be. There is no timeout, no retry,
no certificate and no metric in here: that is the mesh's work. What services have to do themselves is one thing, to pass on the
headers of the trace (`TRACE`).

shop :8615             GET /shop/… asks catalogue, payment (gRPC), ledger (TCP) and recommendations through its sidecar
catalogue :8625 :8635  versions v1 and v2
payment :8645          gRPC; by HTTP/1.1, to do without a library
ledger :8655           answers a line with a line
recommendations :8665  without a sidecar
collector :9411        takes spans as Zipkin does, and gives them back: GET /api/v2/trace/ID

PUT /trouble {"catalogue": SHARE, "slow": SECONDS, "payment": SECONDS, "recommendations": false, "collector": false} at :8615 makes a
share of catalogue's answers errors, its answers and payment's slow, recommendations go away and the collector refuse spans.
"""

import asyncio
import json
import random

TRACE = ("x-request-id", "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled")
HTTP_OUT, TCP_OUT = 8611, 8612  # of shop's sidecar

trouble = {"catalogue": 0.0, "slow": 0.0, "payment": 0.0, "recommendations": True, "collector": True}
spans = {}


async def read_message(reader):
    """(first line, headers, body, trailers), or None at the end of the connection."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = fields(head[1:])
        trailers = {}
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int((await reader.readline()).split(b";")[0], 16):
                body += (await reader.readexactly(size + 2))[:-2]
            while (line := await reader.readline()) not in (b"\r\n", b""):
                trailers |= fields([line.decode("latin-1").strip()])
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, OSError):
        return None
    return head[0], headers, body, trailers


def fields(lines):
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def message(first, body=b"", headers=None, trailers=None):
    lines = [first, *(f"{name}: {value}" for name, value in (headers or {}).items())]
    if trailers is None:
        return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode("latin-1") + body
    end = "".join(f"{name}: {value}\r\n" for name, value in trailers.items())
    return ("\r\n".join([*lines, "transfer-encoding: chunked", "trailer: grpc-status", "", ""]).encode("latin-1")
            + b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, end.encode()))


async def serve(port, answer):
    """A server, and who is connected."""
    writers = set()

    async def connected(reader, writer):
        writers.add(writer)
        try:
            while request := await read_message(reader):
                method, path, _ = request[0].split(" ")
                writer.write(await answer(method, path, request[1], request[2]))
                await writer.drain()
        except OSError:
            pass
        finally:
            writers.discard(writer)
            writer.close()

    return await asyncio.start_server(connected, "127.0.0.1", port, backlog=512), writers


def text(status, value, **headers):
    return message(f"HTTP/1.1 {status} Status", json.dumps(value).encode(), {"content-type": "application/json", **headers})


async def call(host, method, path, headers, body=b"", **more):
    """A request through the sidecar, as a part of the caller's trace."""
    reader, writer = await asyncio.open_connection("127.0.0.1", HTTP_OUT)
    try:
        passed = {name: headers[name] for name in TRACE if name in headers}
        writer.write(message(f"{method} {path} HTTP/1.1", body, {"host": host, **passed, **more}))
        answer = await read_message(reader)
        if answer is None:
            return 0, {}
        return int(answer[0].split(" ")[1]), {**answer[1], **answer[3]}
    finally:
        writer.close()


async def charge(headers):
    """A call of gRPC: one empty message there, one back."""
    status, fields = await call("payment", "POST", "/shop.Payment/Charge", headers, bytes(5), te="trailers",
                                **{"content-type": "application/grpc"})
    return status == 200 and fields.get("grpc-status") == "0"


async def enter(line):
    """A line for the ledger."""
    reader, writer = await asyncio.open_connection("127.0.0.1", TCP_OUT)
    try:
        writer.write(line.encode() + b"\n")
        return await reader.readline() == b"entered\n"
    finally:
        writer.close()


async def shop(method, path, headers, body):
    if path == "/trouble":
        trouble.update(json.loads(body))
        await attend()
        return text(200, trouble)
    if path == "/shop/recommendations":
        status, _ = await call("recommendations", "GET", "/", headers)
        return text(status or 502, {})
    if path == "/shop/items":
        status, _ = await call("catalogue", "GET", "/items", headers)
        return text(status or 502, {})
    if path == "/shop/order":
        paid = await charge(headers)
        entered = await enter(path) if paid else False
        return text(200 if paid and entered else 503, {"paid": paid, "entered": entered})
    return text(200, {"shop": "open"})


def catalogue(version):
    async def answer(method, path, headers, body):
        await asyncio.sleep(trouble["slow"] * random.random() * (2 if version == "v2" else 1))
        fails = random.random() < trouble["catalogue"]
        return text(500 if fails else 200, {"version": version, "items": list(range(20))})

    return answer


async def payment(method, path, headers, body):
    await asyncio.sleep(0.002 + trouble["payment"])
    return message("HTTP/1.1 200 OK", bytes(5), {"content-type": "application/grpc"}, {"grpc-status": "0"})


async def ledger(reader, writer):
    while await reader.readline():
        writer.write(b"entered\n")
    writer.close()


async def recommendations(method, path, headers, body):
    return text(200, ["flatfish"])


async def collector(method, path, headers, body):
    if path.startswith("/api/v2/trace/"):
        return text(200, spans.get(path.rsplit("/", 1)[1], []))
    if not trouble["collector"]:
        return text(400, {"error": "not now"})
    for span in json.loads(body):
        if len(spans) < 20_000:
            spans.setdefault(span["traceId"], []).append(span)
    return text(202, {})


comers = {"recommendations": (8665, recommendations)}
servers = {}


async def attend():
    """Lets the services come and go that can."""
    for name, (port, answer) in comers.items():
        if trouble[name] and name not in servers:
            servers[name] = await serve(port, answer)
        elif not trouble[name] and name in servers:
            server, writers = servers.pop(name)
            server.close()
            for writer in writers:
                writer.transport.abort()


async def main():
    for port, answer in ((8615, shop), (8625, catalogue("v1")), (8635, catalogue("v2")), (8645, payment), (9411, collector)):
        servers[port] = await serve(port, answer)
    servers["ledger"] = await asyncio.start_server(ledger, "127.0.0.1", 8655)
    await attend()
    await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
