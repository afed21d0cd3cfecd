"""Starts the five processes of this example, waits until they are ready, and ends them again."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
START_DEADLINE = 15.0
STOP_DEADLINE = 3.0

FRONT_PROXY = 8000
ADMIN = {"front-proxy": 8001, "service1-sidecar": 8101, "service2-sidecar": 8201}
SERVICE = {"service1": 8110, "service2": 8210}
CALLS = {"service1": ["/trace/1=http://127.0.0.1:8120/trace/2"], "service2": []}


class StartFailed(Exception):
    pass


@dataclass
class Response:
    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


def request(port, path, headers=None, method="GET", timeout=10.0):
    """One request on a new connection; header names of the answer are in lower case."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        body = response.read()
        return Response(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
    finally:
        connection.close()


def proxy_path():
    """The program in $PROXY, or else the one that was built last in this checkout."""
    if os.environ.get("PROXY"):
        path = shutil.which(os.environ["PROXY"])
        if not path:
            raise StartFailed(f"PROXY={os.environ['PROXY']} is not a program")
        return path
    for scratch in (".build-static", ".build"):
        path = ROOT / scratch / "release" / "martlet-proxy"
        if path.exists():
            return str(path)
    raise StartFailed("martlet-proxy is not built: run scripts/demo, or `swift build -c release`, or set PROXY")


class System:
    """The example while it runs. Use it as a context: leaving it ends every process that it started."""

    def __init__(self):
        self.proxy = proxy_path()
        self.processes = {}
        self.logs = Path(tempfile.mkdtemp(prefix="front-proxy-"))
        version = subprocess.run([self.proxy, "--version"], capture_output=True, text=True, timeout=10, check=False)
        self.is_martlet = "martlet" in (version.stdout + version.stderr).lower()

    def __enter__(self):
        try:
            self.check_ports_free()
            for name, port in SERVICE.items():
                self.start(name, [sys.executable, str(HERE / "service.py"), name, str(port), *CALLS[name]])
            for name in ADMIN:
                self.start(name, [self.proxy, "--config-path", str(HERE / f"{name}.yaml"), "--concurrency", "1",
                                  "--disable-hot-restart", "--drain-time-s", "1"])
            deadline = time.monotonic() + START_DEADLINE
            for name, port in {**SERVICE, **ADMIN}.items():
                self.wait_until_ready(name, port, deadline)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def check_ports_free(self):
        """Without this a process that is already there would be taken for ours."""
        for port in (FRONT_PROXY, *ADMIN.values(), *SERVICE.values()):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    raise StartFailed(f"port {port} is in use on 127.0.0.1: is the example already running?")

    def start(self, name, command):
        with open(self.logs / f"{name}.log", "wb") as log:
            # A session of its own: Ctrl-C reaches this process only, which then ends the others in order.
            self.processes[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                    start_new_session=True)

    def wait_until_ready(self, name, port, deadline):
        while True:
            self.check_alive()
            try:
                if request(port, "/ready", timeout=1.0).status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > deadline:
                raise StartFailed(f"{name} was not ready within {START_DEADLINE:.0f} s\n{self.log(name)}")
            time.sleep(0.02)

    def check_alive(self):
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise StartFailed(f"{name} ended with status {process.returncode}\n{self.log(name)}")

    def log(self, name, lines=15):
        text = (self.logs / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(f"  {name}: {line[:300]}" for line in text[-lines:])

    def stop(self):
        # A second Ctrl-C must not leave anybody behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        # From the outside in, so that nobody sees an error on the way down.
        running = [process for process in reversed(self.processes.values()) if process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_DEADLINE
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = {}
        shutil.rmtree(self.logs, ignore_errors=True)

    def counter(self, name, counter):
        """A statistic of one of the proxies."""
        text = request(ADMIN[name], "/stats").body.decode()
        for line in text.splitlines():
            key, _, value = line.partition(": ")
            if key == counter:
                return int(value)
        return 0
