"""What it costs to tell what happens: spans of all requests or of some, and Istio's metrics."""

import shutil
import subprocess

import peers

TRACED, FEW_TRACED, TELEMETRY = 1.35, 1.03, 1.10  # limits of instructions for a request, beside a configuration without


def manager_of(configuration):
    return configuration["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]


def traced(percent, collector):
    """Adds tracing of so many requests, by OTLP over HTTP."""

    def adapt(configuration):
        manager_of(configuration)["tracing"] = {
            "random_sampling": {"value": percent},
            "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": {
                "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                "service_name": "benchmark",
                "http_service": {"http_uri": {"uri": "http://collector.example/v1/traces", "cluster": "collector",
                                              "timeout": "1s"}}}}}
        configuration["static_resources"]["clusters"].append({
            "name": "collector", "type": "STATIC", "connect_timeout": "5s",
            "load_assignment": {"cluster_name": "collector", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": peers.socket_address(collector)}}]}]}})
        return configuration

    return adapt


def as_sidecar(configuration):
    """What a server's sidecar has, but for the filter that counts: direction and metadata."""
    configuration["static_resources"]["listeners"][0]["traffic_direction"] = "INBOUND"
    configuration["node"]["metadata"] = {
        "NAMESPACE": "default", "WORKLOAD_NAME": "productpage-v1", "CLUSTER_ID": "Kubernetes", "MESH_ID": "cluster.local",
        "LABELS": {"app": "productpage", "version": "v1"}}
    configuration["static_resources"]["clusters"][0]["metadata"] = {"filter_metadata": {"istio": {"services": [
        {"host": "productpage.default.svc.cluster.local", "name": "productpage", "namespace": "default"}]}}}
    return configuration


def counted(configuration):
    """Adds Istio's filter of metrics."""
    manager_of(as_sidecar(configuration))["http_filters"].insert(0, {"name": "istio.stats", "typed_config": {
        "@type": "type.googleapis.com/stats.PluginConfig"}})
    return configuration


class TelemetryScenarios:
    """A part of `Bench`."""

    def martlet_with(self, name, adapt):
        return peers.Martlet(self.options.proxy, self.folder, self.backend_port, name, adapt=adapt)

    def tracing(self):
        """User instructions and CPU per request with a span of each, and of each hundredth; the collector takes all."""
        port = peers.free_port()
        sink = subprocess.Popen([*self.load_core, self.programs["sink"], str(port)], start_new_session=True)
        try:
            self.tracing_to(port)
        finally:
            sink.kill()
            sink.wait()

    def tracing_to(self, collector):
        def configured():
            return [self.martlet(), self.martlet_with("martlet 1 percent", traced(1, collector)),
                    self.martlet_with("martlet all", traced(100, collector))]

        measured = self.telemetry_instructions("tracing", configured())
        if measured:
            self.gate("tracing: user instructions per request ÷ without", measured["martlet all"] / measured["martlet"],
                      TRACED, "{:.2f}")
            self.gate("tracing of 1 %: user instructions ÷ without", measured["martlet 1 percent"] / measured["martlet"],
                      FEW_TRACED, "{:.3f}")
        plain, _, every = configured()
        # Ratios are to the one that is named like that.
        plain.name, every.name = "martlet plain", "martlet"
        everyone = [plain, every]
        if shutil.which("haproxy"):
            everyone.append(peers.HAProxy(self.folder, self.backend_port, self.descriptors))
        envoy = peers.find_envoy(peers.ROOT)
        if envoy:
            everyone.append(peers.Envoy(envoy, self.folder, self.backend_port, adapt=traced(100, collector)))
        median = self.compare("tracing", everyone, lambda peer: self.round(peer, 150, ()))
        self.show_cost("tracing", "150-byte responses, a span of every request sent by OTLP/HTTP; HAProxy without", median)
        self.ratio_gate("tracing", median, "HAProxy", 1.0)

    def telemetry(self):
        """User instructions per request with Istio's metrics."""
        measured = self.telemetry_instructions("telemetry", [
            self.martlet_with("martlet", as_sidecar), self.martlet_with("martlet telemetry", counted)])
        if measured:
            self.gate("telemetry: user instructions per request ÷ without",
                      measured["martlet telemetry"] / measured["martlet"], TELEMETRY, "{:.3f}")

    def telemetry_instructions(self, scenario, everyone):
        if not shutil.which("valgrind"):
            self.note("valgrind is not installed: no instruction counts")
            return {}
        measured = {peer.name: self.instructions_per_request(scenario, peer) for peer in everyone}
        if None in measured.values():
            return {}
        self.results[f"{scenario} instructions"] = measured
        print(f"\n{scenario}: user instructions per request")
        for name, value in measured.items():
            print(f"  {name:<20}{value:>10,.0f}{value / measured['martlet']:>10.3f}")
        return measured
