#!/usr/bin/env python3
"""A metrics service (envoy.service.metrics.v3.MetricsService), decoding with Google's protobuf and the official field numbers.

`metrics_server.py [PORT] [BEHAVIOUR]` prints `PORT n` when it serves, then a line of JSON for what happens:

    {"event": "stream", "metadata": {...}}           a stream has begun
    {"event": "message", "node": {...} | null, "families": [{"name", "type", "help", "metrics": [{"labels", ...}]}]}
    {"event": "end", "half_closed": true | false}

BEHAVIOUR: `hang` reads nothing after the first message, `refuse` answers UNAVAILABLE at once, `reset` breaks off after the first
message, `finish` answers OK after the first message, `large` answers with 2 MiB; without it everything is read.
"""

import concurrent.futures
import json
import sys
import time

import grpc
from envoy.config.core.v3 import base_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, timestamp_pb2

Field = descriptor_pb2.FieldDescriptorProto
KINDS = {
    "string": Field.TYPE_STRING, "double": Field.TYPE_DOUBLE, "uint64": Field.TYPE_UINT64, "int64": Field.TYPE_INT64,
    "sint32": Field.TYPE_SINT32, "uint32": Field.TYPE_UINT32, "sint64": Field.TYPE_SINT64,
}

# io.prometheus.client, from the protocol buffers of prometheus/client_model: number, name, type; `*` is repeated.
PROMETHEUS = {
    "LabelPair": [(1, "name", "string"), (2, "value", "string")],
    "Gauge": [(1, "value", "double")],
    "Exemplar": [(1, "label", "*.LabelPair"), (2, "value", "double"), (3, "timestamp", "google.protobuf.Timestamp")],
    "Counter": [
        (1, "value", "double"), (2, "exemplar", ".Exemplar"), (3, "start_timestamp", "google.protobuf.Timestamp")],
    "Quantile": [(1, "quantile", "double"), (2, "value", "double")],
    "Summary": [
        (1, "sample_count", "uint64"), (2, "sample_sum", "double"), (3, "quantile", "*.Quantile"),
        (4, "start_timestamp", "google.protobuf.Timestamp")],
    "Untyped": [(1, "value", "double")],
    "Bucket": [(1, "cumulative_count", "uint64"), (2, "upper_bound", "double"), (3, "exemplar", ".Exemplar")],
    "BucketSpan": [(1, "offset", "sint32"), (2, "length", "uint32")],
    "Histogram": [
        (1, "sample_count", "uint64"), (2, "sample_sum", "double"), (3, "bucket", "*.Bucket"), (5, "schema", "sint32"),
        (6, "zero_threshold", "double"), (7, "zero_count", "uint64"), (12, "positive_span", "*.BucketSpan"),
        (13, "positive_delta", "*sint64"), (15, "start_timestamp", "google.protobuf.Timestamp")],
    "Metric": [
        (1, "label", "*.LabelPair"), (2, "gauge", ".Gauge"), (3, "counter", ".Counter"), (4, "summary", ".Summary"),
        (5, "untyped", ".Untyped"), (7, "histogram", ".Histogram"), (6, "timestamp_ms", "int64")],
    "MetricFamily": [
        (1, "name", "string"), (2, "help", "string"), (3, "type", "enum.MetricType"), (4, "metric", "*.Metric"),
        (5, "unit", "string")],
}
METRIC_TYPES = ["COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM", "GAUGE_HISTOGRAM"]


def add_field(message, number, name, kind, package):
    field = message.field.add(number=number, name=name, label=Field.LABEL_OPTIONAL)
    if kind.startswith("*"):
        field.label, kind = Field.LABEL_REPEATED, kind[1:]
    if kind in KINDS:
        field.type = KINDS[kind]
    elif kind.startswith("enum."):
        field.type, field.type_name = Field.TYPE_ENUM, f".{package}.{kind[5:]}"
    else:
        field.type = Field.TYPE_MESSAGE
        field.type_name = f".{package}{kind}" if kind.startswith(".") else f".{kind}"


def messages():
    """The classes of StreamMetricsMessage and StreamMetricsResponse."""
    pool = descriptor_pool.DescriptorPool()

    def add(file):
        for dependency in file.dependencies:
            add(dependency)
        pool.AddSerializedFile(file.serialized_pb)

    add(timestamp_pb2.DESCRIPTOR)
    add(base_pb2.DESCRIPTOR)
    client = descriptor_pb2.FileDescriptorProto(
        name="io/prometheus/client/metrics.proto", package="io.prometheus.client", syntax="proto2",
        dependency=["google/protobuf/timestamp.proto"])
    types = client.enum_type.add(name="MetricType")
    for number, name in enumerate(METRIC_TYPES):
        types.value.add(name=name, number=number)
    for name, fields in PROMETHEUS.items():
        message = client.message_type.add(name=name)
        for number, field, kind in fields:
            add_field(message, number, field, kind, "io.prometheus.client")
    pool.Add(client)
    service = descriptor_pb2.FileDescriptorProto(
        name="envoy/service/metrics/v3/metrics_service.proto", package="envoy.service.metrics.v3", syntax="proto3",
        dependency=["envoy/config/core/v3/base.proto", "io/prometheus/client/metrics.proto"])
    service.message_type.add(name="StreamMetricsResponse")
    message = service.message_type.add(name="StreamMetricsMessage")
    identifier = message.nested_type.add(name="Identifier")
    add_field(identifier, 1, "node", "envoy.config.core.v3.Node", "")
    add_field(message, 1, "identifier", "envoy.service.metrics.v3.StreamMetricsMessage.Identifier", "")
    add_field(message, 2, "envoy_metrics", "*io.prometheus.client.MetricFamily", "")
    pool.Add(service)

    def type_of(name):
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"envoy.service.metrics.v3.{name}"))

    return type_of("StreamMetricsMessage"), type_of("StreamMetricsResponse")


Message, Response = messages()


def say(event, **what):
    print(json.dumps({"event": event, **what}), flush=True)


def plain(metric):
    result = {"labels": {label.name: label.value for label in metric.label}, "timestamp": metric.timestamp_ms}
    for kind in ("counter", "gauge", "untyped"):
        if metric.HasField(kind):
            value = getattr(metric, kind)
            result["value"] = value.value
            if kind == "counter" and value.HasField("start_timestamp"):
                result["start"] = value.start_timestamp.ToNanoseconds()
    if metric.HasField("summary"):
        summary = metric.summary
        result.update(count=summary.sample_count, sum=summary.sample_sum,
                      quantiles=[[entry.quantile, entry.value] for entry in summary.quantile])
        if summary.HasField("start_timestamp"):
            result["start"] = summary.start_timestamp.ToNanoseconds()
    if metric.HasField("histogram"):
        histogram = metric.histogram
        result.update(count=histogram.sample_count, sum=histogram.sample_sum,
                      buckets=[[entry.upper_bound, entry.cumulative_count] for entry in histogram.bucket])
        if histogram.HasField("start_timestamp"):
            result["start"] = histogram.start_timestamp.ToNanoseconds()
    return result


def stream_metrics(requests, context):
    behaviour = (sys.argv + ["0", ""])[2]
    say("stream", metadata={key: value for key, value in context.invocation_metadata() if isinstance(value, str)})
    if behaviour == "refuse":
        context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
    try:
        for message in requests:
            node = None
            if message.HasField("identifier"):
                node = json_format.MessageToDict(message.identifier.node, preserving_proto_field_name=True)
            families = [
                {"name": family.name, "type": METRIC_TYPES[family.type], "help": family.help,
                 "metrics": [plain(metric) for metric in family.metric]}
                for family in message.envoy_metrics]
            say("message", node=node, families=families, bytes=message.ByteSize())
            if behaviour == "hang":
                while context.is_active():
                    time.sleep(0.01)
            elif behaviour == "reset":
                context.abort(grpc.StatusCode.INTERNAL, "broken")
            elif behaviour in ("finish", "large"):
                return Response() if behaviour == "finish" else b"\x0a\x80\x80\x80\x01" + b"x" * (2 << 20)
        say("end", half_closed=True)
    except grpc.RpcError:
        say("end", half_closed=False)
    return Response()


def main():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", 64 << 20)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("envoy.service.metrics.v3.MetricsService", {
        "StreamMetrics": grpc.stream_unary_rpc_method_handler(
            stream_metrics, Message.FromString,
            lambda answer: answer if isinstance(answer, bytes) else answer.SerializeToString()),
    }),))
    port = server.add_insecure_port(f"127.0.0.1:{(sys.argv + ['0'])[1]}")
    server.start()
    print("PORT", port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
