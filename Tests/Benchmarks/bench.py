"""Cost per request of martlet-proxy beside other proxies, in one run.

One worker each: the proxies on one core, load and backend on another, rounds interleaved, so that whatever else the machine
does hits all alike. Results are ratios; the absolute numbers are this machine's.
"""

import argparse
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import peers
from protocols import ProtocolScenarios
from resilience import ResilienceScenario
from telemetry import TelemetryScenarios

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CONNECTIONS = 64
SCENARIOS = ("small", "large", "connect", "instructions", "routes", "syscalls", "memory", "idle", "slow",
             "tls", "http2", "handshakes", "tcp", "resilience", "tracing", "telemetry")
ABOUT = {
    "small": "150-byte responses, 64 keep-alive connections",
    "large": "64 KiB responses, 64 keep-alive connections",
    "connect": "a new connection for every request (150-byte responses)",
}
PROGRAMS = ("backend", "relay", "load", "sink")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy", help="the program in martlet-proxy's place (default: a static release build)")
    parser.add_argument("--only", action="append", choices=SCENARIOS, metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: for a first look, not for a verdict")
    parser.add_argument("--rounds", type=int, help="rounds per scenario (default: 7; quick: 2)")
    parser.add_argument("--seconds", type=float, help="seconds per round and proxy (default: 3; quick: 1)")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 7)
    options.seconds = options.seconds or (1 if options.quick else 3)
    return options


class Bench(ProtocolScenarios, ResilienceScenario, TelemetryScenarios):
    def __init__(self, options):
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self.descriptors = raise_descriptor_limit(65536)
        self.results = {}
        self.gates = []
        self.notes = []
        cores = sorted(os.sched_getaffinity(0))
        if not shutil.which("taskset") or len(cores) < 2:
            self.notes.append("fewer than two cores: proxies, load and backend share one")
        self.proxy_core = ["taskset", "-c", str(cores[0])] if shutil.which("taskset") else []
        self.load_core = ["taskset", "-c", str(cores[-1])] if shutil.which("taskset") else []
        build = ROOT / ".build-bench"
        build.mkdir(exist_ok=True)
        for name in PROGRAMS:
            subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", str(build / name), str(HERE / f"{name}.c")], check=True)
        self.programs = {name: str(build / name) for name in PROGRAMS}
        self.backend_port = peers.free_port()
        self.backend = subprocess.Popen([*self.load_core, self.programs["backend"], str(self.backend_port)],
                                        start_new_session=True)
        self.running = []

    def close(self):
        for peer in self.running:
            peer.stop()
        self.backend.kill()
        self.backend.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    # The peers

    def martlet(self):
        return peers.Martlet(self.options.proxy, self.folder, self.backend_port)

    def everyone(self):
        found = [self.martlet()]
        if shutil.which("haproxy"):
            found += [peers.HAProxy(self.folder, self.backend_port, self.descriptors),
                      peers.HAProxy(self.folder, self.backend_port, self.descriptors, tcp=True)]
        if shutil.which("nginx"):
            found.append(peers.Nginx("nginx", self.folder, self.backend_port))
        envoy = peers.find_envoy(ROOT)
        if envoy:
            found.append(peers.Envoy(envoy, self.folder, self.backend_port))
        found.append(peers.Relay(self.programs["relay"], self.folder, self.backend_port))
        names = {peer.name for peer in found}
        for name in ("HAProxy", "nginx", "Envoy"):
            if name not in names:
                self.note(f"{name} is not installed")
        return found

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def start(self, peer, prefix=None):
        self.running.append(peer)
        return peer.start(self.proxy_core if prefix is None else prefix)

    def stop(self, peer, deadline=5.0):
        peer.stop(deadline)
        if peer in self.running:
            self.running.remove(peer)

    # CPU per request

    def round(self, peer, size, headers):
        command = [*self.load_core, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{self.options.seconds:g}s", "--timeout", "30s"]
        for header in headers:
            command += ["-H", header]
        before = peer.usage()
        text = subprocess.run([*command, f"http://127.0.0.1:{peer.port}/{size}"], capture_output=True, text=True,
                              check=True, timeout=self.options.seconds + 60).stdout
        used = peer.usage() - before
        found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", text)
        requests, seconds = int(found[1]), float(found[2]) * {"ms": 0.001, "s": 1, "m": 60}[found[3]]
        if "Non-2xx" in text or "Socket errors" in text:
            lines = [line.strip() for line in text.splitlines() if "Non-2xx" in line or "Socket errors" in line]
            self.note(f"{peer.name}: {'; '.join(lines)}")
        if requests == 0:
            sys.exit(f"bench: {peer.name} answered no request:\n{text}")
        return used.each(requests, seconds)

    def cost(self, name, size, headers=()):
        median = self.compare(name, self.everyone(), lambda peer: self.round(peer, size, headers))
        self.show_cost(name, ABOUT[name], median)
        return median

    def compare(self, name, everyone, measure):
        """Interleaved rounds of `measure`, which gives `total` (CPU for one of whatever it is), `share` and `rate`."""
        for peer in everyone:
            self.start(peer)
        rounds = {peer.name: [] for peer in everyone}
        for peer in everyone:  # warm: connections, caches, frequency
            measure(peer)
        for number in range(self.options.rounds):
            progress(f"{name}: round {number + 1} of {self.options.rounds}")
            for peer in everyone[number % len(everyone):] + everyone[:number % len(everyone)]:
                rounds[peer.name].append(measure(peer))
        for peer in everyone:
            self.stop(peer)
        median = {peer: {key: statistics.median(one[key] for one in values) for key in ("total", "share", "rate")}
                  for peer, values in rounds.items()}
        # Ratios are taken round by round: neighbours in time see the same machine.
        for peer in median:
            median[peer]["ratio"] = statistics.median(
                ours["total"] / theirs["total"] for ours, theirs in zip(rounds["martlet"], rounds[peer]))
            spread = [one["total"] for one in rounds[peer]]
            median[peer]["spread"] = (max(spread) - min(spread)) / median[peer]["total"]
        self.results[name] = median
        return median

    def show_cost(self, name, about, median, unit="request"):
        progress("")
        print(f"\n{name}: {about}")
        print(f"  {'':<14}{f'CPU µs/{unit}':>15}{'user':>8}{'system':>8}{f'{unit}s/s':>12}{'spread':>9}{'martlet ÷':>12}")
        for peer, value in median.items():
            user = value["total"] * value["share"]
            print(f"  {peer:<14}{value['total']:>15.2f}{user:>8.2f}{value['total'] - user:>8.2f}{value['rate']:>12,.0f}"
                  f"{value['spread']:>8.0%}{value['ratio']:>12.2f}")

    def ratio_gate(self, name, median, peer, limit):
        if peer in median:
            self.gate(f"{name}: CPU per request ÷ {peer}", median[peer]["ratio"], limit, "{:.2f}")

    def gate(self, what, value, limit, form, strict=False):
        holds = value < limit if strict else value <= limit
        self.gates.append((what, form.format(value), form.format(limit), holds))

    # The scenarios

    def small(self):
        median = self.cost("small", 150)
        self.ratio_gate("small", median, "HAProxy", 0.85)
        self.ratio_gate("small", median, "nginx", 0.85)
        self.ratio_gate("small", median, "HAProxy TCP", 1.25)

    def large(self):
        self.ratio_gate("large", self.cost("large", 65536), "HAProxy", 1.0)

    def connect(self):
        self.ratio_gate("connect", self.cost("connect", 150, ["Connection: close"]), "nginx", 1.0)

    def count(self, port, requests, connections=CONNECTIONS, target="150"):
        subprocess.run([*self.load_core, self.programs["load"], "count", str(port), str(connections), str(requests), target],
                       check=True, stdout=subprocess.DEVNULL, timeout=600)

    def instructions(self):
        """User instructions per request: the difference of two run lengths under callgrind."""
        if not shutil.which("valgrind"):
            self.note("valgrind is not installed: no instruction counts")
            return
        measured = {}
        for peer in self.everyone():
            if peer.name in ("Envoy", "C relay") or (self.options.quick and peer.name != "martlet"):
                continue  # Envoy does not run under valgrind in reasonable time; the relay has next to none
            each = self.instructions_per_request("instructions", peer)
            if each is not None:
                measured[peer.name] = each
        progress("")
        self.results["instructions"] = measured
        print("\ninstructions: user instructions per request (callgrind)")
        for peer, value in measured.items():
            print(f"  {peer:<14}{value:>15,.0f}")
        if "martlet" in measured:
            self.gate("small: user instructions per request", measured["martlet"], 12000, "{:,.0f}", strict=True)

    def routes(self):
        """User instructions per request with few and with many routes."""
        if not shutil.which("valgrind"):
            self.note("valgrind is not installed: no instruction counts")
            return
        measured = {}
        for kind in ("prefix", "path"):
            for number in (10, 10000):
                peer = peers.ManyRoutes(self.options.proxy, self.folder, self.backend_port, kind, number)
                measured[peer.name] = self.instructions_per_request("routes", peer, peer.target)
        progress("")
        self.results["routes"] = measured
        print("\nroutes: user instructions per request (callgrind), for the last of so many routes")
        for name, value in measured.items():
            print(f"  {name:<22}" + (f"{value:>7,.0f}" if value else "      -"))
        for kind in ("prefix", "path"):
            few, many = measured[f"10 {kind} routes"], measured[f"10,000 {kind} routes"]
            if few and many:
                self.gate(f"routes: 10,000 {kind} routes ÷ 10", many / few, 1.5, "{:.2f}")

    def instructions_per_request(self, scenario, peer, target="150"):
        """The difference of two run lengths under callgrind, for each request."""
        lengths = (1000, 3000) if self.options.quick else (2000, 10000)
        totals = []
        for requests in lengths:
            progress(f"{scenario}: {peer.name}, {requests} requests")
            file = peer.folder / f"callgrind.{requests}"
            prefix = ["valgrind", "--tool=callgrind", "--fair-sched=yes", f"--callgrind-out-file={file}"]
            self.start(peer, prefix)
            self.count(peer.port, requests, target=target)
            self.stop(peer, deadline=60)
            totals.append(self.callgrind_total(peer, file))
        return None if None in totals else (totals[1] - totals[0]) / (lengths[1] - lengths[0])

    def callgrind_total(self, peer, file):
        for path in sorted(file.parent.glob(file.name + "*")):
            found = re.search(r"^(?:totals|summary): (\d+)", path.read_text(errors="replace"), re.MULTILINE)
            if found:
                return int(found[1])
        self.note(f"instructions: {peer.name} wrote no counts; its log ends with "
                  + repr((peer.folder / "log").read_text(errors="replace")[-300:]))
        return None

    def syscalls(self):
        """System calls per request: the difference of two run lengths under strace."""
        if not shutil.which("strace"):
            self.note("strace is not installed: no system call counts")
            return
        measured = {}
        for peer in self.everyone():
            each = self.calls_per_request("syscalls", peer)
            if each is not None:
                measured[peer.name] = each
        progress("")
        self.results["syscalls"] = measured
        print("\nsyscalls: system calls per request (strace)")
        for peer, each in measured.items():
            most = sorted(((count, name) for name, count in each.items() if count >= 0.005), reverse=True)[:6]
            print(f"  {peer:<14}{sum(each.values()):>15.2f}   " + ", ".join(f"{name} {count:.2f}" for count, name in most))
        if "martlet" in measured:
            self.gate("small: system calls per request", sum(measured["martlet"].values()), 4.3, "{:.2f}")

    def calls_per_request(self, scenario, peer):
        """The difference of two run lengths under strace, by name of the call, for each request."""
        lengths = (2000, 10000) if self.options.quick else (5000, 30000)
        self.start(peer)
        self.count(peer.port, 1000)
        counts = []
        for requests in lengths:
            progress(f"{scenario}: {peer.name}, {requests} requests")
            counts.append(self.traced(peer, requests))
        self.stop(peer)
        if None in counts:
            return None
        names = set(counts[0]) | set(counts[1])
        return {name: (counts[1].get(name, 0) - counts[0].get(name, 0)) / (lengths[1] - lengths[0]) for name in names}

    def traced(self, peer, requests):
        file = peer.folder / f"strace.{requests}"
        tracer = subprocess.Popen(["strace", "-c", "-f", "-p", str(peer.process.pid), "-o", str(file)],
                                  stderr=subprocess.PIPE, text=True)
        threads = len(list(Path(f"/proc/{peer.process.pid}/task").iterdir()))
        # strace says when it is attached, and again with the number of further threads.
        line = tracer.stderr.readline()
        if "attached" not in line:
            tracer.kill()
            tracer.wait()
            self.note(f"syscalls: strace cannot attach: {line.strip()}")
            return None
        deadline = time.monotonic() + 10
        while self.traced_threads(peer) < threads and time.monotonic() < deadline:
            time.sleep(0.01)
        self.count(peer.port, requests)
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=30)
        counts = {}
        for row in file.read_text().splitlines():
            fields = row.split()
            if len(fields) >= 5 and fields[0][0].isdigit() and fields[-1] != "total":
                counts[fields[-1]] = int(fields[3])
        return counts

    @staticmethod
    def traced_threads(peer):
        statuses = Path(f"/proc/{peer.process.pid}/task").glob("*/status")
        return sum("TracerPid:\t0" not in status.read_text() for status in statuses)

    def memory(self):
        """Memory of the idle process, after its start."""
        measured = {}
        for peer in self.everyone():
            self.start(peer)
            measured[peer.name] = peer.pss() / 1024
            self.stop(peer)
        self.results["memory"] = measured
        print("\nmemory: PSS after the start, MiB")
        for peer, value in measured.items():
            print(f"  {peer:<14}{value:>15.1f}")
        self.gate("memory: PSS of the idle process, MiB", measured["martlet"], 14, "{:.1f}", strict=True)

    def idle(self):
        """Memory of idle keep-alive connections, each of which has had a request."""
        connections = min(2000 if self.options.quick else 10000, self.descriptors - 100)
        measured = {}
        for peer in self.everyone():
            if peer.name in ("HAProxy TCP", "C relay"):
                continue  # they hold two sockets for each, and no HTTP connection
            self.start(peer)
            self.count(peer.port, 2000)
            before = peer.pss()
            load = subprocess.Popen([*self.load_core, self.programs["load"], "idle", str(peer.port), str(connections)],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            if load.stdout.readline() != "ready\n":
                self.note(f"idle: {peer.name} did not take {connections} connections (ulimit -n)")
            else:
                measured[peer.name] = (peer.pss() - before) * 1024 / connections
            load.communicate(timeout=60)
            self.stop(peer)
        self.results["idle"] = measured
        print(f"\nidle: bytes per idle keep-alive connection ({connections:,} of them)")
        for peer, value in measured.items():
            print(f"  {peer:<14}{value:>15,.0f}")
        if "martlet" in measured:
            self.gate("idle: bytes per idle connection", measured["martlet"], 1024, "{:,.0f}", strict=True)

    def slow(self):
        """The peak of memory while a body of 1 GiB goes to a slow reader."""
        peer = self.start(self.martlet())
        peer.reset_peak()
        progress("slow: 1 GiB through a slow reader")
        subprocess.run([*self.load_core, self.programs["load"], "slow", str(peer.port), str(1 << 30)], check=True,
                       stdout=subprocess.DEVNULL, timeout=600)
        peak = peer.peak() / 1024
        self.stop(peer)
        progress("")
        self.results["slow"] = {"martlet": peak}
        print(f"\nslow: peak resident memory with 1 GiB through a slow reader\n  {'martlet':<14}{peak:>11.1f} MiB")
        self.gate("slow: peak resident memory, MiB", peak, 64, "{:.1f}", strict=True)

    def verdict(self):
        print("\ngates")
        for what, value, limit, holds in self.gates:
            print(f"  {'PASS' if holds else 'FAIL'}  {what:<44}{value:>10}  (limit {limit})")
        for note in self.notes:
            print(f"  note: {note}")
        failed = sum(not holds for *_, holds in self.gates)
        print(f"bench: {len(self.gates) - failed} gates passed, {failed} failed")
        return 1 if failed else 0


def raise_descriptor_limit(wanted):
    """As many open files as wanted, or as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
        return wanted
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard


def progress(text):
    """One line that is written over, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r{text:<70}" if text else f"\r{'':<70}\r", end="", file=sys.stderr, flush=True)


def main():
    options = arguments()
    if not options.proxy:
        sys.exit("bench: --proxy is missing (scripts/bench builds it)")
    options.proxy = shutil.which(options.proxy) or sys.exit(f"bench: {options.proxy} is not a program")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    bench = Bench(options)
    try:
        for name in options.only or SCENARIOS:
            getattr(bench, name)()
        if options.json:
            options.json.write_text(json.dumps({"results": bench.results, "gates": bench.gates}, indent=2) + "\n")
        return bench.verdict()
    finally:
        bench.close()


if __name__ == "__main__":
    sys.exit(main())
