"""Starts the shop's services, the six proxies of its mesh, customers and a Prometheus, and ends them again."""

import http.client
import json
import os
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
START_DEADLINE = 30.0
STOP_DEADLINE = 4.0

PROMETHEUS = 8690
# Proxy: (its configuration, the port of its admin interface, what is filled in).
PROXIES = {
    "edge": ("edge", 8609, {}),
    "shop": ("shop", 8619, {}),
    "catalogue-v1": ("service", 8629, {"SERVICE": "catalogue", "VERSION": "v1", "INBOUND": 8620, "PORT": 8625}),
    "catalogue-v2": ("service", 8639, {"SERVICE": "catalogue", "VERSION": "v2", "INBOUND": 8630, "PORT": 8635}),
    "payment-v1": ("service", 8649, {"SERVICE": "payment", "VERSION": "v1", "INBOUND": 8640, "PORT": 8645}),
    "ledger": ("ledger", 8659, {}),
}
SERVICE_PORTS = (8615, 8625, 8635, 8645, 8655, 8665, 9411)


class Failed(Exception):
    """The system does not start, or what must happen does not."""


def request(port, path, method="GET", body=None, timeout=10.0):
    """(status, text) of one request on a new connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body)
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
        time.sleep(0.05)


def program(variable, name):
    """The program that an environment variable names, or one on PATH."""
    path = shutil.which(os.environ.get(variable) or name)
    if not path:
        raise Failed(f"there is no {os.environ.get(variable) or name}: scripts/install-dependencies --test, or set {variable}")
    return path


def proxy_path():
    """The program in $PROXY, or else the one that was built last in this checkout."""
    if os.environ.get("PROXY"):
        return program("PROXY", "")
    for scratch in (".build-static", ".build"):
        path = ROOT / scratch / "release" / "martlet-proxy"
        if path.exists():
            return str(path)
    raise Failed("martlet-proxy is not built: run scripts/demo, or `swift build -c release`, or set PROXY")


class Certificates:
    """An authority of the mesh, and a certificate with a SPIFFE identity for each workload."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.openssl("req", "-x509", *self.key("ca"), "-subj", "/O=shop", "-days", "60", "-out", "ca.pem")
        for name in PROXIES:
            self.issue(name)

    def key(self, name):
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}-key.pem"

    def issue(self, workload, days=30):
        account = workload.removesuffix("-v1").removesuffix("-v2")
        names = self.folder / f"{workload}.names"
        names.write_text(f"subjectAltName=URI:spiffe://cluster.local/ns/shop/sa/{account}\n")
        self.openssl("req", "-new", *self.key(workload), "-subj", "/O=shop", "-out", f"{workload}.csr")
        self.openssl("x509", "-req", "-in", f"{workload}.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days",
                     str(days), "-extfile", names.name, "-out", f"{workload}.pem")

    def openssl(self, *arguments):
        run = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=30, check=False)
        if run.returncode != 0:
            raise Failed(f"openssl {arguments[0]}: {run.stderr}")


class System:
    """The shop while it runs. Use it as a context: leaving it ends every process that it started."""

    def __init__(self, rate=50):
        self.rate = rate
        self.processes = {}
        self.folder = Path(tempfile.mkdtemp(prefix="observability-"))
        self.prometheus_configuration = HERE / "prometheus" / "prometheus.yml"

    def __enter__(self):
        try:
            admin = [port for _, port, _ in PROXIES.values()]
            for port in (*SERVICE_PORTS, *admin, PROMETHEUS, 8600):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        raise Failed(f"port {port} is in use on 127.0.0.1: is the example already running?")
            self.certificates = Certificates(self.folder / "certificates")
            self.run("services", [sys.executable, str(HERE / "services.py")])
            for port in SERVICE_PORTS:
                self.wait("services", lambda port=port: socket.create_connection(("127.0.0.1", port), 1.0).close() is None)
            for name in PROXIES:
                self.write_configuration(name)
                self.run(name, [proxy_path(), "--config-path", f"{name}.yaml", "--concurrency", "1", "--disable-hot-restart",
                                "--drain-time-s", "1"])
            for name, (_, port, _) in PROXIES.items():
                self.wait(name, lambda port=port: request(port, "/ready", timeout=1.0)[0] == 200)
            self.start_prometheus()
            self.run("load", [sys.executable, str(HERE / "load.py"), "--rate", str(self.rate)])
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def write_configuration(self, name, mistake=""):
        """Fills a proxy's configuration in. - mistake: a line that does not belong there."""
        file, port, values = PROXIES[name]
        template = string.Template((HERE / "mesh" / f"{file}.yaml").read_text(encoding="utf-8"))
        filled = template.substitute(ADMIN=port, **values)
        (self.folder / f"{name}.yaml").write_text(filled + mistake, encoding="utf-8")

    def start_prometheus(self):
        self.run("prometheus", [program("PROMETHEUS", "prometheus"), f"--config.file={self.prometheus_configuration}",
                                f"--storage.tsdb.path={self.folder / 'prometheus'}", f"--web.listen-address=127.0.0.1:{PROMETHEUS}",
                                "--enable-feature=exemplar-storage", "--log.level=warn"])
        self.wait("prometheus", lambda: request(PROMETHEUS, "/-/ready", timeout=1.0)[0] == 200)

    def run(self, name, command):
        with open(self.folder / f"{name}.log", "ab") as log:
            # A session of its own: Ctrl-C reaches this process only, which then ends the others in order.
            self.processes[name] = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                    start_new_session=True)
        return self.processes[name]

    def wait(self, name, ready):
        def holds():
            if self.processes[name].poll() is not None:
                raise Failed(f"{name} ended with status {self.processes[name].returncode}\n{self.tail(name)}")
            return ready()

        try:
            wait_until(holds, f"{name} is ready")
        except Failed as error:
            raise Failed(f"{error}\n{self.tail(name)}") from None

    def end(self, name):
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace").splitlines()

    def tail(self, name, lines=15):
        return "\n".join(f"  {name}: {line[:300]}" for line in self.log(name)[-lines:])

    def trouble(self, **what):
        status, _ = request(8615, "/trouble", "PUT", json.dumps(what))
        if status != 200:
            raise Failed(f"the services do not take {what}")

    def admin(self, name, path, method="GET"):
        return request(PROXIES[name][1], path, method)

    def stop(self):
        # A second Ctrl-C must not leave anybody behind.
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
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
        shutil.rmtree(self.folder, ignore_errors=True)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def query(expression, at=None):
    """The samples of an instant query: [(labels, value)]."""
    asked = {"query": expression} | ({"time": at} if at else {})
    status, text = request(PROMETHEUS, "/api/v1/query?" + urllib.parse.urlencode(asked))
    answer = json.loads(text)
    if status != 200:
        raise Failed(f"{expression}: {answer.get('error')}")
    result = answer["data"]["result"]
    return [(sample["metric"], float(sample["value"][1])) for sample in result] if answer["data"]["resultType"] == "vector" else result
