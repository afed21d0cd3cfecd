"""What must fit together: the accounts of clients, proxies and services, joined by request, and Istio's metrics."""

import json
import re
from collections import Counter, defaultdict

from .proxies import SERVICES
from .wishes import key


class Books:
    """All accounts of one run; `wrong` says what does not fit."""

    def __init__(self, folder):
        self.folder = folder
        self.wrong = []

    def lines(self, name):
        """The lines of an access log, by request."""
        found = defaultdict(list)
        for line in (self.folder / f"{name}.log").read_text().splitlines():
            entry = json.loads(line)
            found[key(str(entry["id"]))].append(entry)
        return found

    def served(self, name):
        found = defaultdict(list)
        for line in (self.folder / f"{name}.log").read_text().splitlines():
            identifier, _, status = line.partition(" ")
            found[key(identifier)].append(status)
        return found

    def check(self, holds, text):
        if not holds:
            self.wrong.append(text)

    def join(self, seen, metrics):
        logs = {name: self.lines(name) for name in ("front", "inbound1", "outbound1", "inbound2")}
        served = {name: self.served(name) for name in SERVICES}
        compared = Counter()
        for identifier, (wish, status) in seen.items():
            lines = logs["front"].get(identifier, [])
            # Whoever leaves at once may be gone before the proxy has read anything.
            if wish == "leave early" and not lines or status == "left" and wish.startswith("grpc") and not lines:
                continue
            if len(lines) != 1:
                self.wrong.append(f"{wish} {identifier}: {len(lines)} lines in the front proxy's log: {lines}")
                continue
            line = lines[0]
            if status not in ("left", "cut"):
                self.check(told(line) == status, f"{wish} {identifier}: the client saw {status}, the front proxy {line}")
                compared["client and front proxy"] += 1
            self.hop(wish, identifier, line, logs["inbound1"].get(identifier, []), "service1-sidecar", compared)
            for inner in logs["inbound1"].get(identifier, []):
                # Whoever is too late is told so by the library of gRPC, not by the service.
                if inner["flags"] in (None, "-") and wish != "grpc deadline":
                    self.check(told(inner) in served["service1"].get(identifier, []),
                               f"{wish} {identifier}: service1 did not answer {inner}, but {served['service1'].get(identifier)}")
                    compared["service1's sidecar and service1"] += 1
            for call in logs["outbound1"].get(identifier, []):
                self.hop(wish, identifier, call, logs["inbound2"].get(identifier, []), "service2-sidecar", compared)
                compared["calls of service1"] += 1
            calls = sum(1 for one in served["service1"].get(identifier, [])) if wish.startswith("/chain") else 0
            self.check(len(logs["outbound1"].get(identifier, [])) == calls,
                       f"{wish} {identifier}: {calls} calls of service1, {logs['outbound1'].get(identifier)}")
        for name in logs:
            unknown = set(logs[name]) - set(seen)
            self.check(not unknown, f"{name}: {len(unknown)} requests that nobody sent: {list(unknown)[:3]}")
        for text, count in compared.items():
            print(f"  compared {count} times: {text}")
        self.count(logs, metrics)

    def hop(self, wish, identifier, outer, inner, name, compared):
        """A request as the one who sent it on wrote it down, and as the next one did."""
        went = int(outer["attempts"] or 0) if outer["cluster"] not in (None, "dead", "-") else 0
        ended = outer["flags"] in (None, "-") or outer["flags"] in ("URX",)
        if ended:
            self.check(len(inner) == went, f"{wish} {identifier}: sent {went} times, {len(inner)} came to {name}: {outer} {inner}")
            if went and inner:
                last = inner[-1]
                self.check(told(last) == told(outer) or last["flags"] not in (None, "-") and last["code"] == outer["code"],
                           f"{wish} {identifier}: {outer} and {last} of {name}")
                compared[f"{'front proxy' if name == 'service1-sidecar' else 'outbound and inbound'}: codes of {name}"] += 1
        else:
            self.check(len(inner) <= max(went, 1), f"{wish} {identifier}: sent {went} times, {len(inner)} came to {name}: {outer}")

    def count(self, logs, metrics):
        """Istio's counts of each reporter against the lines of its log."""
        for name, listener_name, reporter in (
                ("front-proxy", "front", "source"), ("service1-sidecar", "inbound1", "destination"),
                ("service1-sidecar", "outbound1", "source"), ("service2-sidecar", "inbound2", "destination")):
            logged, counted, series = Counter(), Counter(), 0
            for lines in logs[listener_name].values():
                for line in lines:
                    logged[labels_of(line, name, reporter)] += 1
            for metric, labels, value in metrics[name]:
                if metric == "istio_requests_total" and labels["reporter"] == reporter:
                    series += 1
                    counted[told_by(labels, reporter)] += int(value)
            for labels in logged.keys() | counted.keys():
                self.check(logged[labels] == counted[labels],
                           f"{name}, reporter {reporter}, {dict(zip(LABELS, labels))}: {logged[labels]} lines in the log, "
                           f"{counted[labels]} counted")
            total = sum(logged.values())
            durations = sum(int(value) for metric, labels, value in metrics[name]
                            if metric == "istio_request_duration_milliseconds_count" and labels["reporter"] == reporter)
            self.check(durations == sum(counted.values()), f"{name}, {reporter}: {durations} durations of {sum(counted.values())}")
            print(f"  {name}, reporter {reporter}: {total} requests in the log, {sum(counted.values())} counted in {series} series")


def told(line):
    """The outcome as a client sees it."""
    if str(line["type"] or "").startswith("application/grpc"):
        return f"grpc {line['grpc']}"
    return str(line["code"])


LABELS = ("code", "flags", "gRPC", "protocol", "service", "source", "destination")
UNKNOWN_YET = "*"  # the other end has said who it is, or not: it depends on how far the request came


def labels_of(line, name, reporter):
    """What Istio's metric says of a request with this line in a proxy's log."""
    grpc = str(line["type"] or "").startswith("application/grpc")
    flags, own = str(line["flags"] or "-"), f"{name.removesuffix('-sidecar')}-v1"
    if reporter == "destination":
        service, source, destination = own.removesuffix("-v1"), "front-proxy-v1" if own == "service1-v1" else "service1-v1", own
    else:
        # A request that goes nowhere is counted for the host that was asked for.
        service = (line["cluster"] or "front").partition("-")[0]
        source, destination = own, f"{service}-v1" if service in SERVICES else "unknown"
        if service in SERVICES and flags != "-":
            destination = UNKNOWN_YET
    return (str(line["code"] or 0), flags, str(line["grpc"]) if grpc and line["grpc"] is not None else "",
            "grpc" if grpc else "http", service, source, destination)


def told_by(labels, reporter):
    """The same of a series."""
    unknown = reporter == "source" and labels["destination_service_name"] in SERVICES and labels["response_flags"] != "-"
    return (labels["response_code"], labels["response_flags"], labels.get("grpc_response_status", ""), labels["request_protocol"],
            labels["destination_service_name"], labels["source_workload"],
            UNKNOWN_YET if unknown else labels["destination_workload"])


SAMPLE = re.compile(r'^(\w+)\{([^#]*)\} (\S+)(?: # .*)?$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(text):
    for line in text.splitlines():
        if match := SAMPLE.match(line):
            yield match[1], dict(LABEL.findall(match[2])), float(match[3])
