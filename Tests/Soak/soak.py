"""Millions of mixed requests through martlet-proxy: memory has to stay flat and every descriptor has to come back.

wrk sends what is right (keep-alive GETs, a connection for each request, bodies with a length and in chunks, 64 KiB responses);
its answers have to be right too. A second program sends what is not, and an upstream misbehaves behind its requests. The
configuration is read again and the access log rotated at every sample.
"""

import argparse
import ctypes
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TYPES = "type.googleapis.com/envoy.extensions"
FAULTY_ADDRESSES = [f"127.9.0.{number}" for number in range(1, 65)]
MEBIBYTE = 1024 * 1024
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1

SCRIPTS = {
    "connect": 'wrk.headers["Connection"] = "close"',
    "length": 'wrk.method = "POST"; wrk.body = string.rep("x", 3000)',
    "chunked": 'local raw = "POST /150 HTTP/1.1\\r\\nHost: soak\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n3e8\\r\\n" .. '
               'string.rep("x", 1000) .. "\\r\\n7d0\\r\\n" .. string.rep("y", 2000) .. "\\r\\n0\\r\\n\\r\\n"\n'
               'request = function() return raw end',
}
# Name, connections, path, script.
CLIENTS = [
    ("keep-alive", 16, "/150", None),
    ("connect", 8, "/150", "connect"),
    ("length", 8, "/1000", "length"),
    ("chunked", 8, "/150", "chunked"),
    ("large", 4, "/65536", None),
    ("chunked-responses", 4, "/chunked/10000", None),
]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests", nargs="?", type=int, default=10_000_000, help="how many (default: 10 million)")
    parser.add_argument("--proxy", required=True, help="the martlet-proxy to run")
    parser.add_argument("--samples", type=int, default=50, help="how often to look (default: 50 times)")
    parser.add_argument("--concurrency", type=int, default=2, help="worker threads of the proxy (default: 2)")
    parser.add_argument("--rude", type=int, default=400, help="misbehaving clients a second (default: 400)")
    return parser.parse_args()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def typed(name, message, **fields):
    return {"name": name, "typed_config": {"@type": f"{TYPES}.{message}", **fields}}


def address_of(host, port):
    return {"socket_address": {"address": host, "port_value": port}}


def configuration(port, admin, backend, log):
    def cluster(name, hosts):
        return {
            "name": name,
            "type": "STATIC",
            "load_assignment": {"cluster_name": name, "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address_of(host, backend)}} for host in hosts]}]},
        }

    manager = typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="soak",
        use_remote_address=True,
        request_headers_timeout="5s",
        request_timeout="10s",
        access_log=[typed("envoy.access_loggers.file", "access_loggers.file.v3.FileAccessLog", path=str(log))],
        route_config={"name": "soak", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/faulty/"}, "route": {"cluster": "faulty", "prefix_rewrite": "/", "timeout": "5s"}},
            {"match": {"prefix": "/"}, "route": {"cluster": "good"}},
        ]}]},
        http_filters=[typed("envoy.filters.http.router", "filters.http.router.v3.Router")],
    )
    return {
        "admin": {"address": address_of("127.0.0.1", admin)},
        "static_resources": {
            "listeners": [{"name": "soak", "address": address_of("127.0.0.1", port),
                           "filter_chains": [{"filters": [manager]}]}],
            "clusters": [cluster("good", ["127.0.0.1"]), cluster("faulty", FAULTY_ADDRESSES)],
        },
    }


class Soak:
    def __init__(self, options):
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="soak-"))
        self.log = self.folder / "access.log"
        self.lines = 0
        self.problems = []
        self.children = []
        self.port, self.admin_port, backend = free_port(), free_port(), free_port()
        programs = ROOT / ".build-soak"
        programs.mkdir(exist_ok=True)
        for name in ("backend", "rude"):
            subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-pthread", "-o", str(programs / name), str(HERE / f"{name}.c")],
                           check=True)
        self.start([str(programs / "backend"), str(backend), "127.0.0.1", *FAULTY_ADDRESSES])
        (self.folder / "proxy.json").write_text(json.dumps(configuration(self.port, self.admin_port, backend, self.log)))
        self.proxy_log = open(self.folder / "proxy.log", "wb")
        self.proxy = self.start([options.proxy, "-c", str(self.folder / "proxy.json"), "--concurrency",
                                 str(options.concurrency), "--lame-duck-time-s", "0"], stderr=self.proxy_log)
        self.wait_until("the proxy is ready", 30, self.is_ready)
        self.rude_program = str(programs / "rude")

    def start(self, command, **options):
        # Children do not outlive this, however it ends.
        options = {"stdout": subprocess.DEVNULL, "stdin": subprocess.DEVNULL, "start_new_session": True, **options}
        child = subprocess.Popen(command, preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), **options)
        self.children.append(child)
        return child

    def wait_until(self, what, seconds, condition):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                self.problems.append(f"still not so after {seconds} s: {what}")
                return False
            time.sleep(0.05)
        return True

    def admin(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=30) as response:
            return response.read().decode()

    def is_ready(self):
        try:
            return self.admin("/ready").startswith("LIVE")
        except OSError:
            return False

    def stats(self):
        pairs = (line.partition(": ") for line in self.admin("/stats").splitlines())
        return {name: int(value) for name, _, value in pairs if value.isdigit()}

    def process(self):
        """Resident bytes, descriptors and processor seconds of the proxy."""
        base = Path(f"/proc/{self.proxy.pid}")
        status = base.joinpath("status").read_text()
        resident = int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024
        fields = base.joinpath("stat").read_text().rpartition(")")[2].split()
        return resident, len(os.listdir(base / "fd")), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rotate(self):
        """Moves the access log away and counts the lines of the one before."""
        old = self.folder / "access.log.1"
        if old.exists():
            self.lines += count_lines(old)
            old.unlink()
        if self.log.exists():
            self.log.rename(old)
            self.proxy.send_signal(signal.SIGUSR1)
            self.wait_until("the access log is opened again", 30, self.log.exists)

    def clients(self):
        started = []
        for name, connections, path, script in CLIENTS:
            command = ["wrk", "-t1", f"-c{connections}", "-d86400s", "--timeout", "20s"]
            if script:
                file = self.folder / f"{script}.lua"
                file.write_text(SCRIPTS[script] + "\n")
                command += ["-s", str(file)]
            started.append((name, self.start([*command, f"http://127.0.0.1:{self.port}{path}"], stdout=subprocess.PIPE,
                                             stderr=subprocess.STDOUT)))
        rude = self.start([self.rude_program, str(self.port), "32", str(self.options.rude)], stdout=subprocess.PIPE)
        return started, rude

    def run(self):
        options = self.options
        # Once through everything, so that what is allocated for good is there.
        self.admin("/stats")
        start = self.process()
        clients, rude = self.clients()
        step = max(options.requests // options.samples, 1)
        began = last = time.monotonic()
        total, samples, reference = 0, [], None
        print(f"{'requests':>12} {'per second':>11} {'CPU':>5} {'resident KiB':>13} {'descriptors':>12} {'connections':>12}",
              flush=True)
        while total < options.requests and not self.problems:
            time.sleep(0.2)
            if self.proxy.poll() is not None:
                self.problems.append(f"the proxy ended with {self.proxy.returncode}")
                break
            for name, client in clients:
                if client.poll() is not None:
                    self.problems.append(f"wrk ({name}) ended: {client.stdout.read().decode()}")
            stats = self.stats()
            now = stats["http.soak.downstream_rq_total"]
            if now < len(samples) * step + step and now < options.requests:
                if time.monotonic() - last > 300:
                    self.problems.append("no progress for five minutes")
                continue
            moment, process = time.monotonic(), self.process()
            rate = (now - total) / (moment - last)
            print(f"{now:12} {rate:11.0f} {process[2]:5.0f} {process[0] // 1024:13} {process[1]:12} "
                  f"{stats['http.soak.downstream_cx_active']:12}", flush=True)
            total, last = now, moment
            samples.append(process)
            # A tenth of all is warm-up.
            if reference is None and total >= options.requests / 10:
                reference = process[0]
            self.rotate()
            self.proxy.send_signal(signal.SIGHUP)
        if self.proxy.poll() is None:
            self.finish(clients, rude, start)
        elapsed = time.monotonic() - began
        if reference is not None and samples:
            limit = reference + max(reference // 10, 4 * MEBIBYTE)
            highest = max(sample[0] for sample in samples)
            print(f"{total} requests in {elapsed:.0f} s; resident after warm-up {reference // 1024} KiB, highest "
                  f"{highest // 1024} KiB, allowed {limit // 1024} KiB")
            if samples[-1][0] > limit:
                self.problems.append(f"memory has grown to {samples[-1][0] // 1024} KiB")

    def finish(self, clients, rude, start):
        for _, client in clients:
            client.send_signal(signal.SIGINT)
        rude.send_signal(signal.SIGTERM)
        for name, client in clients:
            output = client.communicate(timeout=60)[0].decode()
            summary = re.search(r"(\d+) requests in", output)
            print(f"{summary.group(1) if summary else '?':>12} wrk: {name}")
            for problem in re.findall(r"Socket errors:.*|Non-2xx.*", output):
                self.problems.append(f"wrk ({name}): {problem.strip()}")
        output = rude.communicate(timeout=120)[0].decode()
        print("".join(f"  {line}\n" for line in output.splitlines()), end="")

        gauges = ["http.soak.downstream_cx_active", "http.soak.downstream_rq_active"]
        for cluster in ("good", "faulty"):
            gauges += [f"cluster.{cluster}.upstream_{name}_active" for name in ("cx", "rq", "rq_pending")]
        if not self.wait_until("gauges are back at zero", 60, lambda: not any(self.stats()[gauge] for gauge in gauges)):
            stats = self.stats()
            self.problems += [f"{gauge}: {stats[gauge]}" for gauge in gauges if stats[gauge]]
        # The question itself takes a connection, which the admin interface keeps for a moment.
        self.wait_until(f"descriptors are back at {start[1]}", 60, lambda: self.process()[1] <= start[1])
        process = self.process()
        stats = self.stats()
        requests = stats["http.soak.downstream_rq_total"]
        print(f"at rest: {process[0] // 1024} KiB resident (start: {start[0] // 1024}), {process[1]} descriptors "
              f"(start: {start[1]}); {stats['server.config_reload_success']} reloads")
        before = self.process()[2]
        time.sleep(2)
        if self.process()[2] - before > 0.2:
            self.problems.append(f"the proxy is busy though nothing happens: {self.process()[2] - before:.2f} s in 2 s")
        self.proxy.send_signal(signal.SIGTERM)
        try:
            status = self.proxy.wait(timeout=60)
            if status != 0:
                self.problems.append(f"the proxy ended with {status}")
        except subprocess.TimeoutExpired:
            self.problems.append("the proxy does not end")
        self.lines += sum(count_lines(file) for file in (self.log, self.folder / "access.log.1") if file.exists())
        if self.lines != requests:
            self.problems.append(f"{requests} requests, but {self.lines} lines in the access log")

    def close(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait()
        self.proxy_log.close()
        if self.problems:
            lines = (self.folder / "proxy.log").read_text(errors="replace").splitlines()
            print("\n".join(line for line in lines[-200:] if "[info]" not in line)[-4000:])
        shutil.rmtree(self.folder, ignore_errors=True)


def count_lines(path):
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def main():
    options = arguments()
    # So that a soak that is told to stop leaves no children behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soak = Soak(options)
    try:
        soak.run()
    finally:
        soak.close()
    for problem in soak.problems:
        print(f"soak: {problem}")
    print("soak: " + ("FAILED" if soak.problems else "passed"))
    return 1 if soak.problems else 0


if __name__ == "__main__":
    sys.exit(main())
