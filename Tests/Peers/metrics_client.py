#!/usr/bin/env python3
"""Scrapes /stats/prometheus in every format and reads each with a parser that is not ours.

`metrics_client.py ADMIN_PORT` prints what it has found, one line each, and ends with 0 if the formats agree:

    FAMILIES text openmetrics protobuf      how many there are
    EXEMPLAR name trace_id span_id          every exemplar of OpenMetrics
    NATIVE name count buckets               every native histogram that holds something
"""

import math
import sys
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as text_families

import metrics_server

PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
OPEN_METRICS = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5"
Family = metrics_server.Message.DESCRIPTOR.fields_by_name["envoy_metrics"].message_type._concrete_class


def scrape(port, accept, query=""):
    url = f"http://127.0.0.1:{port}/stats/prometheus?filter=^(http|cluster|listener|istio){query}"
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.headers["content-type"], response.read()


def families_of(body):
    families, position = [], 0
    while position < len(body):
        length = shift = 0
        while True:
            byte = body[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        families.append(Family.FromString(body[position:position + length]))
        position += length
    return families


def plain(name):
    """The parser of the text format adds `_total` to the names of counters that have it not."""
    return name.removesuffix("_total")


def samples(families):
    return {
        (plain(sample.name), tuple(sorted((key, float(value) if key == "le" else value) for key, value in sample.labels.items()))): sample.value
        for family in families for sample in family.samples
    }


def protobuf_samples(families):
    found = {}
    for family in families:
        for metric in family.metric:
            labels = tuple(sorted((label.name, label.value) for label in metric.label))
            if metric.HasField("histogram"):
                found[family.name + "_count", labels] = metric.histogram.sample_count
                found[family.name + "_sum", labels] = metric.histogram.sample_sum
                buckets = [(bucket.upper_bound, bucket.cumulative_count) for bucket in metric.histogram.bucket]
                if not buckets or not math.isinf(buckets[-1][0]):
                    buckets.append((math.inf, metric.histogram.sample_count))
                for bound, count in buckets:
                    found[family.name + "_bucket", tuple(sorted(labels + (("le", bound),)))] = count
            else:
                value = metric.counter if metric.HasField("counter") else metric.gauge
                found[plain(family.name), labels] = value.value
    return found


def main():
    port = sys.argv[1]
    kind, body = scrape(port, OPEN_METRICS)
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8", kind
    opened = list(open_families(body.decode()))
    kind, body = scrape(port, "")
    assert kind.startswith("text/plain"), kind
    text = list(text_families(body.decode()))
    kind, body = scrape(port, PROTOBUF)
    assert kind.startswith("application/vnd.google.protobuf"), kind
    encoded = families_of(body)
    print("FAMILIES", len(text), len(opened), len(encoded))
    expected = samples(text)
    assert expected, "nothing"
    assert samples(opened) == expected, set(samples(opened).items()) ^ set(expected.items())
    assert protobuf_samples(encoded) == expected, set(protobuf_samples(encoded).items()) ^ set(expected.items())
    exemplars = {}
    for family in opened:
        assert family.documentation, f"{family.name} has no help"
        for sample in family.samples:
            if sample.exemplar:
                labels = sample.exemplar.labels
                exemplars[sample.name, tuple(sample.labels.items())] = labels
                print("EXEMPLAR", sample.name, labels["trace_id"], labels["span_id"])
    in_protobuf = 0
    for family in encoded:
        for metric in family.metric:
            in_protobuf += metric.counter.HasField("exemplar")
            in_protobuf += sum(bucket.HasField("exemplar") for bucket in metric.histogram.bucket)
    assert in_protobuf == len(exemplars), (in_protobuf, len(exemplars))
    for family in families_of(scrape(port, PROTOBUF, "&histogram_buckets=prometheusnative")[1]):
        for metric in family.metric:
            histogram = metric.histogram
            if not histogram.sample_count:
                continue
            assert histogram.schema == 3 and not histogram.bucket
            assert sum(span.length for span in histogram.positive_span) == len(histogram.positive_delta)
            counts, total, last, index = [], histogram.zero_count, 0, 0
            for delta in histogram.positive_delta:
                last += delta
                counts.append(last)
            total += sum(counts)
            assert total == histogram.sample_count, family.name
            assert min(counts, default=1) > 0
            # The sum lies where the buckets say.
            places = []
            for span in histogram.positive_span:
                index += span.offset
                places += range(index, index + span.length)
                index += span.length
            low = sum(count * 2 ** ((place - 1) / 8) for count, place in zip(counts, places))
            high = sum(count * 2 ** (place / 8) for count, place in zip(counts, places)) + histogram.zero_count * 0.001
            assert low * 0.96 <= histogram.sample_sum <= high * 1.04, (family.name, low, histogram.sample_sum, high)
            print("NATIVE", family.name, histogram.sample_count, len(counts))


if __name__ == "__main__":
    main()
