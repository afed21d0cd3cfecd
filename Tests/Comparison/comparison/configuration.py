"""A file's cases as one configuration: each has its own listener and its own clusters."""

import re
import textwrap

TYPES = "type.googleapis.com/envoy.extensions"
# One line for each request, `name=value` separated by tabs.
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


def typed(name, **fields):
    return mapping({"@type": quoted(f"{TYPES}.{name}"), **fields})


class Names:
    """What the texts of one case stand for in one proxy: `@one` is a cluster, `$(…)` a place."""

    def __init__(self, case, listener, other_port, admin, folder, backend):
        self.case = case
        self.listener = listener
        self.admin = admin
        self.folder = folder
        self.backend = backend
        self.clusters = {name: f"{case.id}_{name}" for name in case.upstreams}
        self.places = {"folder": str(folder), "host": listener[0], "port": str(listener[1]),
                       "other.port": str(other_port), "admin.port": str(admin[1]), "log": str(folder / "log")}
        for name, endpoints in backend.endpoints.items():
            self.places[f"{name}.host"], self.places[f"{name}.port"] = endpoints[0].host or "", str(endpoints[0].port)
            self.places[f"{name}.socket"] = endpoints[0].path

    def fill(self, text):
        """The text with its names replaced."""
        for name, place in self.places.items():
            text = text.replace(f"$({name})", place)
        return re.sub(r"@(\w+)", lambda match: self.clusters.get(match[1], match[0]), text)

    def statistic(self, name):
        """The full name of a statistic: `http.` and `listener.` are this case's own, `@one.` is a cluster's."""
        if name.startswith("@"):
            return "cluster." + self.fill(name)
        if name.startswith("http."):
            return f"http.{self.case.id}." + self.fill(name.removeprefix("http."))
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
    options = typed("upstreams.http.v3.HttpProtocolOptions", explicit_http_config="{http_protocol_options: {}}",
                    common_http_protocol_options="{idle_timeout: 60s}")
    extra = case.clusters.get(name, "")
    return mapping({
        "name": f"@{name}",
        **({} if extra.startswith("cluster_type:") else {"type": "STATIC"}),
        "connect_timeout": "5s",
        "load_assignment": mapping({
            "cluster_name": f"@{name}",
            "endpoints": item(mapping({"lb_endpoints": endpoints})),
        }),
        "typed_extension_protocol_options": mapping({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}),
    }, extra)


def listener(case, names):
    sections = case.sections
    routes = sections.get("routes", "- match: {prefix: /}\n  route: {cluster: @" + case.upstreams[0] + "}\n")
    virtual_host = mapping({"name": "any", "domains": '["*"]', "routes": routes}, sections.get("virtual_host", ""))
    route_config = mapping({"name": "routes", "virtual_hosts": sections.get("virtual_hosts", item(virtual_host))},
                           sections.get("route_config", ""))
    router = item(mapping({"name": "envoy.filters.http.router", "typed_config": typed("filters.http.router.v3.Router")
                           + sections.get("router", "")}))
    log = item(mapping({"name": "envoy.access_loggers.file", "typed_config": typed(
        "access_loggers.file.v3.FileAccessLog", path=quoted(names.places["log"]),
        log_format="{text_format_source: {inline_string: " + quoted((case.format or LOG) + "\n") + "}}")}))
    manager = mapping({
        "@type": quoted(f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": case.id,
        "access_log": sections.get("access_log", log),
        "route_config": route_config,
        "http_filters": sections.get("filters", "") + router,
    }, sections.get("manager", ""))
    chain = item(mapping({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}))
    return mapping({
        "name": case.id,
        "address": address(*names.listener),
        "filter_chains": item(mapping({"filters": chain})),
    }, sections.get("listener", ""))


def configuration(cases, names, admin):
    """The whole file, for cases that can be in one process."""
    listeners = "".join(names[case.id].fill(item(listener(case, names[case.id]))) for case in cases)
    clusters = "".join(names[case.id].fill(item(cluster(case, name, names[case.id])))
                       for case in cases for name in case.upstreams)
    extra = "".join(names[case.id].fill(case.sections.get("bootstrap", "")) for case in cases)
    return mapping({
        "node": "{id: comparison, cluster: comparison}",
        "admin": f"{{address: {address(*admin)}}}",
        "static_resources": mapping({"listeners": listeners, "clusters": clusters}),
    }, extra)
