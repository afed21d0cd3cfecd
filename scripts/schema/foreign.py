"""Messages of other projects that are configured like Envoy's own: names and numbers as those projects publish them,
complete, so that what is not supported is known by name. They are not in xds-protos.

- istio/proxy, `source/extensions/filters/http/istio_stats/config.proto` (release 1.28)
- istio/proxy, `source/extensions/filters/http/peer_metadata/config.proto` (release 1.28)
"""

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

STRING, BOOL = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_BOOL
DURATION = ".google.protobuf.Duration"

# file → package, imports, enums (name → values by number), messages (name → fields).
# A field is (number, name, type) with "*" before the type of a repeated one; "oneof:" before a member of a oneof.
FILES = {
    "source/extensions/filters/http/istio_stats/config.proto": {
        "package": "stats",
        "imports": ["google/protobuf/duration.proto"],
        "enums": {
            "MetricType": ["COUNTER", "GAUGE", "HISTOGRAM"],
            "Reporter": ["UNSPECIFIED", "SERVER_GATEWAY"],
        },
        "messages": {
            "MetricConfig": [
                (1, "dimensions", "map"),
                (2, "name", STRING),
                (3, "tags_to_remove", "*", STRING),
                (4, "match", STRING),
                (5, "drop", BOOL),
            ],
            "MetricDefinition": [(1, "name", STRING), (2, "value", STRING), (3, "type", ".stats.MetricType")],
            "PluginConfig": [
                (6, "disable_host_header_fallback", BOOL),
                (7, "tcp_reporting_duration", DURATION),
                (8, "metrics", "*", ".stats.MetricConfig"),
                (9, "definitions", "*", ".stats.MetricDefinition"),
                (10, "reporter", ".stats.Reporter"),
                (11, "rotation_interval", DURATION),
                (12, "graceful_deletion_interval", DURATION),
            ],
        },
    },
    "source/extensions/filters/http/peer_metadata/config.proto": {
        "package": "io.istio.http.peer_metadata",
        "imports": [],
        "enums": {},
        "messages": {
            "Config": [
                (1, "downstream_discovery", "*", ".io.istio.http.peer_metadata.Config.DiscoveryMethod"),
                (2, "upstream_discovery", "*", ".io.istio.http.peer_metadata.Config.DiscoveryMethod"),
                (3, "downstream_propagation", "*", ".io.istio.http.peer_metadata.Config.PropagationMethod"),
                (4, "upstream_propagation", "*", ".io.istio.http.peer_metadata.Config.PropagationMethod"),
                (5, "shared_with_upstream", BOOL),
                (6, "additional_labels", "*", STRING),
            ],
            "Config.Baggage": [],
            "Config.WorkloadDiscovery": [],
            "Config.IstioHeaders": [(1, "skip_external_clusters", BOOL)],
            "Config.DiscoveryMethod": [
                (1, "baggage", "oneof:method_specifier", ".io.istio.http.peer_metadata.Config.Baggage"),
                (
                    2, "workload_discovery", "oneof:method_specifier",
                    ".io.istio.http.peer_metadata.Config.WorkloadDiscovery",
                ),
                (3, "istio_headers", "oneof:method_specifier", ".io.istio.http.peer_metadata.Config.IstioHeaders"),
            ],
            "Config.PropagationMethod": [
                (1, "istio_headers", "oneof:method_specifier", ".io.istio.http.peer_metadata.Config.IstioHeaders"),
            ],
        },
    },
}


def files():
    """The files as descriptors."""
    return [_file(name, content) for name, content in FILES.items()]


def types():
    """The names of all messages, for those that a configuration can name."""
    return [f"{content['package']}.{name}" for content in FILES.values() for name in content["messages"]]


def _file(path, content):
    file = FileDescriptorProto(name=path, package=content["package"], syntax="proto3")
    file.dependency.extend(content["imports"])
    enums = {f".{content['package']}.{name}" for name in content["enums"]}
    for name, values in content["enums"].items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    made = {}
    for name, fields in content["messages"].items():
        outer, _, inner = name.rpartition(".")
        message = made[outer].nested_type.add(name=inner) if outer else file.message_type.add(name=inner)
        made[name] = message
        for field in fields:
            _field(message, f".{content['package']}.{name}", enums, *field)
    return file


def _field(message, scope, enums, number, name, *shape):
    kind = shape[-1]
    field = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if shape[0] == "*" or kind == "map":
        field.label = FieldDescriptorProto.LABEL_REPEATED
    elif isinstance(shape[0], str) and shape[0].startswith("oneof:"):
        oneof = shape[0].removeprefix("oneof:")
        if not message.oneof_decl:
            message.oneof_decl.add(name=oneof)
        field.oneof_index = 0
    if kind == "map":
        entry = DescriptorProto(name="".join(part.capitalize() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        for place, key in enumerate(("key", "value")):
            entry.field.add(
                name=key, number=place + 1, type=STRING, label=FieldDescriptorProto.LABEL_OPTIONAL
            )
        message.nested_type.append(entry)
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f"{scope}.{entry.name}"
    elif isinstance(kind, str):
        field.type = FieldDescriptorProto.TYPE_ENUM if kind in enums else FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = kind
    else:
        field.type = kind
