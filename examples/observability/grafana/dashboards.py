#!/usr/bin/env python3
"""Writes the dashboards beside this file: mesh, service and workload by Istio's metrics, proxy by Envoy's.

    dashboards.py [--check]

--check says which of them are not what this file makes, and changes nothing.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RATE = "$__rate_interval"
# Answers that are the server's fault; requests whose clients left count for nothing (see prometheus/rules/recording.yml).
COUNTED = 'response_flags!~".*(DC|DR).*"'
GOOD = ('response_code!~"0|5..", grpc_response_status!~"2|4|12|13|14|15", '
        'response_flags!~".*(DC|DR|UC|UR|UPE|UT|SI|UMSDR|OM).*"')


# Queries


def requests(where, by="", good=False):
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (rate(istio_requests_total{{{where}, {GOOD if good else COUNTED}}}[{RATE}]))"


def success(where, by=""):
    total = requests(where, by)
    return f"({requests(where, by, good=True)} or {total} * 0) / ({total} > 0)"


def quantile(share, metric, where, by=""):
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{where}}}[{RATE}])))"


def duration(share, where, by=""):
    return quantile(share, "istio_request_duration_milliseconds", f"{where}, {COUNTED}", by)


def rate(metric, where="", by=""):
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (rate({metric}{{{where}}}[{RATE}]))"


# Panels


class Board:
    def __init__(self, uid, title, description, variables):
        self.panels, self.x, self.y, self.height = [], 0, 0, 0
        self.board = {
            "uid": uid, "title": title, "description": description, "tags": ["martlet"], "schemaVersion": 39, "version": 1,
            "editable": True, "graphTooltip": 1, "refresh": "10s", "time": {"from": "now-30m", "to": "now"}, "timezone": "browser",
            "annotations": {"list": [{
                "name": "Alerts", "datasource": SOURCE, "enable": True, "iconColor": "red",
                "expr": 'ALERTS{alertstate="firing"}', "titleFormat": "{{alertname}}", "step": "10s"}]},
            "links": [{"title": "Martlet", "type": "dashboards", "tags": ["martlet"], "asDropdown": True, "includeVars": True,
                       "keepTime": True}],
            "templating": {"list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
                                     "refresh": 1, "includeAll": False, "multi": False}]
                           + [self.variable(*variable) for variable in variables]},
            "panels": self.panels,
        }

    @staticmethod
    def variable(name, label, query, everything=True):
        return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "definition": query,
                "query": {"query": query, "refId": name}, "refresh": 2, "sort": 1, "multi": everything,
                "includeAll": everything} | ({"allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}} if everything else {})

    def place(self, width, height):
        if self.x + width > 24:
            self.x, self.y, self.height = 0, self.y + self.height, 0
        place = {"x": self.x, "y": self.y, "w": width, "h": height}
        self.x, self.height = self.x + width, max(self.height, height)
        return place

    def row(self, title):
        self.x, self.y, self.height = 0, self.y + self.height, 0
        self.panels.append({"id": len(self.panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
                            "gridPos": {"x": 0, "y": self.y, "w": 24, "h": 1}})
        self.y += 1

    def panel(self, kind, title, targets, unit, size, description="", options=None, defaults=None, **more):
        self.panels.append({
            "id": len(self.panels) + 1, "type": kind, "title": title, "description": description, "datasource": SOURCE,
            "gridPos": self.place(*size),
            "targets": [{"refId": chr(65 + index), "datasource": SOURCE, "expr": expression, "legendFormat": legend or "__auto"}
                        | ({"instant": True, "range": False} if kind == "stat" else {"range": True})
                        # Points that lead to traces.
                        | ({"exemplar": True} if kind == "timeseries" and "_bucket" in expression else {})
                        for index, (expression, legend) in enumerate(targets)],
            "fieldConfig": {"defaults": {"unit": unit} | (defaults or {}), "overrides": []},
            "options": options or {}} | more)

    def stat(self, title, expression, unit, description="", bounds=(), width=4):
        steps = [{"color": "green", "value": None}] + [{"color": color, "value": value} for value, color in bounds]
        self.panel("stat", title, [(expression, "")], unit, (width, 4), description,
                   {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value",
                    "graphMode": "none"},
                   {"thresholds": {"mode": "absolute", "steps": steps}})

    def graph(self, title, targets, unit, description="", width=12, stacked=False, most=None):
        custom = {"drawStyle": "line", "fillOpacity": 20 if stacked else 5, "showPoints": "never", "lineWidth": 1,
                  "stacking": {"mode": "normal" if stacked else "none"}}
        defaults = {"custom": custom, "min": 0} | ({"max": most} if most else {})
        self.panel("timeseries", title, targets, unit, (width, 8), description,
                   {"legend": {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]},
                    "tooltip": {"mode": "multi", "sort": "desc"}}, defaults)

    def table(self, title, columns, description="", width=24):
        """- columns: (name, expression, unit); all by the same labels."""
        overrides = [{"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
                     for name, _, unit in columns]
        names = {f"Value #{chr(65 + index)}": name for index, (name, _, _) in enumerate(columns)}
        self.panels.append({
            "id": len(self.panels) + 1, "type": "table", "title": title, "description": description, "datasource": SOURCE,
            "gridPos": self.place(width, 9),
            "targets": [{"refId": chr(65 + index), "datasource": SOURCE, "expr": expression, "format": "table", "instant": True,
                         "range": False} for index, (_, expression, _) in enumerate(columns)],
            "fieldConfig": {"defaults": {"custom": {"align": "auto", "filterable": True}}, "overrides": overrides},
            "transformations": [{"id": "merge", "options": {}},
                                {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names}}],
            "options": {"showHeader": True, "sortBy": [{"displayName": columns[0][0], "desc": True}]}})

    def write(self, name, check):
        text = json.dumps(self.board, indent=2, ensure_ascii=False) + "\n"
        path = HERE / f"{name}.json"
        same = path.exists() and path.read_text(encoding="utf-8") == text
        if not same and not check:
            path.write_text(text, encoding="utf-8")
        return same


SHARE_BOUNDS = ((0, "red"), (0.99, "orange"), (0.999, "green"))
DURATIONS = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))


def mesh():
    board = Board("martlet-mesh", "Martlet: mesh", "All services at a glance: who fails, who is slow, who talks to whom.",
                  [("namespace", "Namespace", "label_values(istio_requests_total, destination_service_namespace)")])
    source = 'reporter="source", destination_service_namespace=~"$namespace"'
    by = "destination_service_name, destination_service_namespace"
    board.stat("Requests", requests(source), "reqps", "As the callers' proxies count them.")
    board.stat("Good", success(source), "percentunit", "The share of requests that were answered as they should be.", SHARE_BOUNDS)
    board.stat("p99", duration(0.99, source), "ms", "One of a hundred requests takes longer.")
    board.stat("Answers 4xx", rate("istio_requests_total", f'{source}, response_code=~"4.."'), "reqps")
    board.stat("Answers 5xx", rate("istio_requests_total", f'{source}, response_code=~"5.."'), "reqps")
    board.stat("Alerts", 'count(ALERTS{alertstate="firing"}) or vector(0)', "none", "That fire now.", ((1, "red"),))
    board.stat("Mutual TLS", rate("istio_requests_total", 'reporter="destination", connection_security_policy="mutual_tls"')
               + " / " + rate("istio_requests_total", 'reporter="destination"'), "percentunit",
               "The share of requests that reached a sidecar by mutual TLS.", SHARE_BOUNDS)
    board.stat("TCP", rate("istio_tcp_sent_bytes_total", source) + " + " + rate("istio_tcp_received_bytes_total", source), "Bps")
    board.stat("TCP connections", rate("istio_tcp_connections_opened_total", source), "cps")
    board.stat("Proxies", "count(envoy_server_live == 1)", "none", "That serve.")
    board.stat("Proxies down", 'count(up{job="martlet"} == 0) or vector(0)', "none", "", ((1, "red"),))
    board.stat("Series", "sum(envoy_istio_stats_series)", "short", "Of Istio's metrics, all proxies together.")
    board.row("Services")
    board.table("HTTP and gRPC", [
        ("Requests", requests(source, by), "reqps"), ("Good", success(source, by), "percentunit"),
        ("p50", duration(0.5, source, by), "ms"), ("p90", duration(0.9, source, by), "ms"),
        ("p99", duration(0.99, source, by), "ms")])
    board.table("TCP", [
        ("To clients", rate("istio_tcp_sent_bytes_total", source, by), "Bps"),
        ("From clients", rate("istio_tcp_received_bytes_total", source, by), "Bps"),
        ("Opened", rate("istio_tcp_connections_opened_total", source, by), "cps"),
        ("Closed", rate("istio_tcp_connections_closed_total", source, by), "cps")])
    board.row("Over time")
    board.graph("Requests", [(requests(source, by), "{{destination_service_name}}")], "reqps", stacked=True)
    board.graph("Good", [(success(source, by), "{{destination_service_name}}")], "percentunit", most=1)
    board.graph("p99", [(duration(0.99, source, by), "{{destination_service_name}}")], "ms")
    board.graph("What failed", [(
        rate("istio_requests_total", f'{source}, response_flags!="-"', "destination_service_name, response_code, response_flags"),
        "{{destination_service_name}} {{response_code}} {{response_flags}}")], "reqps",
        "By response flags: docs/operations.md#response-flags says what they mean.", stacked=True)
    board.row("Who talks to whom")
    edge = "source_workload, destination_service_name, destination_workload, request_protocol"
    board.table("Calls", [("Requests", requests(source, edge), "reqps"), ("Good", success(source, edge), "percentunit"),
                          ("p99", duration(0.99, source, edge), "ms")])
    return board


def side(board, where, by, label):
    """What there is to see of requests on one side: all, and by whoever is at the other end."""
    board.graph("Requests", [(requests(where, f"{by}, response_code, response_flags"),
                              f"{label} {{{{response_code}}}} {{{{response_flags}}}}")], "reqps", stacked=True)
    board.graph("Good", [(success(where, by), label)], "percentunit", most=1)
    board.graph("Duration", [(duration(share, where, by), f"{label} {name}") for share, name in DURATIONS], "ms")
    board.graph("gRPC by status", [(rate("istio_requests_total", f'{where}, request_protocol="grpc"', f"{by}, grpc_response_status"),
                                    f"{label} {{{{grpc_response_status}}}}")], "reqps",
                "0 is OK, 14 UNAVAILABLE, 4 DEADLINE_EXCEEDED.", stacked=True)
    board.graph("Size of requests", [(quantile(0.9, "istio_request_bytes", where, by), f"{label} p90")], "bytes")
    board.graph("Size of responses", [(quantile(0.9, "istio_response_bytes", where, by), f"{label} p90")], "bytes")
    board.graph("gRPC messages", [(rate("istio_request_messages_total", where, by), f"{label} to the server"),
                                  (rate("istio_response_messages_total", where, by), f"{label} to the client")], "mps")
    board.graph("TCP", [(rate("istio_tcp_sent_bytes_total", where, by), f"{label} to clients"),
                        (rate("istio_tcp_received_bytes_total", where, by), f"{label} from clients")], "Bps")
    board.graph("TCP connections", [(rate("istio_tcp_connections_opened_total", where, by), f"{label} opened"),
                                    (rate("istio_tcp_connections_closed_total", where, by), f"{label} closed")], "cps")


def service():
    board = Board("martlet-service", "Martlet: service", "One service: who calls it, and what its workloads do.", [
        ("namespace", "Namespace", "label_values(istio_requests_total, destination_service_namespace)"),
        ("service", "Service", 'label_values({__name__=~"istio_requests_total|istio_tcp_connections_opened_total", '
         'destination_service_namespace=~"$namespace"}, destination_service_name)')])
    of = 'destination_service_namespace=~"$namespace", destination_service_name=~"$service"'
    client, server = f'reporter="source", {of}', f'reporter="destination", {of}'
    board.stat("Requests", requests(client), "reqps", "As the callers' proxies count them.")
    board.stat("Good", success(client), "percentunit", "As the callers see it.", SHARE_BOUNDS)
    board.stat("p99", duration(0.99, client), "ms", "As the callers see it.")
    board.stat("Good, at the service", success(server), "percentunit",
               "As the service's own proxies see it. Better than the callers' view: what fails, fails before it gets here.", SHARE_BOUNDS)
    board.stat("p99, at the service", duration(0.99, server), "ms", "What the callers see above this is the network and the proxies.")
    board.stat("Mutual TLS", rate("istio_requests_total", f'{server}, connection_security_policy="mutual_tls"') + " / "
               + rate("istio_requests_total", server), "percentunit", "", SHARE_BOUNDS)
    board.row("Callers, as their proxies see it")
    side(board, client, "source_workload", "{{source_workload}}")
    board.row("Workloads of the service, as their proxies see it")
    side(board, server, "destination_workload", "{{destination_workload}}")
    board.table("Who is let in", [("Requests", rate("istio_requests_total", server,
                                                    "source_principal, destination_workload, connection_security_policy"), "reqps")],
                "By the identity in the client's certificate.")
    return board


def workload():
    board = Board("martlet-workload", "Martlet: workload", "One workload: what it serves, and what it calls.", [
        ("namespace", "Namespace", 'label_values(istio_requests_total{reporter="source"}, source_workload_namespace)'),
        ("workload", "Workload", 'label_values({__name__=~"istio_requests_total|istio_tcp_connections_opened_total", '
         'destination_workload_namespace=~"$namespace"}, destination_workload)')])
    inbound = 'reporter="destination", destination_workload_namespace=~"$namespace", destination_workload=~"$workload"'
    outbound = 'reporter="source", source_workload_namespace=~"$namespace", source_workload=~"$workload"'
    board.stat("Requests in", requests(inbound), "reqps")
    board.stat("Good", success(inbound), "percentunit", "", SHARE_BOUNDS)
    board.stat("p99", duration(0.99, inbound), "ms")
    board.stat("Requests out", requests(outbound), "reqps")
    board.stat("Good", success(outbound), "percentunit", "Of what it calls.", SHARE_BOUNDS)
    board.stat("p99", duration(0.99, outbound), "ms", "Of what it calls.")
    board.row("In, by caller")
    side(board, inbound, "source_workload", "{{source_workload}}")
    board.row("Out, by service")
    side(board, outbound, "destination_service_name", "{{destination_service_name}}")
    return board


def proxy():
    board = Board("martlet-proxy", "Martlet: proxy", "One proxy from the inside: what it does with whom, and what limits it.", [
        ("instance", "Proxy", "label_values(envoy_server_live, instance)"),
        ("cluster", "Cluster", 'label_values(envoy_cluster_upstream_cx_total{instance=~"$instance"}, envoy_cluster_name)')])
    own = 'instance=~"$instance"'
    of = f'{own}, envoy_cluster_name=~"$cluster"'
    by = "instance, envoy_cluster_name"
    label = "{{instance}} {{envoy_cluster_name}}"
    board.stat("Uptime", f"min(envoy_server_uptime{{{own}}})", "s", "Of the one that started last.")
    board.stat("Memory", f"sum(envoy_server_memory_physical_size{{{own}}})", "bytes")
    board.stat("Connections", f"sum(envoy_server_total_connections{{{own}}})", "short", "From clients.")
    board.stat("Requests under way", f"sum(envoy_http_downstream_rq_active{{{own}}})", "short")
    board.stat("Certificates end in", f'min({{__name__=~"envoy_(listener|cluster)_ssl_certificate_expiration_unix_time_seconds", {own}}}) '
               "- time()", "s", "The one that ends first.", ((0, "red"), (7 * 86400, "green")))
    board.stat("Configurations refused", f"sum(envoy_server_config_reload_failure{{{own}}})", "none", "", ((1, "orange"),))
    board.row("Clients")
    board.graph("Answers", [(rate("envoy_http_downstream_rq_xx", own, "instance, envoy_response_code_class"),
                             "{{instance}} {{envoy_response_code_class}}xx")], "reqps", stacked=True)
    board.graph("Time to answer", [(quantile(0.99, "envoy_http_downstream_rq_time", own, "instance"), "{{instance}} p99")], "ms")
    board.graph("Connections", [(f"sum by (instance) (envoy_http_downstream_cx_active{{{own}}})", "{{instance}} HTTP"),
                                (rate("envoy_tcp_downstream_cx_total", own, "instance"), "{{instance}} TCP, new a second")], "short")
    board.graph("Turned away", [
        (rate("envoy_http_local_rate_limit_enforced", own, "instance"), "{{instance}} local rate limit"),
        (rate("envoy_http_no_route", own, "instance"), "{{instance}} no route"),
        (rate("envoy_http_downstream_rq_overload_close", own, "instance"), "{{instance}} overload"),
        (rate("envoy_http_downstream_cx_protocol_error", own, "instance"), "{{instance}} no HTTP")], "reqps")
    board.row("Upstreams")
    board.graph("Answers", [(rate("envoy_cluster_upstream_rq", of, f"{by}, envoy_response_code"), f"{label} {{{{envoy_response_code}}}}")],
                "reqps", stacked=True)
    board.graph("Time to answer", [(quantile(0.99, "envoy_cluster_upstream_rq_time", of, by), f"{label} p99")], "ms")
    board.graph("Endpoints", [(f"envoy_cluster_membership_healthy{{{of}}}", f"{label} healthy"),
                              (f"envoy_cluster_membership_total{{{of}}}", f"{label} all"),
                              (f"envoy_cluster_outlier_detection_ejections_active{{{of}}}", f"{label} ejected")], "short")
    board.graph("Connections", [(f"envoy_cluster_upstream_cx_active{{{of}}}", f"{label} open"),
                                (rate("envoy_cluster_upstream_cx_connect_fail", of, by), f"{label} failed a second")], "short")
    board.graph("Limits", [
        (f"envoy_cluster_upstream_rq_active{{{of}}}", f"{label} active"),
        (f"envoy_cluster_upstream_rq_pending_active{{{of}}}", f"{label} waiting"),
        (f"envoy_cluster_circuit_breakers_default_rq_open{{{of}}}", f"{label} max_requests reached"),
        (rate("envoy_cluster_upstream_rq_active_overflow", of, by), f"{label} refused a second: max_requests"),
        (rate("envoy_cluster_upstream_rq_pending_overflow", of, by), f"{label} refused a second: max_pending_requests")], "short",
        "Circuit breakers are limits on how much goes on at once.")
    board.graph("Retries", [
        (rate("envoy_cluster_upstream_rq_retry", of, by), f"{label} sent again"),
        (rate("envoy_cluster_upstream_rq_retry_success", of, by), f"{label} that helped"),
        (rate("envoy_cluster_upstream_rq_retry_limit_exceeded", of, by), f"{label} num_retries used up"),
        (rate("envoy_cluster_upstream_rq_retry_overflow", of, by), f"{label} budget used up")], "reqps")
    board.graph("Timeouts", [(rate("envoy_cluster_upstream_rq_timeout", of, by), f"{label} timeout"),
                             (rate("envoy_cluster_upstream_rq_per_try_timeout", of, by), f"{label} per_try_timeout"),
                             (rate("envoy_cluster_upstream_cx_connect_timeout", of, by), f"{label} connect_timeout")], "reqps")
    board.graph("Health checks", [(rate("envoy_cluster_health_check_failure", of, by), f"{label} failed"),
                                  (rate("envoy_cluster_health_check_success", of, by), f"{label} succeeded")], "cps")
    board.row("TLS")
    board.graph("Handshakes", [(rate("envoy_listener_ssl_handshake", own, "instance"), "{{instance}} clients"),
                               (rate("envoy_cluster_ssl_handshake", own, "instance"), "{{instance}} upstreams")], "cps")
    board.graph("Handshakes that failed", [
        (rate("envoy_listener_ssl_connection_error", own, "instance"), "{{instance}} no TLS, or nothing in common"),
        (rate("envoy_listener_ssl_fail_verify_no_cert", own, "instance"), "{{instance}} no certificate"),
        (rate("envoy_listener_ssl_fail_verify_error", own, "instance"), "{{instance}} not verified"),
        (rate("envoy_cluster_ssl_fail_verify_error", own, "instance"), "{{instance}} upstream not verified")], "cps")
    board.row("The proxy itself")
    board.graph("Memory", [(f"envoy_server_memory_physical_size{{{own}}}", "{{instance}}")], "bytes")
    board.graph("Spans", [
        (rate("envoy_tracing_zipkin_spans_sent", own, "instance"), "{{instance}} sent"),
        (rate("envoy_tracing_zipkin_spans_dropped", own, "instance"), "{{instance}} dropped"),
        (f"envoy_tracing_zipkin_spans_waiting{{{own}}}", "{{instance}} waiting")], "short",
        "With OpenTelemetry envoy_tracing_opentelemetry_… in their place.")
    board.graph("Series of Istio's metrics", [(f"envoy_istio_stats_series{{{own}}}", "{{instance}}"),
                                              (rate("envoy_istio_stats_series_overflow_total", own, "instance"), "{{instance}} counted together, a second")],
                "short")
    board.graph("Access log", [(rate("envoy_filesystem_write_completed", own, "instance"), "{{instance}} blocks written"),
                               (rate("envoy_filesystem_write_dropped", own, "instance"), "{{instance}} lines lost")], "ops")
    return board


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    check = bool(sys.argv[1:])
    stale = [name for name, make in (("mesh", mesh), ("service", service), ("workload", workload), ("proxy", proxy))
             if not make().write(name, check)]
    if check and stale:
        print(f"dashboards.py: {', '.join(stale)}: not what this file makes; run it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
