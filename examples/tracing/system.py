"""Starts the processes of this example, waits until they are ready, and ends them again: those of ../front-proxy, with
other configurations, and a collector."""

import importlib.util
import re
import socket
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
specification = importlib.util.spec_from_file_location("front_proxy_system", HERE.parent / "front-proxy/system.py")
front_proxy = importlib.util.module_from_spec(specification)
sys.modules[specification.name] = front_proxy
specification.loader.exec_module(front_proxy)

FRONT_PROXY, PAGE = front_proxy.FRONT_PROXY, 16686
COLLECTOR = {"zipkin": 9411, "otlp-http": 4318, "otlp-grpc": 4317}
NEVER_ANSWERS = 8220  # what service2 calls for /trace/slow
StartFailed, request = front_proxy.StartFailed, front_proxy.request

# What may stand in the place of the provider that the configurations have.
ZIPKIN = """provider:
  name: envoy.tracers.zipkin
  typed_config:
    "@type": type.googleapis.com/envoy.config.trace.v3.ZipkinConfig
    collector_cluster: zipkin
    collector_endpoint: /api/v2/spans
    collector_endpoint_version: HTTP_JSON
    shared_span_context: {shared}
"""
OTLP_GRPC = """provider:
  name: envoy.tracers.opentelemetry
  typed_config:
    "@type": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig
    grpc_service: {{envoy_grpc: {{cluster_name: otlp-grpc}}, timeout: 1s}}
    service_name: {service}
"""
PROVIDERS = {
    "otlp-http": None,
    "otlp-grpc": OTLP_GRPC,
    "zipkin": ZIPKIN.replace("{shared}", "false"),
    "zipkin-shared": ZIPKIN.replace("{shared}", "true"),
}
PROVIDER = re.compile(r"^( +)provider:\n(?:\1 .*\n)+", re.MULTILINE)


def configuration(name, provider):
    """The text of a proxy's configuration, with this provider."""
    text = (HERE / f"{name}.yaml").read_text()
    if PROVIDERS[provider] is None:
        return text
    service = name.removesuffix("-sidecar")
    return PROVIDER.sub(lambda match: "".join(
        match[1] + line + "\n" for line in PROVIDERS[provider].format(service=service).splitlines()), text)


class System(front_proxy.System):
    def __init__(self, provider="otlp-http", proxy=None):
        super().__init__()
        self.provider = provider
        self.proxy = proxy or self.proxy
        self.hole = socket.create_server(("127.0.0.1", NEVER_ANSWERS))

    def __enter__(self):
        try:
            self.check_ports_free()
            self.start("collector", [sys.executable, str(HERE / "collector.py")])
            self.wait_until_ready("collector", PAGE, time.monotonic() + front_proxy.START_DEADLINE)
        except BaseException:
            self.stop()
            raise
        return super().__enter__()

    def check_ports_free(self):
        if self.processes:
            return  # only the collector, which is ours
        super().check_ports_free()
        for port in (PAGE, *COLLECTOR.values()):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    raise StartFailed(f"port {port} is in use on 127.0.0.1: is a collector running there?")

    def start(self, name, command):
        """A proxy with its configuration of this folder, a service with its calls."""
        if name in front_proxy.ADMIN:
            path = self.logs / f"{name}.yaml"
            path.write_text(configuration(name, self.provider))
            command[command.index("--config-path") + 1] = str(path)
        elif name == "service2":
            command.append(f"/trace/slow=http://127.0.0.1:{NEVER_ANSWERS}/")
        super().start(name, command)

    def stop(self):
        self.hole.close()
        super().stop()

    def collected(self):
        """(all spans that came so far, what of it could not be read)."""
        answer = request(PAGE, "/spans").json()
        return answer["spans"], answer["errors"]

    def trace(self, headers, count, deadline=10.0, path="/trace/1"):
        """(the response, the spans of one request), when there are `count` of them."""
        before = len(self.collected()[0])
        response = request(FRONT_PROXY, path, headers)
        end = time.monotonic() + deadline
        while True:
            spans = self.collected()[0][before:]
            if len(spans) >= count or time.monotonic() > end:
                return response, sorted(spans, key=lambda span: (span["start"], span["shared"]))
            time.sleep(0.02)
