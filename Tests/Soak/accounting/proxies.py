"""The proxies' configurations."""

from .wishes import TIMEOUT

TYPES = "type.googleapis.com/envoy.extensions"
SERVICES = ("service1", "service2")


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def typed(name, message, **fields):
    return {"name": name, "typed_config": {"@type": message if "/" in message else f"{TYPES}.{message}", **fields}}


def cluster(name, port, service=None, h2=False):
    found = {"name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": {"cluster_name": name, "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]},
        "circuit_breakers": {"thresholds": [{"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096,
                                             "max_retries": 4096}]}}
    if service:
        found["metadata"] = {"filter_metadata": {"istio": {"services": [
            {"host": f"{service}.default.svc.cluster.local", "name": service, "namespace": "default"}]}}}
    if h2:
        found["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http2_protocol_options": {}}}}
    return found


LOG = {"id": "%REQ(X-REQUEST-ID)%", "code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%", "grpc": "%GRPC_STATUS_NUMBER%",
       "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "cluster": "%UPSTREAM_CLUSTER%", "type": "%REQ(CONTENT-TYPE)%",
       "details": "%RESPONSE_CODE_DETAILS%"}


def listener(name, port, direction, routes, folder):
    """`routes` by prefix; what is gRPC goes to the cluster of the same name with `-grpc`."""
    def route(match, action):
        return {"match": match, **action}

    exchange = typed("istio.metadata_exchange", "type.googleapis.com/io.istio.http.peer_metadata.Config", **{
        f"{'upstream' if direction == 'OUTBOUND' else 'downstream'}_{what}": [{"istio_headers": {}}]
        for what in ("discovery", "propagation")})
    manager = typed(
        "envoy.filters.network.http_connection_manager", "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name, codec_type="AUTO",
        access_log=[typed("envoy.access_loggers.file", "access_loggers.file.v3.FileAccessLog", path=str(folder / f"{name}.log"),
                          log_format={"json_format": LOG})],
        route_config={"name": name, "virtual_hosts": [{"name": "any", "domains": ["*"], "routes": [
            route(match, action) for match, action in routes]}]},
        http_filters=[exchange, typed("istio.stats", "type.googleapis.com/stats.PluginConfig"),
                      typed("envoy.filters.http.router", "filters.http.router.v3.Router")])
    return {"name": name, "address": address(port), "traffic_direction": direction, "filter_chains": [{"filters": [manager]}]}


def proxy(name, admin, listeners, clusters):
    service = name.removesuffix("-sidecar")
    return {
        "node": {"id": f"{name}-1", "cluster": service, "metadata": {
            "NAMESPACE": "default", "WORKLOAD_NAME": f"{service}-v1", "CLUSTER_ID": "Kubernetes", "MESH_ID": "cluster.local",
            "LABELS": {"app": service, "version": "v1", "service.istio.io/canonical-name": service,
                       "service.istio.io/canonical-revision": "v1"}}},
        "admin": {"address": address(admin)},
        "static_resources": {"listeners": listeners, "clusters": clusters}}


def configurations(ports, folder):
    """By proxy. The admin interface's port is `<name>-admin`."""
    retried = {"retry_policy": {"retry_on": "5xx,connect-failure", "num_retries": 1, "retry_back_off": {
        "base_interval": "0.001s", "max_interval": "0.002s"}}}
    plain = {"cluster": "service1", "timeout": "5s"}
    front = [
        ({"prefix": "/", "grpc": {}}, {"route": {"cluster": "service1-grpc", "timeout": "5s"}}),
        ({"prefix": "/direct"}, {"direct_response": {"status": 418, "body": {"inline_string": "here"}}}),
        ({"prefix": "/dead"}, {"route": {"cluster": "dead"}}),
        ({"prefix": "/retry"}, {"route": {**plain, **retried}}), ({"prefix": "/tries"}, {"route": {**plain, **retried}}),
        ({"prefix": "/slow"}, {"route": {**plain, "timeout": f"{TIMEOUT}s"}}),
        # By HTTP/2, where a request that is given up does not end a connection.
        *(({"prefix": f"/{name}"}, {"route": {**plain, "cluster": "service1-h2"}}) for name in ("big", "cut", "later")),
        *(({"prefix": f"/{name}"}, {"route": plain}) for name in ("code", "reset", "close", "late", "chain"))]

    def inbound(service):
        return [({"prefix": "/", "grpc": {}}, {"route": {"cluster": "local-grpc", "timeout": "0s"}}),
                ({"prefix": "/"}, {"route": {"cluster": "local", "timeout": "0s"}})]

    found = {"front-proxy": proxy("front-proxy", ports["front-proxy-admin"], [
        listener("front", ports["front"], "OUTBOUND", front, folder)], [
        cluster("service1", ports["inbound1"], "service1"), cluster("service1-grpc", ports["inbound1"], "service1", h2=True),
        cluster("service1-h2", ports["inbound1"], "service1", h2=True),
        cluster("dead", ports["dead"], "dead")])}
    for number, service in enumerate(SERVICES, 1):
        listeners = [listener(f"inbound{number}", ports[f"inbound{number}"], "INBOUND", inbound(service), folder)]
        clusters = [cluster("local", ports[service], service), cluster("local-grpc", ports[service] + 1, service, h2=True)]
        if number == 1:
            listeners.append(listener("outbound1", ports["outbound1"], "OUTBOUND", [
                ({"prefix": "/"}, {"route": {"cluster": "service2", "timeout": "5s"}})], folder))
            clusters.append(cluster("service2", ports["inbound2"], "service2"))
        found[f"{service}-sidecar"] = proxy(f"{service}-sidecar", ports[f"{service}-sidecar-admin"], listeners, clusters)
    return found
