"""What collectors are sent: spans of Zipkin v2 JSON and of OTLP, decoded into one form."""

import json
import time
from dataclasses import dataclass, field

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

if not hasattr(trace_pb2, "ScopeSpans"):
    raise SystemExit("run: the package xds-protos has put old definitions in the place of OpenTelemetry's. Install them again:\n"
                     "     python3 -m pip install --force-reinstall --no-deps opentelemetry-proto")

PLAUSIBLE = 120  # seconds that the start of a span may be away from now
SLACK = 100_000  # microseconds between the clocks that a span's times are from


class Undecodable(ValueError):
    """What a collector got is not what it must be."""


@dataclass
class Span:
    """A span, with its times as microseconds, and all else as texts by name."""

    start: float
    fields: dict = field(default_factory=dict)


def decode(form, arrival):
    """The spans of one request to a collector; what cannot be decoded is one span that says so."""
    try:
        return list(decoded(form, arrival))
    except (DecodeError, ValueError) as error:
        return [Span(0, {"times": "unknown", "undecodable": str(error)})]


def decoded(form, arrival):
    body = arrival.message.body.encode("latin-1")
    if form == "zipkin-proto":
        return [zipkin(of_protobuf(span)) for span in ListOfSpans.FromString(body).spans]
    if form == "zipkin":
        return [zipkin(span) for span in json.loads(body)]
    if form == "otlp-grpc":
        body = unframed(body)
    request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
    return [otlp(span, scope, resource) for resource in request.resource_spans for scope in resource.scope_spans
            for span in scope.spans]


def unframed(body):
    """The one message of a gRPC request."""
    if len(body) < 5 or body[0] != 0 or int.from_bytes(body[1:5], "big") != len(body) - 5:
        raise Undecodable(f"not one uncompressed gRPC message: {body[:20]!r}")
    return body[5:]


def ordered(spans):
    """Spans as they began, none before its parent: two may begin in the same microsecond. Whether a copy of a request is sent
    before that or after is nobody's business."""
    waiting, found = sorted(spans, key=lambda span: (span.fields.get("name") == "mirror", span.start)), []
    while waiting:
        ids = {span.fields.get("id") for span in waiting}
        ready = (span for span in waiting if span.fields.get("parent") not in ids - {span.fields.get("id")})
        found.append(next(ready, waiting[0]))
        waiting = [span for span in waiting if span is not found[-1]]
    return found


def times(start, duration):
    """Whether times are what they can be; which ones is chance."""
    if abs(start / 1e6 - time.time()) > PLAUSIBLE:
        return f"starts at {start}"
    return "plausible" if 0 <= duration < PLAUSIBLE * 1e6 else f"takes {duration}"


def zipkin(span):
    known = dict(span)
    start, duration = known.pop("timestamp", 0), known.pop("duration", -1)
    fields = {"trace": known.pop("traceId"), "id": known.pop("id"), "parent": known.pop("parentId", "none"),
              "times": times(start, duration)}
    for name, value in known.pop("localEndpoint", {}).items():
        fields[f"endpoint.{name}"] = text(value)
    annotations = known.pop("annotations", [])
    if annotations:
        fields["annotations"] = " ".join(annotation["value"] for annotation in annotations)
        within = all(start - SLACK <= annotation["timestamp"] <= start + duration + SLACK for annotation in annotations)
        fields["annotated"] = "plausible" if within else text(annotations)
    for name, value in known.pop("tags", {}).items():
        fields[f"tag.{name}"] = text(value)
    fields.update((name, text(value)) for name, value in known.items())
    return Span(start, fields)


def text(value):
    """A JSON value; only strings stand without quotes."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def list_of_spans():
    """The message `zipkin.proto3.ListOfSpans` of Zipkin's own zipkin.proto."""
    kinds = {"bytes": 12, "string": 9, "uint64": 4, "fixed64": 6, "int32": 5, "bool": 8, "enum": 14}
    messages = {
        "Endpoint": "string service_name 1, bytes ipv4 2, bytes ipv6 3, int32 port 4",
        "Annotation": "fixed64 timestamp 1, string value 2",
        "Tag": "string key 1, string value 2",
        "Span": "bytes trace_id 1, bytes parent_id 2, bytes id 3, int32 kind 4, string name 5, fixed64 timestamp 6, "
                "uint64 duration 7, Endpoint local_endpoint 8, Endpoint remote_endpoint 9, Annotation* annotations 10, Tag* tags 11, bool debug 12, "
                "bool shared 13",
        "ListOfSpans": "Span* spans 1",
    }
    file = descriptor_pb2.FileDescriptorProto(name="zipkin.proto", package="zipkin.proto3", syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for kind, field, number in (entry.split() for entry in fields.split(", ")):
            added = message.field.add(name=field, number=int(number), label=3 if kind.endswith("*") else 1)
            if kind.rstrip("*") in messages:
                added.type, added.type_name = 11, f".zipkin.proto3.{kind.rstrip('*')}"
            else:
                added.type = kinds[kind]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("zipkin.proto3.ListOfSpans"))


ListOfSpans = list_of_spans()
KINDS = ("", "CLIENT", "SERVER", "PRODUCER", "CONSUMER")


def of_protobuf(span):
    """A span of protobuf as it would be in JSON."""
    found = {"traceId": span.trace_id.hex(), "id": span.id.hex(), "name": span.name, "kind": KINDS[span.kind],
             "timestamp": span.timestamp, "duration": span.duration,
             "annotations": [{"timestamp": entry.timestamp, "value": entry.value} for entry in span.annotations],
             "tags": {tag.key: tag.value for tag in span.tags}}
    if span.parent_id:
        found["parentId"] = span.parent_id.hex()
    if span.shared:
        found["shared"] = True
    if span.HasField("local_endpoint"):
        found["localEndpoint"] = {"serviceName": span.local_endpoint.service_name, "port": span.local_endpoint.port,
                                  "ipv4": ".".join(map(str, span.local_endpoint.ipv4))}
    return found


def otlp(span, scope, resource):
    start = span.start_time_unix_nano / 1e3
    fields = {"trace": span.trace_id.hex(), "id": span.span_id.hex(), "parent": span.parent_span_id.hex() or "none",
              "name": span.name, "kind": trace_pb2.Span.SpanKind.Name(span.kind), "flags": hex(span.flags),
              "times": times(start, span.end_time_unix_nano / 1e3 - start)}
    if span.trace_state:
        fields["state"] = span.trace_state
    if span.status.code or span.status.message:
        fields["status"] = trace_pb2.Status.StatusCode.Name(span.status.code) + (
            f" {span.status.message}" if span.status.message else "")
    for attribute in span.attributes:
        fields[f"tag.{attribute.key}"] = any_value(attribute.value)
    for number, event in enumerate(span.events, 1):
        fields[f"event.{number}"] = event.name
    if span.links:
        fields["links"] = str(len(span.links))
    for name in ("dropped_attributes_count", "dropped_events_count", "dropped_links_count"):
        if getattr(span, name):
            fields[name] = str(getattr(span, name))
    if scope.scope.name or scope.scope.version:
        fields["scope"] = f"{scope.scope.name} {scope.scope.version}".strip()
    for attribute in resource.resource.attributes:
        fields[f"resource.{attribute.key}"] = any_value(attribute.value)
    for name, schema in (("resource", resource.schema_url), ("scope", scope.schema_url)):
        if schema:
            fields[f"{name}-schema"] = schema
    return Span(start, fields)


def any_value(value):
    """An attribute's value; all but strings say their type."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind is None:
        return "nothing"
    return f"{kind.removesuffix('_value')} {getattr(value, kind)}"
