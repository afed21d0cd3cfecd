"""A file's cases as one configuration: each has its own listener and its own clusters."""

import json
import re
import textwrap
import time

from .client import Kind

TYPES = "type.googleapis.com/envoy.extensions"
# One line for each request, `name=value` separated by tabs.
TCP_LOG = "\t".join(f"{name}=%{operator}%" for name, operator in {
    "flags": "RESPONSE_FLAGS",
    "received": "BYTES_RECEIVED",
    "sent": "BYTES_SENT",
    "cluster": "UPSTREAM_CLUSTER",
    "upstream": "UPSTREAM_HOST",
    "client": "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "sni": "REQUESTED_SERVER_NAME",
    "chain": "FILTER_CHAIN_NAME",
    "details": "CONNECTION_TERMINATION_DETAILS",
    "failure": "UPSTREAM_TRANSPORT_FAILURE_REASON",
}.items())
LOG = "\t".join(f"{name}=%{operator}%" for name, operator in {
    "code": "RESPONSE_CODE",
    "flags": "RESPONSE_FLAGS",
    "details": "RESPONSE_CODE_DETAILS",
    "protocol": "PROTOCOL",
    "method": "REQ(:METHOD)",
    "path": "REQ(X-ENVOY-ORIGINAL-PATH?:PATH)",
    "authority": "REQ(:AUTHORITY)",
    "received": "BYTES_RECEIVED",
    "sent": "BYTES_SENT",
    "cluster": "UPSTREAM_CLUSTER",
    "route": "ROUTE_NAME",
    "attempts": "UPSTREAM_REQUEST_ATTEMPT_COUNT",
}.items())
TRACED_LOG = LOG + "\ttrace=%TRACE_ID%\tspan=%SPAN_ID%"
# Spans are sent when they end, not five at a time.
PROMPT = {f"tracing.{kind}.min_flush_spans": 1 for kind in ("zipkin", "opentelemetry")}


def quoted(text):
    """A YAML scalar in which nothing has a meaning."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def indented(text, by=2):
    return textwrap.indent(text, " " * by)


def mapping(defaults, extra=""):
    """The text of a YAML mapping: the defaults, but for the keys that `extra` has itself, and `extra`."""
    given = {key.strip('"') for key in re.findall(r'^("[^"]+"|[\w.]+):', extra, re.MULTILINE)}
    text = ""
    for key, value in defaults.items():
        if key not in given:
            separator = "\n" if value.endswith("\n") else " "
            text += f'"{key}":' + separator + (indented(value) if value.endswith("\n") else value + "\n")
    return text + extra


def item(text):
    """The text of one entry of a YAML list."""
    return "- " + indented(text)[2:]


def address(host, port):
    return f"{{socket_address: {{address: {quoted(host)}, port_value: {port}}}}}"


def flow(value):
    """A value as YAML on one line."""
    return json.dumps(value)


def typed(name, **fields):
    return mapping({"@type": quoted(f"{TYPES}.{name}"), **fields})


class Names:
    """What the texts of one case stand for in one proxy: `@one` is a cluster, `$(…)` a place."""

    def __init__(self, case, listener, other_port, admin, folder, backend, certificates=None):
        self.case = case
        self.listener = listener
        self.admin = admin
        self.folder = folder
        self.backend = backend
        self.certificates = certificates
        self.clusters = {name: f"{case.id}_{name}" for name in case.peers}
        self.places = {"folder": str(folder), "host": listener[0], "port": str(listener[1]),
                       "other.port": str(other_port), "admin.port": str(admin[1]), "log": str(folder / "log")}
        self.places.update(certificates.places if certificates else {})
        for name, endpoints in backend.endpoints.items():
            self.places[f"{name}.host"], self.places[f"{name}.port"] = endpoints[0].host or "", str(endpoints[0].port)
            self.places[f"{name}.socket"] = endpoints[0].path
            self.places.update({f"{name}#{number}.port": str(endpoint.port) for number, endpoint in enumerate(endpoints, 1)})

    def fill(self, text):
        """The text with its names replaced."""
        for name, place in self.places.items():
            text = text.replace(f"$({name})", place)
        text = re.sub(r"\$\(([a-z-]+)((?: [^()]+)?)\)", self.piece, text)
        return re.sub(r"@(\w+)", lambda match: self.clusters.get(match[1], match[0]), text)

    def piece(self, match):
        """What stands for a piece of configuration, or a time."""
        name, words = match[1], match[2].split()
        if name == "now":
            return str(int(time.time()) + int(words[0]))
        if name == "answer":
            return flow(answering(self, words[0]))
        if name == "tcp":
            return flow(tcp_proxy(self, {"cluster": f"@{words[0]}"}))
        if name == "tls":
            return flow(downstream_tls(self, words))
        if name == "upstream-tls":
            return flow(upstream_tls(self, words))
        return match[0]

    def statistic(self, name):
        """The full name of a statistic: `http.` and `listener.` are this case's own, `@one.` is a cluster's."""
        if name.startswith("@"):
            return "cluster." + self.fill(name)
        if name.startswith("http."):
            return f"http.{self.case.id}." + self.fill(name.removeprefix("http."))
        if name.startswith("tcp."):
            return f"tcp.{self.case.id}." + self.fill(name.removeprefix("tcp."))
        if name.startswith("listener."):
            return f"listener.{self.listener[0]}_{self.listener[1]}." + self.fill(name.removeprefix("listener."))
        return self.fill(name)


def cluster(case, name, names):
    endpoints = ""
    for endpoint in names.backend.endpoints[name]:
        if endpoint.path:
            endpoints += f"- endpoint: {{address: {{pipe: {{path: {quoted(endpoint.path)}}}}}}}\n"
        else:
            endpoints += f"- endpoint: {{address: {address(endpoint.host, endpoint.port)}}}\n"
    # A connection stays open while its case runs.
    how = case.spoken(name)
    protocol = {"explicit_http_config": "{http2_protocol_options: {}}" if "h2" in how else "{http_protocol_options: {}}"}
    if "h2" in how and "h1" in how:
        protocol = {"auto_config": "{http_protocol_options: {}, http2_protocol_options: {}}"}
    options = typed("upstreams.http.v3.HttpProtocolOptions", **protocol,
                    common_http_protocol_options="{idle_timeout: 60s}")
    extra = case.clusters.get(name, "")
    tls = {"transport_socket": flow(upstream_tls(names, []))} if "tls" in how else {}
    return mapping({
        "name": f"@{name}",
        **({} if extra.startswith("cluster_type:") else {"type": "STATIC"}),
        "connect_timeout": "5s",
        "load_assignment": mapping({
            "cluster_name": f"@{name}",
            "endpoints": item(mapping({"lb_endpoints": endpoints})),
        }),
        "typed_extension_protocol_options": mapping({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}),
        **tls,
    }, extra)


def file_log(names, text_format):
    return {"name": "envoy.access_loggers.file", "typed_config": {
        "@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog", "path": names.places["log"],
        "log_format": {"text_format_source": {"inline_string": text_format + "\n"}}}}


def answering(names, name):
    """A connection manager whose every response has this body."""
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": names.case.id,
        "access_log": [file_log(names, names.case.format or LOG)],
        "route_config": {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": name}}}]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
            "@type": f"{TYPES}.filters.http.router.v3.Router"}}]}}


def tcp_proxy(names, more):
    return {"name": "envoy.filters.network.tcp_proxy", "typed_config": {
        "@type": f"{TYPES}.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": names.case.id,
        "access_log": [file_log(names, names.case.format or TCP_LOG)], **more}}


def certificate(names, label):
    return {"certificate_chain": {"filename": names.places[f"cert.{label}"]},
            "private_key": {"filename": names.places[f"key.{label}"]}}


def downstream_tls(names, words):
    """The transport socket of a listener: `$(tls CERTIFICATE… [alpn=…])`."""
    labels = [word for word in words if "=" not in word] or ["server"]
    options = dict(word.split("=") for word in words if "=" in word)
    protocols = [protocol for protocol in options.get("alpn", "h2,http/1.1").split(",") if protocol]
    return {"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"alpn_protocols": protocols,
                               "tls_certificates": [certificate(names, label) for label in labels]}}}


def upstream_tls(names, words):
    """The transport socket of a cluster: `$(upstream-tls [SNI] [certificate=…] [ca=…])`."""
    options = dict(word.split("=") for word in words if "=" in word)
    context = {"validation_context": {"trusted_ca": {"filename": names.places[options.get("ca", "ca")]}}}
    if "certificate" in options:
        context["tls_certificates"] = [certificate(names, options["certificate"])]
    return {"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": f"{TYPES}.transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context": context,
        **{"sni": word for word in words if "=" not in word}}}


def provider(case):
    """The provider of the case's tracing, which sends to its collector."""
    trace = "type.googleapis.com/envoy.config.trace.v3"
    kind, fields = {
        "zipkin": ("zipkin", {"@type": f"{trace}.ZipkinConfig", "collector_cluster": '"@collector"',
                              "collector_endpoint": "/api/v2/spans", "collector_endpoint_version": "HTTP_JSON"}),
        "zipkin-proto": ("zipkin", {"@type": f"{trace}.ZipkinConfig", "collector_cluster": '"@collector"',
                                    "collector_endpoint": "/api/v2/spans", "collector_endpoint_version": "HTTP_PROTO"}),
        "otlp-http": ("opentelemetry", {
            "@type": f"{trace}.OpenTelemetryConfig",
            "http_service": '{http_uri: {uri: "http://collector.example/v1/traces", cluster: "@collector", timeout: 1s}}'}),
        "otlp-grpc": ("opentelemetry", {
            "@type": f"{trace}.OpenTelemetryConfig",
            "grpc_service": '{envoy_grpc: {cluster_name: "@collector"}, timeout: 1s}'}),
    }[case.collector]
    return mapping({"name": f"envoy.tracers.{kind}", "typed_config": mapping(fields, case.sections.get("provider", ""))})


def listener(case, names):
    sections = case.sections
    routes = sections.get("routes", "- match: {prefix: /}\n  route: {cluster: @" + case.upstreams[0] + "}\n")
    virtual_host = mapping({"name": "any", "domains": '["*"]', "routes": routes}, sections.get("virtual_host", ""))
    route_config = mapping({"name": "routes", "virtual_hosts": sections.get("virtual_hosts", item(virtual_host))},
                           sections.get("route_config", ""))
    router = item(mapping({"name": "envoy.filters.http.router", "typed_config": typed("filters.http.router.v3.Router")
                           + sections.get("router", "")}))
    text = case.format or (TRACED_LOG if case.collector else LOG)
    log = item(mapping({"name": "envoy.access_loggers.file", "typed_config": typed(
        "access_loggers.file.v3.FileAccessLog", path=quoted(names.places["log"]),
        log_format="{text_format_source: {inline_string: " + quoted(text + "\n") + "}}")}))
    manager = mapping({
        "@type": quoted(f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": case.id,
        "access_log": sections.get("access_log", log),
        "route_config": route_config,
        "http_filters": sections.get("filters", "") + router,
        **({"tracing": mapping({"provider": provider(case)}, sections.get("tracing", ""))} if case.collector else {}),
    }, sections.get("manager", ""))
    network = item(mapping({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}))
    if "tcp" in sections:
        one = {} if "weighted_clusters:" in sections["tcp"] else {"cluster": "@" + case.upstreams[0]}
        network = item(mapping({"name": "envoy.filters.network.tcp_proxy", "typed_config": mapping({
            "@type": quoted(f"{TYPES}.filters.network.tcp_proxy.v3.TcpProxy"),
            "stat_prefix": case.id,
            **one,
            "access_log": "[" + flow(file_log(names, case.format or TCP_LOG)) + "]",
        }, sections["tcp"])}))
    network = sections.get("network", "") + network
    chains = item(mapping({"filters": network, **transport(case)}, sections.get("chain", "")))
    if "chains" in sections:
        chains = re.sub(r"^([ -]*)filters: \$\(http\)$", lambda match: f"{match[1]}filters:\n" + indented(
            network, len(match[1]) + 2).rstrip("\n"), sections["chains"], flags=re.MULTILINE)
    return mapping({
        "name": case.id,
        "address": address(*names.listener),
        "filter_chains": chains,
    }, sections.get("listener", ""))


def transport(case):
    """The transport socket of the one filter chain, if its clients speak TLS or the case has something to say of it."""
    if "tls" not in case.sections and (not Kind.parse(case.client).tls or "tcp" in case.sections):
        return {}
    common = mapping({
        "alpn_protocols": "[h2, http/1.1]",
        "tls_certificates": "[{certificate_chain: {filename: $(cert.server)}, private_key: {filename: $(key.server)}}]",
    })
    context = mapping({"@type": quoted(f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext"),
                       "common_tls_context": common}, case.sections.get("tls", ""))
    return {"transport_socket": mapping({"name": "envoy.transport_sockets.tls", "typed_config": context})}


def configuration(cases, names, admin):
    """The whole file, for cases that can be in one process."""
    listeners = "".join(names[case.id].fill(item(listener(case, names[case.id]))) for case in cases)
    clusters = "".join(names[case.id].fill(item(cluster(case, name, names[case.id])))
                       for case in cases for name in case.peers)
    secrets = "".join(names[case.id].fill(case.sections.get("secrets", "")) for case in cases)
    extra = "".join(names[case.id].fill(case.sections.get("bootstrap", "")) for case in cases)
    prompt = any(case.collector for case in cases) and "layered_runtime" not in extra
    return mapping({
        "node": "{id: comparison, cluster: comparison}",
        **({"layered_runtime": "{layers: [{name: prompt, static_layer: " + flow(PROMPT) + "}]}"} if prompt else {}),
        "admin": f"{{address: {address(*admin)}}}",
        "static_resources": mapping({"listeners": listeners, "clusters": clusters,
                                     **({"secrets": secrets} if secrets else {})}),
    }, extra)
