#!/usr/bin/env python3
"""Mixed requests through a front proxy and two sidecars, and the accounts that everybody keeps of them, joined by request id.

    accounts.py --proxy FILE [--requests N] [--seed N] [--reload] [--keep]

Clients ask for every status, for upstreams that reset, close, answer late or after another attempt, leave before the answer, and
call by gRPC; service1 calls service2 through its own sidecar. Each client, each access log and each service writes down the id of
what it has seen. Then: every request is in the front proxy's log once, and in each sidecar's as often as it was sent there; codes
are the same wherever both sides have seen the end; and Istio's metrics of each reporter are, label by label, the number of lines in
its log. With --reload the proxies get another configuration every second, which must change nothing of that. Needs the package
grpcio. 100,000 requests (the default) take some minutes.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import grpc

from accounting.books import Books, samples
from accounting.client import Client
from accounting.proxies import SERVICES, configurations
from accounting.service import Service

CLIENTS = 48
SETTLE = 20.0


class Accounts:
    def __init__(self, options):
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="accounts-"))
        self.processes = {}
        self.wrong = []
        self.scrapes = 0

    async def run(self):
        names = ["front", "inbound1", "outbound1", "inbound2", "dead", "front-proxy-admin",
                 *(f"{service}-sidecar-admin" for service in SERVICES)]
        ports = free_ports(len(names) + 4)
        self.ports = dict(zip(names, ports))
        for number, service in enumerate(SERVICES):
            self.ports[service] = ports[len(names) + 2 * number]  # and the next one, for gRPC
        try:
            await self.start()
            reloading = asyncio.create_task(self.reload()) if self.options.reload else None
            scraping = asyncio.create_task(self.scrape())
            seen = await self.requests()
            for task in (reloading, scraping):
                if task:
                    task.cancel()
            if scraping.done() and not scraping.cancelled() and scraping.exception():
                self.wrong.append(f"scraping: {scraping.exception()!r}")
            print(f"{self.scrapes} scrapes meanwhile")
            metrics = await self.settled()
            for name in SERVICES:
                self.processes[name].communicate(b"\n", timeout=20)
            books = Books(self.folder)
            books.join(seen, metrics)
            self.wrong += books.wrong
        finally:
            for process in reversed(self.processes.values()):
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
            for process in self.processes.values():
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if self.options.keep:
                print(f"kept: {self.folder}")
            else:
                shutil.rmtree(self.folder, ignore_errors=True)
        return self.wrong

    async def start(self):
        for name in SERVICES:
            self.processes[name] = subprocess.Popen(
                [sys.executable, __file__, "--serve", name, str(self.ports[name]), str(self.ports["outbound1"]),
                 str(self.folder / f"{name}.log"), "--proxy", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for name, configured in configurations(self.ports, self.folder).items():
            path = self.folder / f"{name}.json"
            path.write_text(json.dumps(configured))
            with open(self.folder / f"{name}.err", "wb") as log:
                self.processes[name] = subprocess.Popen(
                    [self.options.proxy, "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "warning",
                     "--drain-time-s", "1", "--file-flush-interval-msec", "100"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for name in SERVICES:
            if await asyncio.to_thread(self.processes[name].stdout.readline) != b"ready\n":
                sys.exit(f"accounts: {name} does not start")
        for name in configurations(self.ports, self.folder):
            end = time.monotonic() + 30
            while True:
                try:
                    await self.admin(name, "/ready")
                    break
                except OSError:
                    if self.processes[name].poll() is not None or time.monotonic() > end:
                        sys.exit(f"accounts: {name} does not start:\n"
                                 + (self.folder / f"{name}.err").read_text(errors="replace")[-2000:])
                    await asyncio.sleep(0.05)

    async def scrape(self):
        """What Prometheus sees meanwhile: whole answers, in which nothing that counts goes back."""
        before = {}
        while True:
            for name in configurations(self.ports, self.folder):
                text = await self.admin(name, "/stats/prometheus?format=openmetrics")
                if not text.endswith("# EOF\n"):
                    self.wrong.append(f"{name}: an answer to a scraper that ends with {text[-100:]!r}")
                for metric, labels, value in samples(text):
                    if metric.startswith("istio_requests_total"):
                        series = name, tuple(sorted(labels.items()))
                        if value < before.get(series, 0):
                            self.wrong.append(f"{name}: {metric}{labels} went from {before[series]} to {value}")
                        before[series] = value
                self.scrapes += 1
            await asyncio.sleep(0.2)

    async def reload(self):
        """Another listener, and another cluster, for the same requests."""
        for number in range(1, 1_000_000):
            await asyncio.sleep(1)
            for name, configured in configurations(self.ports, self.folder).items():
                resources = configured["static_resources"]
                for one in resources["listeners"]:
                    manager = one["filter_chains"][0]["filters"][0]["typed_config"]
                    manager["server_name"] = f"number-{number}"
                    # Options for all requests that come by HTTP/2, so that there is something to change.
                    manager["common_http_protocol_options"] = {"idle_timeout": f"{60 + number}s"}
                for one in resources["clusters"]:
                    if number % 2:
                        one["connect_timeout"] = f"{2 + number % 7}s"
                path = self.folder / "new"
                path.write_text(json.dumps(configured))
                os.rename(path, self.folder / f"{name}.json")
                self.processes[name].send_signal(signal.SIGHUP)

    async def admin(self, name, path):
        def read():
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[f'{name}-admin']}{path}", timeout=20) as response:
                return response.read().decode()

        return await asyncio.to_thread(read)

    async def requests(self):
        seen = {}
        began = time.monotonic()
        # A connection for each: a client that cancels must not wait for those of others.
        channels = [grpc.aio.insecure_channel(f"127.0.0.1:{self.ports['front']}", options=[("grpc.use_local_subchannel_pool", 1)])
                    for _ in range(CLIENTS)]
        await asyncio.gather(*(
            Client(self.ports["front"], self.options.seed * 1000 + number, channels[number], seen).run(
                self.options.requests // CLIENTS) for number in range(CLIENTS)))
        for channel in channels:
            await channel.close()
        print(f"{len(seen)} requests in {time.monotonic() - began:.0f} seconds")
        return seen

    async def settled(self):
        """Istio's metrics of every proxy, when nothing is on its way any more."""
        end = time.monotonic() + SETTLE
        found = {}
        for name in ("front-proxy", *(f"{service}-sidecar" for service in SERVICES)):
            while True:
                values = json.loads(await self.admin(name, "/stats?format=json"))["stats"]
                left = [entry["name"] for entry in values if entry.get("value") and entry.get("name", "").endswith(
                    "downstream_rq_active") and not entry["name"].startswith(("http.admin", "listener.admin"))]
                if not left:
                    break
                if time.monotonic() > end:
                    self.wrong.append(f"{name}: {left} when all was over")
                    break
                await asyncio.sleep(0.1)
            changes = sum(entry["value"] for entry in values if entry.get("name") == "listener_manager.listener_modified")
            if self.options.reload and not changes:
                self.wrong.append(f"{name}: no listener has changed")
            found[name] = [sample for sample in samples(await self.admin(name, "/stats/prometheus"))
                           if sample[0].startswith("istio_request")]
        await asyncio.sleep(0.5)  # the logs are written every 100 ms
        return found


def free_ports(count):
    """One after the other, below the range from which the kernel takes the ports of clients."""
    while True:
        first = random.SystemRandom().randrange(20000, 31000)
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return list(range(first, first + count))
        except OSError:
            continue


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy", required=True)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reload", action="store_true", help="with other configurations every second")
    parser.add_argument("--keep", action="store_true", help="keep the logs, and say where")
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        name, port, outbound, log = options.serve
        return asyncio.run(Service(name, int(port), int(outbound), log).run())
    wrong = asyncio.run(Accounts(options).run())
    for text in wrong[:30]:
        print(f"WRONG   {text}")
    print(f"accounts: {len(wrong)} findings (seed {options.seed})")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
