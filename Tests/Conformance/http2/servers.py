"""What is tested: a proxy that is started for it (Martlet, Envoy, HAProxy), or a server that runs already."""

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path

from .backend import Backend
from .upstream import Upstream

TYPES = "type.googleapis.com/envoy.extensions"
START_DEADLINE = 30.0
STREAMS = 100  # at a time on one connection
_next = 0


def typed(name, path, **fields):
    return {"name": name, "typed_config": {"@type": f"{TYPES}.{path}", **fields}}


def address_of(address):
    return {"socket_address": {"address": address[0], "port_value": address[1]}}


def free_ports(host, count):
    """Ports at which nobody listens, below the range that the kernel hands out."""
    ports, port = [], 20000
    while len(ports) < count:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                ports.append(port)
            except OSError:
                pass
        port += 1
    return ports


def client_context():
    """Accepts any certificate: who the server is does not matter here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


class Server:
    """One that runs already, at an address; nothing of it can be configured or measured."""

    started = True
    backend = None
    upstreams = {}
    ended = None

    def __init__(self, address, tls):
        self.address = address
        self.tls = client_context() if tls else None

    def address_for(self, case):
        return self.address

    async def start(self):
        return True

    async def stop(self):
        pass

    def log(self, lines):
        return []


class Proxy(Server):
    """A process with a listener for each set of options that a case wants; all have the same backend."""

    def __init__(self, program, cases, tls, log_level):
        global _next
        super().__init__(None, tls)
        self.program = program
        self.log_level = log_level
        self.folder = Path(tempfile.mkdtemp(prefix="conformance-http2-"))
        self.process = None
        self.ended = asyncio.Event()
        # A loopback address of our own: nobody else's connections or listeners are in the way.
        number = (os.getpid() * 7 + _next) % 65024 + 256
        _next += 1
        self.host = f"127.{64 + number % 61}.{number >> 8}.{number % 254 + 1}"
        self.backend = Backend(self.host)
        self.sites = [{}]
        for case in cases:
            if case.site not in self.sites:
                self.sites.append(case.site)
        served = [case for case in cases if case.upstream]
        self.admin, *ports = [(self.host, port)
                              for port in free_ports(self.host, len(self.sites) + len(served) + 1)]
        self.ports = dict(zip(map(str, self.sites), ports))
        self.upstreams = {case.id: Upstream(*port) for case, port in zip(served, ports[len(self.sites):])}
        self.tokens = {case.id: case.token for case in served}
        self.path = self.folder / "configuration.yaml"  # Envoy looks at the end of the name
        if tls:
            self.certificate, self.key = certificate(self.folder)

    def address_for(self, case):
        return self.ports[str(case.site)]

    def command(self):
        raise NotImplementedError

    def configuration(self):
        raise NotImplementedError

    async def start(self):
        self.path.write_text(self.configuration())
        await self.backend.start()
        for upstream in self.upstreams.values():
            await upstream.start()
        with open(self.folder / "log", "wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command(), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.watcher = asyncio.create_task(self.watch())
        try:
            async with asyncio.timeout(START_DEADLINE):
                while not self.ended.is_set():
                    if await self.ready():
                        return True
                    try:
                        await asyncio.wait_for(self.ended.wait(), 0.05)
                    except TimeoutError:
                        pass
        except TimeoutError:
            pass
        return False

    async def ready(self):
        try:
            _, writer = await asyncio.open_connection(*next(iter(self.ports.values())))
            writer.close()
            return True
        except OSError:
            return False

    async def watch(self):
        await self.process.wait()
        self.ended.set()

    async def stop(self):
        if self.process and self.process.returncode is None:
            for number in (signal.SIGINT, signal.SIGKILL):
                try:
                    # Not the process object's own methods: they may take the status from the task that waits for it.
                    os.kill(self.process.pid, number)
                    await asyncio.wait_for(self.ended.wait(), 3)
                    break
                except ProcessLookupError:
                    break
                except TimeoutError:
                    pass
        if self.process:
            await self.backend.stop()
            for upstream in self.upstreams.values():
                await upstream.stop()

    def resident(self):
        """Bytes of memory that the process has."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def log(self, lines):
        path = self.folder / "log"
        text = path.read_text(errors="replace").splitlines() if path.exists() else []
        return [line[:400] for line in text[-lines:]]


class MeshProxy(Proxy):
    """Martlet or Envoy, with the same configuration."""

    def command(self):
        return [self.program, "-c", str(self.path), "--concurrency", "1", "--disable-hot-restart",
                "--drain-time-s", "1", "-l", self.log_level]

    async def ready(self):
        try:
            return (await self.get("/ready"))[0] == 200
        except (OSError, ValueError):
            return False

    async def get(self, path):
        reader, writer = await asyncio.open_connection(*self.admin)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            return int(head.split(b" ")[1]), (await reader.read()).decode("latin-1")
        except asyncio.IncompleteReadError as error:
            raise OSError("the admin interface closed the connection") from error
        finally:
            writer.close()

    async def leaks(self, deadline):
        """Gauges that are not back at zero though no connection is left, after at most `deadline` seconds."""
        left = []
        try:
            async with asyncio.timeout(deadline):
                while True:
                    _, text = await self.get("/stats?filter=_active$")
                    pairs = (line.partition(": ") for line in text.replace("\r", "").splitlines())
                    left = [f"{name}: {value}" for name, _, value in pairs if value not in ("", "0")
                            and name.startswith(("http.site", "cluster.backend"))]
                    if not left:
                        return []
                    await asyncio.sleep(0.05)
        except (TimeoutError, OSError) as error:
            return left or [f"no statistics: {error}"]

    def configuration(self):
        return json.dumps({
            "node": {"id": "conformance", "cluster": "conformance"},
            "admin": {"address": address_of(self.admin)},
            "static_resources": {
                "listeners": [self.listener(number, site) for number, site in enumerate(self.sites)],
                "clusters": [{
                    "name": "backend",
                    "type": "STATIC",
                    "connect_timeout": "5s",
                    "per_connection_buffer_limit_bytes": 32768,
                    "circuit_breakers": {"thresholds": [{name: 100000 for name in (
                        "max_connections", "max_pending_requests", "max_requests")}]},
                    "load_assignment": {"cluster_name": "backend", "endpoints": [{"lb_endpoints": [
                        {"endpoint": {"address": address_of(self.backend.address)}}]}]},
                }] + [self.cluster(self.tokens[name], each) for name, each in self.upstreams.items()],
            },
        }, indent=1)

    def cluster(self, name, upstream):
        """One of HTTP/2, for one case."""
        options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        return {
            "name": name,
            "type": "STATIC",
            "connect_timeout": "5s",
            "per_connection_buffer_limit_bytes": 32768,
            "typed_extension_protocol_options": {options: {
                "@type": f"type.googleapis.com/{options}",
                "explicit_http_config": {"http2_protocol_options": {
                    "initial_stream_window_size": 65536, "initial_connection_window_size": 1048576}}}},
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": address_of(upstream.address)}}]}]},
        }

    def routes(self):
        return [{"match": {"prefix": f"/{token}/"}, "route": {"cluster": token, "timeout": "2s"}}
                for token in self.tokens.values()] + [
                    {"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "0s"}}]

    def listener(self, number, site):
        manager = typed(
            "envoy.filters.network.http_connection_manager",
            "filters.network.http_connection_manager.v3.HttpConnectionManager",
            codec_type="AUTO",
            stat_prefix=f"site{number}",
            use_remote_address=True,
            drain_timeout="0.1s",
            delayed_close_timeout="0.5s",
            common_http_protocol_options={name: site[name] for name in ("idle_timeout",) if name in site},
            http2_protocol_options={
                "max_concurrent_streams": STREAMS,
                "initial_stream_window_size": 65536,
                "initial_connection_window_size": 1048576,
            },
            **{name: site[name] for name in ("request_headers_timeout", "stream_idle_timeout") if name in site},
            route_config={"name": f"site{number}", "virtual_hosts": [
                {"name": "any", "domains": ["*"], "routes": self.routes()}]},
            http_filters=[typed("envoy.filters.http.router", "filters.http.router.v3.Router")],
        )
        chain = {"filters": [manager]}
        if self.tls:
            chain["transport_socket"] = typed(
                "envoy.transport_sockets.tls", "transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context={
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_certificates": [{"certificate_chain": {"filename": str(self.certificate)},
                                          "private_key": {"filename": str(self.key)}}],
                })
        return {
            "name": f"site{number}",
            "address": address_of(self.address_for_site(site)),
            "per_connection_buffer_limit_bytes": 32768,
            "filter_chains": [chain],
        }

    def address_for_site(self, site):
        return self.ports[str(site)]


class HAProxy(Proxy):
    def command(self):
        return [self.program, "-f", str(self.path), "-db"]

    def configuration(self):
        binds = ""
        if self.tls:
            both = self.folder / "both.pem"
            both.write_text(self.certificate.read_text() + self.key.read_text())
        for number, site in enumerate(self.sites):
            host, port = self.ports[str(site)]
            how = f"ssl crt {both} alpn h2,http/1.1" if self.tls else "proto h2"
            idle, head = site.get("idle_timeout", "60s"), site.get("request_headers_timeout", "60s")
            binds += (f"frontend site{number}\n  bind {host}:{port} {how}\n  timeout client "
                      f"{milliseconds(site.get('stream_idle_timeout', idle))}ms\n  timeout http-request "
                      f"{milliseconds(head)}ms\n  timeout http-keep-alive {milliseconds(idle)}ms\n"
                      "  default_backend all\n")
        host, port = self.backend.address
        return ("global\n  nbthread 1\n  tune.h2.max-concurrent-streams 100\ndefaults\n  mode http\n"
                "  timeout connect 5s\n  timeout server 60s\n  timeout client 60s\n"
                f"{binds}backend all\n  server one {host}:{port}\n")


def milliseconds(text):
    return int(float(text.removesuffix("s")) * 1000)


def certificate(folder):
    """(certificate, key) for localhost, made now."""
    files = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2",
                    "-out", str(files[0]), "-keyout", str(files[1])], check=True, capture_output=True)
    return files


def start(program, cases, tls, log_level):
    kind = HAProxy if Path(program).name.startswith("haproxy") else MeshProxy
    return kind(program, cases, tls, log_level)
