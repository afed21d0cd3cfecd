"""Starts a proxy and the services around it, waits until they are ready, and ends them again."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
START_DEADLINE = 20.0
STOP_DEADLINE = 3.0

# Configuration: (port of the admin interface, workers, {name of a service: (port, role and arguments)}).
SYSTEMS = {
    "delivery-shop": (8089, 1, {
        "order": (8081, "order", "8090"),
        "payment": (8082, "payment"),
        "payment-later": (8085, "payment-later"),
        "fishstore": (8083, "store"),
        "delivery": (8084, "store"),
    }),
    "sock-shop": (8078, 1, {
        "front-end": (8070, "front-end", "8071"),
        "catalogue": (8073, "catalogue"),
        "carts": (8072, "carts"),
    }),
    "storm": (8127, 1, {"endpoints": (8130, "endpoints", "10")}),
    "rate": (8129, 2, {}),
}


class Failed(Exception):
    """A system does not start, or what must happen does not."""


def request(port, path, method="GET", body=None, timeout=10.0):
    """(status, text) of one request on a new connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def wait_until(holds, what, seconds=START_DEADLINE):
    """Waits for something that must come to hold, and returns what it is then."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := holds():
                return found
        except (OSError, http.client.HTTPException):
            pass
        if time.monotonic() > deadline:
            raise Failed(f"in {seconds:g} seconds it did not happen that {what}")
        time.sleep(0.01)


def proxy_path():
    """The program in $PROXY, or else the one that was built last in this checkout."""
    if os.environ.get("PROXY"):
        path = shutil.which(os.environ["PROXY"])
        if not path:
            raise Failed(f"PROXY={os.environ['PROXY']} is not a program")
        return path
    for scratch in (".build-static", ".build"):
        path = ROOT / scratch / "release" / "martlet-proxy"
        if path.exists():
            return str(path)
    raise Failed("martlet-proxy is not built: run scripts/demo, or `swift build -c release`, or set PROXY")


class System:
    """One of the systems while it runs. Use it as a context: leaving it ends every process that it started."""

    def __init__(self, name):
        self.name = name
        self.admin, self.workers, self.services = SYSTEMS[name]
        self.processes = {}
        self.logs = Path(tempfile.mkdtemp(prefix=f"{name}-"))

    def __enter__(self):
        try:
            for name, (port, *_) in {"proxy": (self.admin,), **self.services}.items():
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        raise Failed(f"port {port} of {name} is in use on 127.0.0.1: is the example already running?")
            for name in self.services:
                self.start(name)
            self.run("proxy", [proxy_path(), "--config-path", str(HERE / f"{self.name}.yaml"), "--concurrency", str(self.workers),
                               "--disable-hot-restart", "--drain-time-s", "1", "--file-flush-interval-msec", "50"])
            self.wait("proxy", lambda: request(self.admin, "/ready", timeout=1.0)[0] == 200)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self, name):
        """Starts a service, also one that was ended before."""
        port, *role = self.services[name]
        self.run(name, [sys.executable, str(HERE / "services.py"), role[0], str(port), *role[1:]])
        self.wait(name, lambda: socket.create_connection(("127.0.0.1", port), 1.0).close() is None)

    def run(self, name, command, text=False):
        with open(self.logs / f"{name}.log", "ab") as log:
            # A session of its own: Ctrl-C reaches this process only, which then ends the others in order.
            self.processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if text else log,
                                                    stderr=log, start_new_session=True)
        return self.processes[name]

    def wait(self, name, ready):
        def holds():
            if self.processes[name].poll() is not None:
                raise Failed(f"{name} ended with status {self.processes[name].returncode}\n{self.log(name)}")
            return ready()

        try:
            wait_until(holds, f"{name} is ready")
        except Failed as error:
            raise Failed(f"{error}\n{self.log(name)}") from None

    def signal(self, name, number):
        self.processes[name].send_signal(number)
        if number == signal.SIGKILL:
            self.processes[name].wait()

    def log(self, name, lines=15):
        text = (self.logs / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(f"  {name}: {line[:300]}" for line in text[-lines:])

    def calls(self):
        """The proxy's access log: a dictionary for each line."""
        lines = (self.logs / "proxy.log").read_text(errors="replace").splitlines()
        return [dict(word.split("=", 1) for word in line.split(" ")[1:]) for line in lines if line.startswith("call ")]

    def statistics(self, pattern=""):
        """Counters and gauges by name."""
        text = request(self.admin, f"/stats?filter={pattern}")[1]
        return {name: int(value) for name, value in re.findall(r"^(\S+): (\d+)$", text, re.MULTILINE)}

    def statistic(self, name):
        return self.statistics(name.replace(".", r"\.")).get(name, 0)

    def seen(self, service):
        return json.loads(request(self.services[service][0], "/seen")[1])

    def tell(self, service, path, **values):
        status, _ = request(self.services[service][0], path, "PUT", values)
        if status != 200:
            raise Failed(f"{service} does not take {path}: {status}")

    def load(self, url, *options):
        """Starts load.py; `result` ends it."""
        return self.run("load", [sys.executable, str(HERE / "load.py"), url, *map(str, options)], text=True)

    def siege(self, url, body, connections):
        """Starts siege, which POSTs until `result` ends it."""
        (self.logs / "siegerc").write_text(
            "verbose = false\njson_output = true\nprotocol = HTTP/1.1\nconnection = keep-alive\nbenchmark = true\nparser = false\n"
            "failures = 1000000000\n")
        return self.run("load", ["env", f"HOME={self.logs}", "siege", "-R", str(self.logs / "siegerc"), f"-c{connections}", "-t600S",
                                 "--content-type=application/json", f"{url} POST {body}"], text=True)

    def result(self, seconds=30.0, now=True):
        """What the load says in the end."""
        process = self.processes["load"]
        if now:
            process.send_signal(signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"the load does not end\n{self.log('load')}") from None
        found = output.decode()
        if "{" not in found:
            raise Failed(f"the load says nothing: {found}\n{self.log('load')}")
        return json.loads(found[found.index("{"): found.rindex("}") + 1])

    def stop(self):
        # A second Ctrl-C must not leave anybody behind.
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        running = [process for process in reversed(self.processes.values()) if process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + STOP_DEADLINE
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = {}
        shutil.rmtree(self.logs, ignore_errors=True)
        for number, handler in handlers.items():
            signal.signal(number, handler)
