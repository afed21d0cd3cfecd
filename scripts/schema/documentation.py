"""docs/configuration.md: every supported field, from the comments of the .proto files."""

TITLES = [
    ("Bootstrap", ["envoy.config.bootstrap.v3", "envoy.config.core.v3"]),
    ("Statistics", ["envoy.config.metrics.v3"]),
    (
        "Overload",
        [
            "envoy.config.overload.v3",
            "envoy.extensions.resource_monitors.fixed_heap.v3",
            "envoy.extensions.resource_monitors.cgroup_memory.v3",
            "envoy.extensions.resource_monitors.cpu_utilization.v3",
            "envoy.extensions.resource_monitors.downstream_connections.v3",
            "envoy.extensions.resource_monitors.injected_resource.v3",
        ],
    ),
    (
        "Listeners and HTTP",
        [
            "envoy.config.listener.v3",
            "envoy.extensions.filters.network.http_connection_manager.v3",
            "envoy.extensions.http.original_ip_detection.xff.v3",
            "envoy.extensions.http.original_ip_detection.custom_header.v3",
            "envoy.extensions.http.header_formatters.preserve_case.v3",
            "envoy.extensions.request_id.uuid.v3",
        ],
    ),
    (
        "Listener filters",
        [
            "envoy.extensions.filters.listener.tls_inspector.v3",
            "envoy.extensions.filters.listener.http_inspector.v3",
            "envoy.extensions.filters.listener.proxy_protocol.v3",
            "envoy.extensions.filters.listener.original_dst.v3",
            "envoy.extensions.filters.listener.local_ratelimit.v3",
        ],
    ),
    (
        "TCP",
        [
            "envoy.extensions.filters.network.tcp_proxy.v3",
            "envoy.extensions.transport_sockets.proxy_protocol.v3",
        ],
    ),
    (
        "Routes",
        [
            "envoy.config.route.v3", "envoy.config.common.mutation_rules.v3",
            "envoy.type.matcher.v3",
            "envoy.type.metadata.v3",
            "envoy.extensions.retry.host.previous_hosts.v3",
            "envoy.extensions.retry.host.omit_canary_hosts.v3",
            "envoy.extensions.retry.host.omit_host_metadata.v3",
            "envoy.extensions.retry.priority.previous_priorities.v3",
        ],
    ),
    (
        "Network filters before the last",
        [
            "envoy.extensions.filters.network.connection_limit.v3",
            "envoy.extensions.filters.network.local_ratelimit.v3",
        ],
    ),
    (
        "Clusters",
        [
            "envoy.config.cluster.v3",
            "envoy.config.endpoint.v3",
            "envoy.extensions.upstreams.http.v3",
            "envoy.extensions.load_balancing_policies.round_robin.v3",
            "envoy.extensions.load_balancing_policies.least_request.v3",
            "envoy.extensions.load_balancing_policies.random.v3",
            "envoy.extensions.load_balancing_policies.ring_hash.v3",
            "envoy.extensions.load_balancing_policies.maglev.v3",
            "envoy.extensions.load_balancing_policies.wrr_locality.v3",
            "envoy.extensions.load_balancing_policies.cluster_provided.v3",
            "envoy.extensions.load_balancing_policies.common.v3",
            "envoy.extensions.network.dns_resolver.cares.v3",
            "envoy.extensions.clusters.aggregate.v3",
            "envoy.extensions.clusters.dns.v3",
            "envoy.extensions.clusters.common.dns.v3",
            "envoy.extensions.health_check.event_sinks.file.v3",
        ],
    ),
    (
        "TLS and secrets",
        [
            "envoy.extensions.transport_sockets.tls.v3",
            "envoy.extensions.transport_sockets.raw_buffer.v3",
            "envoy.service.discovery.v3",
        ],
    ),
    (
        "HTTP filters",
        [
            "envoy.extensions.filters.http.router.v3",
            "envoy.extensions.filters.http.buffer.v3",
            "envoy.extensions.filters.http.fault.v3",
            "envoy.extensions.filters.http.cors.v3",
            "envoy.extensions.filters.http.health_check.v3",
            "envoy.extensions.filters.http.grpc_stats.v3",
            "envoy.extensions.filters.http.grpc_http1_bridge.v3",
            "envoy.extensions.filters.http.grpc_web.v3",
            "envoy.extensions.filters.common.fault.v3",
            "stats",
            "io.istio.http.peer_metadata",
            "envoy.type.v3",
        ],
    ),
    (
        "Rate limits",
        [
            "envoy.extensions.filters.http.local_ratelimit.v3",
            "envoy.extensions.filters.http.ratelimit.v3",
            "envoy.config.ratelimit.v3",
            "envoy.extensions.common.ratelimit.v3",
            "envoy.service.ratelimit.v3",
        ],
    ),
    (
        "Tracing",
        [
            "envoy.config.trace.v3",
            "envoy.type.tracing.v3",
            "envoy.extensions.tracers.opentelemetry.samplers.v3",
            "envoy.extensions.tracers.opentelemetry.resource_detectors.v3",
        ],
    ),
    (
        "Access logs",
        [
            "envoy.config.accesslog.v3",
            "envoy.data.accesslog.v3",
            "envoy.extensions.access_loggers.file.v3",
            "envoy.extensions.access_loggers.stream.v3",
        ],
    ),
]

INTRODUCTION = """\
# Configuration

<!-- Generated from the comments in Sources/MeshAPI/Protos by scripts/generate-schema. Do not edit. -->

The configuration is a subset of the Envoy v3 API, in YAML or JSON: `envoy.config.bootstrap.v3.Bootstrap` with everything
below it. Every supported field is on this page; what is not on it makes the configuration invalid, with an error that
says whether Envoy has the field. A field keeps Envoy's meaning and Envoy's default.

How values are written:

- Field names in `snake_case` or `camelCase`. Text may be written without quotes, whatever it looks like: `id: n` and
  `id: 5` are text.
- **duration**: seconds with an `s` at the end: `5s`, `0.25s`. At most nine digits after the point.
- **bool**: `true` or `false`, nothing else. **enum**: the name, or its number. **bytes**: base64.
- **any**: the fields of the message, and its type under the key `"@type"`, with or without `type.googleapis.com/`.
- *required* in the column "default": the configuration is invalid without it. *oneof x*: at most one of the fields with
  the same x may be set.
- YAML anchors, aliases and merge keys (`<<`) work. A key with the tag `!ignore` is skipped, so that it can hold anchors.
- Limits: 64 MiB of text, 64 levels, aliases that stand for 200,000 values in all. Of the errors the first 100 are shown.
"""


def page(subset):
    out = [INTRODUCTION]
    seen = set()
    for title, packages in TITLES:
        out.append(f"## {title}\n")
        for package in packages:
            for kind in (subset.messages, subset.enums):
                for item in kind.values():
                    if item.file.package == package:
                        seen.add(item.full_name)
                        out.append(_message(item) if kind is subset.messages else _enum(item))
    missing = (set(subset.messages) | set(subset.enums)) - seen
    if missing:
        raise SystemExit(f"documentation.py has no section for {', '.join(sorted(missing))}")
    return "\n".join(out)


def _anchor(full_name):
    return full_name.lower().replace(".", "-")


def _heading(item):
    return f'### <a id="{_anchor(item.full_name)}"></a>{item.name}\n\n`{item.full_name}`\n\n{item.comment}\n'


def _message(message):
    out = _heading(message)
    if message.fields:
        out += "\n| field | type | default | meaning |\n|---|---|---|---|\n"
        for field in message.fields:
            out += f"| `{field.name}` | {_type(message, field)} | {_cell(_default(field))} | {_cell(field.meaning)} |\n"
    return out


def _enum(enum):
    out = _heading(enum) + "\n| value | number | meaning |\n|---|---|---|\n"
    for name, number, comment in enum.values:
        out += f"| `{name}` | {number} | {_cell(comment)} |\n"
    return out


def _default(field):
    return "*required*" if field.required else field.default


def _cell(text):
    return text.replace("|", "\\|")


def _type(message, field):
    kind, _, name = field.value_type.partition(":")
    shown = {
        "google.protobuf.Any": "any",
        "google.protobuf.Duration": "duration",
        "google.protobuf.Struct": "structure",
        "google.protobuf.BoolValue": "bool",
        "google.protobuf.UInt32Value": "uint32",
        "google.protobuf.UInt64Value": "uint64",
        "google.protobuf.DoubleValue": "double",
    }.get(name)
    if shown is None:
        shown = f"[{_short(name)}](#{_anchor(name)})" if name else kind
    if field.map_value:
        shown = f"map of text to {shown}"
    elif field.repeated:
        shown = f"list of {shown}"
    members = [other for other in message.fields if other.oneof == field.oneof]
    return shown + (f", oneof {field.oneof}" if field.oneof and len(members) > 1 else "")


def _short(full_name):
    return ".".join(part for part in full_name.split(".") if part[0].isupper())
