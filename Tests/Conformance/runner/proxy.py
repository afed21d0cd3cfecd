"""The proxy under test: its configuration (a listener and a cluster for each case), its process, its statistics."""

import asyncio
import json
import os
import signal
import socket
import tempfile
from pathlib import Path

TYPES = "type.googleapis.com/envoy.extensions"
START_DEADLINE = 30.0


def typed(name, path, **fields):
    return {"name": name, "typed_config": {"@type": f"{TYPES}.{path}", **fields}}


def present(options, *names):
    """The options of these names that the case gives, as fields."""
    return {name: value(options[name]) for name in names if name in options}


def value(text):
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isdigit() else text


def address_of(address):
    return {"socket_address": {"address": address[0], "port_value": address[1]}}


def listener(case, address):
    options = case.options
    upstream = {"match": {"prefix": "/"}, "route": {"cluster": case.id, "timeout": options.get("timeout", "0s")}}
    if "prefix_rewrite" in options:
        upstream["route"]["prefix_rewrite"] = options["prefix_rewrite"]
    direct = {"match": {"path": "/direct"}, "direct_response": {"status": 200, "body": {"inline_string": "direct"}}}
    named = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "named"}}}
    filters = []
    if "buffer" in options:
        filters.append(typed("envoy.filters.http.buffer", "filters.http.buffer.v3.Buffer",
                             max_request_bytes=int(options["buffer"])))
    if "fault" in options:
        filters.append(typed("envoy.filters.http.fault", "filters.http.fault.v3.HTTPFault", abort={
            "http_status": int(options["fault"]), "percentage": {"numerator": 100}}))
    filters.append(typed("envoy.filters.http.router", "filters.http.router.v3.Router"))
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        codec_type=options.get("codec_type", "AUTO"),
        stat_prefix=case.id,
        use_remote_address=True,
        drain_timeout="0.1s",
        common_http_protocol_options=present(options, "idle_timeout", "max_headers_count", "max_connection_duration",
                                             "max_requests_per_connection", "max_stream_duration"),
        http_protocol_options=http1_options(options),
        **present(options, "request_headers_timeout", "request_timeout", "stream_idle_timeout", "max_request_headers_kb",
                  "delayed_close_timeout", "server_name"),
        route_config={
            "name": case.id,
            "virtual_hosts": [
                {"name": "named", "domains": ["named.example", "*.named.example"], "routes": [named]},
                {"name": "nothing", "domains": ["nothing.example"], "routes": [
                    {"match": {"path": "/only-this"}, "direct_response": {"status": 200}}]},
                {"name": "any", "domains": ["*"], "routes": [direct, upstream]},
            ],
        },
        http_filters=filters,
    )
    return {
        "name": case.id,
        "address": address_of(address),
        "per_connection_buffer_limit_bytes": int(options.get("limit", 1 << 20)),
        "filter_chains": [{"filters": [manager]}],
    }


def http1_options(options):
    fields = present(options, "accept_http_10", "default_host_for_http_10", "allow_absolute_url")
    if "proper_case_words" in options:
        fields["header_key_format"] = {"proper_case_words": {}}
    return fields


def cluster(case, address):
    options = case.options
    http = present(options, "upstream_idle_timeout", "upstream_max_requests_per_connection")
    http = {name.removeprefix("upstream_"): value for name, value in http.items()}
    body = {
        "name": case.id,
        "type": "STATIC",
        "connect_timeout": options.get("connect_timeout", "5s"),
        "per_connection_buffer_limit_bytes": int(options.get("limit", 1 << 20)),
        "circuit_breakers": {"thresholds": [present(options, "max_connections", "max_pending_requests", "max_requests")]},
        "load_assignment": {
            "cluster_name": case.id,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address_of(address)}}] if address else []}],
        },
    }
    if http:
        body["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": http,
            "explicit_http_config": {"http_protocol_options": {}},
        }}
    return body


class Proxy:
    """The process. `ended` is set as soon as it is gone."""

    def __init__(self, path, cases, upstreams, log_level):
        self.path = path
        self.log_level = log_level
        self.folder = Path(tempfile.mkdtemp(prefix="conformance-"))
        self.log_path = self.folder / "proxy.log"
        self.ended = asyncio.Event()
        self.process = None
        # A loopback address of our own: nobody else's connections or listeners are in the way.
        number = os.getpid() % 65024 + 256
        self.host = f"127.{64 + number % 61}.{number >> 8}.{number % 254 + 1}"
        ports = free_ports(self.host, len(cases) + 1)
        self.admin = (self.host, ports.pop())
        self.listeners = {case.id: (self.host, port) for case, port in zip(cases, ports)}
        (self.folder / "proxy.yaml").write_text(json.dumps({
            "node": {"id": "conformance", "cluster": "conformance"},
            "admin": {"address": address_of(self.admin)},
            "static_resources": {
                "listeners": [listener(case, self.listeners[case.id]) for case in cases],
                "clusters": [cluster(case, upstreams[case.id]) for case in cases],
            },
        }, indent=1))

    async def start(self):
        with open(self.log_path, "wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                self.path, "-c", str(self.folder / "proxy.yaml"), "--concurrency", "1", "--disable-hot-restart",
                "--drain-time-s", "1", "-l", self.log_level, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        asyncio.create_task(self._watch())
        try:
            async with asyncio.timeout(START_DEADLINE):
                while not self.ended.is_set():
                    try:
                        if (await self.get("/ready"))[0] == 200:
                            return True
                    except (OSError, ValueError):
                        pass
                    try:
                        await asyncio.wait_for(self.ended.wait(), 0.05)
                    except TimeoutError:
                        pass
        except TimeoutError:
            pass
        return False

    async def _watch(self):
        await self.process.wait()
        self.ended.set()

    async def get(self, path):
        reader, writer = await asyncio.open_connection(*self.admin)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            return int(head.split(b" ")[1]), head + await reader.read()
        except asyncio.IncompleteReadError as error:
            raise OSError("the admin endpoint closed the connection") from error
        finally:
            writer.close()

    async def leaks(self, cases, deadline):
        """Gauges that are not back at zero though no connection is left, after at most `deadline` seconds."""
        wanted = {f"http.{case.id}.{name}" for case in cases for name in ("downstream_cx_active", "downstream_rq_active")}
        wanted |= {f"cluster.{case.id}.{name}" for case in cases for name in ("upstream_cx_active", "upstream_rq_active")}
        left = []
        try:
            async with asyncio.timeout(deadline):
                while True:
                    _, text = await self.get("/stats")
                    pairs = (line.partition(": ") for line in text.decode("latin-1").replace("\r", "").splitlines())
                    left = [f"{name}: {value}" for name, _, value in pairs if name in wanted and value != "0"]
                    if not left:
                        return []
                    await asyncio.sleep(0.05)
        except (TimeoutError, OSError) as error:
            return left or [f"no statistics: {error}"]

    async def stop(self):
        if self.process and self.process.returncode is None:
            # Not the process object's own methods: they may take the exit status from the task that waits for it.
            os.kill(self.process.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(self.ended.wait(), 3)
            except TimeoutError:
                os.kill(self.process.pid, signal.SIGKILL)
                await self.ended.wait()

    def log(self, lines):
        text = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        return [line[:400] for line in text[-lines:]]


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
