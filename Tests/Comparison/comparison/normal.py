"""What two runs of the same program would not have in common, in one place: how it is made equal, or left out."""

import fnmatch
import re
import socket

from .casefile import Exchange

UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
IDENTIFIER = re.compile(r"(?<![0-9A-Za-z])(?:[0-9a-f]{32}|[0-9a-f]{16})(?![0-9A-Za-z])")
HTTP_DATE = re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT")
ISO_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
PROXIED = re.compile(r"(v[12] (?:TCP4 )?127\.\S+ \S+) \d+ ")
CLIENT = re.compile(r"\b(127\.\d+\.\d+\.\d+):\d{4,5}\b")
# What a cookie that the proxy makes for a client is hashed from is random.
COOKIE = re.compile(r'="[0-9a-f]{16}"')
# What a family of metrics is.
HELP = re.compile(r"^# HELP .*\n", re.MULTILINE)
EPHEMERAL = re.compile(r" (?:3[2-9]|[4-6][0-9])[0-9]{3} ([0-9]+)$")
# The value of a cookie that is made of addresses and ports.
COOKIE = re.compile(r'="[0-9a-f]{16}"')
# Milliseconds, whichever they are.
DURATIONS = {"header.x-envoy-upstream-service-time", "upstream.*.header.x-envoy-upstream-service-time"}

# What either says of itself to collectors.
SELF = re.compile(r"\b(?:[0-9a-f]{40}/1\.40\.0/Clean/RELEASE/BoringSSL|0\.\d+\.\d+(?:-[\w.]+)?)$")
PRODUCT = re.compile(r"\b(?:envoy|martlet)\b", re.IGNORECASE)
SELVES = ["*.export.header.user-agent", "*.span.*.scope", "*.span.*.resource.*"]

# Statistics that depend on time, on sizes of heads, or on how a program does its work inside.
VOLATILE = [
    "*_bytes_*", "*_length_ms*", "*_time*", "*_size*", "*.rq_time*", "*_ms", "*http1.*", "*.membership_*", "*.version",
    "*.upstream_cx_rx_*", "*.upstream_cx_tx_*", "*.update_*", "*.max_host_weight", "*.lb_*", "*.default.remaining_*",
    "*.downstream_cx_destroy*", "*.upstream_cx_destroy*", "*.upstream_cx_active", "*.downstream_cx_length_ms",
    "listener.*.worker_*", "*.bind_errors", "*.assignment_*", "*.original_dst_*",
    "*.zone.*", "*.upstream_cx_http1_total", "*.upstream_cx_max_requests", "*.upstream_cx_none_healthy",
    "*downstream_cx_http1_*", "*.default.total_match_count", "listener.*.http.*", "*_flow_control_*",
    "*_max_duration_reached", "*.health_check.attempt", "*.health_check.success", "*.health_check.failure",
    "*.health_check.network_failure", "*.health_check.verify_cluster", "*.health_check.healthy", "*.health_check.degraded",
    "*.nghttp2_*", "tcp.*.upstream_flush_*",
]


def machine_address():
    """The address that this machine uses towards others."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return probe.getsockname()[0]
        except OSError:
            return None


MACHINE = machine_address()


def halves(identifier):
    return [identifier[start:start + 16] for start in range(0, len(identifier), 16)]


def free_of_nibble(uuid):
    """A request id without what proxies write into it."""
    return uuid[:14] + uuid[15:]


class Normaliser:
    """Replaces what belongs to one run of one case by what it stands for."""

    def __init__(self, names):
        own = {f"{names.listener[0]}:{names.listener[1]}": "<listener>", f"{names.listener[0]}": "<listener host>",
               str(names.folder): "<folder>"}
        own[f"{names.admin[0]}:{names.admin[1]}"] = "<admin>"
        for name, endpoints in names.backend.endpoints.items():
            for number, endpoint in enumerate(endpoints, 1):
                label = name if len(endpoints) == 1 else f"{name}#{number}"
                if endpoint.path:
                    own[endpoint.path] = f"<{label}>"
                else:
                    own[f"{endpoint.host}:{endpoint.port}"] = f"<{label}>"
        own.update({full: f"@{name}" for name, full in names.clusters.items()})
        for name, place in names.certificates.places.items() if names.certificates else ():
            own[place] = f"<{name}>"
        self.own = sorted(own.items(), key=lambda pair: -len(pair[0]))
        self.port = str(names.listener[1])
        self.traced = names.case.area.startswith("tracing")
        self.identifiers = {}  # of traces and spans, by their halves: what stands for them
        said = [line for step in names.case.steps if isinstance(step, Exchange) for line in step.head]
        self.given = {half for line in said for found in IDENTIFIER.findall(line.lower()) for half in halves(found)}
        self.given_uuids = {free_of_nibble(found) for line in said for found in UUID.findall(line)}

    def text(self, value):
        for text, stands_for in self.own:
            value = value.replace(text, stands_for)
        if self.traced:
            # The traces' ids as they come, half by half: the half of one may be the other. Of a UUID, the decision.
            value = UUID.sub(lambda match: self.uuid(match[0]), value)
            value = IDENTIFIER.sub(lambda match: "".join(map(self.identifier, halves(match[0]))), value)
        value = UUID.sub("<uuid>", value)
        value = HTTP_DATE.sub("<date>", value)
        value = ISO_TIME.sub("<time>", value)
        value = CLIENT.sub(r"\1:<port>", value)
        value = COOKIE.sub('="<hash>"', value)
        # What a family of metrics is; Envoy does not say.
        value = HELP.sub("", value)
        if MACHINE:
            value = re.sub(rf"(?<![\d.]){re.escape(MACHINE)}(?![\d.])", "<machine>", value)
        return value

    def identifier(self, half):
        if half in self.given or half == "0" * 16:
            return half
        return self.identifiers.setdefault(half, f"<id {len(self.identifiers) + 1}>")

    def uuid(self, text):
        return f"<{'given' if free_of_nibble(text) in self.given_uuids else 'new'} uuid {text[14]}>"

    def value(self, key, value):
        """The value of an entry of the record."""
        if any(fnmatch.fnmatchcase(key.lower(), pattern) for pattern in DURATIONS) and value.isdigit():
            return "<ms>"
        if key.endswith(".header.x-envoy-expected-rq-timeout-ms") and value.isdigit():
            # A retry is told what is left of the time.
            step = 5000 if int(value) > 1000 else 1000
            if key.split(".")[2].isdigit() or int(value) > 1000 and int(value) % 1000:
                return f"at most {-(-int(value) // step) * step}"
        if any(fnmatch.fnmatchcase("." + key, pattern) for pattern in SELVES):
            value = PRODUCT.sub("<proxy>", SELF.sub("<version>", value))
        if key.endswith("header.set-cookie"):
            value = COOKIE.sub('="<hash>"', value)
        if key.endswith(".proxied"):
            value = PROXIED.sub(r"\1 <port> ", value)
        # A hello of TLS, most of which is random.
        if value.startswith("\x16\x03"):
            return "<TLS>"
        text = self.text(value)
        # In a PROXY protocol header the port stands apart from the client's address.
        return EPHEMERAL.sub(r" <port> \1", text) if key.endswith(".proxied") else text


def volatile(statistic):
    return any(fnmatch.fnmatchcase(statistic, pattern) for pattern in VOLATILE)
