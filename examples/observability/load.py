#!/usr/bin/env python3
"""Customers of the shop: most want a page, some order, some get lost, some leave before they are served.

    load.py [--rate REQUESTS_A_SECOND] [--seconds S]
"""

import argparse
import asyncio
import random

EDGE = ("127.0.0.1", 8600)
WISHES = [("/shop", 3), ("/shop/items", 6), ("/shop/order", 6), ("/shop/recommendations", 2), ("/limited", 2), ("/nowhere", 0.3)]


async def customer():
    path = random.choices([path for path, _ in WISHES], [weight for _, weight in WISHES])[0]
    try:
        reader, writer = await asyncio.open_connection(*EDGE)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n".encode())
        if random.random() < 0.01:
            writer.transport.abort()
        else:
            await asyncio.wait_for(reader.read(), 5)
        writer.close()
    except (OSError, asyncio.TimeoutError):
        pass


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    options = parser.parse_args()
    loop = asyncio.get_running_loop()
    end = loop.time() + options.seconds
    customers = set()
    while loop.time() < end:
        if len(customers) < 200:
            one = asyncio.create_task(customer())
            customers.add(one)
            one.add_done_callback(customers.discard)
        await asyncio.sleep(random.expovariate(options.rate))
    await asyncio.gather(*customers)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
