"""What the features cost that spare upstreams, for requests that have no need of them."""

import shutil

import peers

LIMIT = 1.15  # of instructions and system calls for a request, beside a configuration without them
MANY = 1_000_000_000  # nothing is ever limited


def resilient(configuration):
    """Adds a retry policy with a budget, circuit breakers, outlier detection and a local rate limit."""
    listener, cluster = (configuration["static_resources"][key][0] for key in ("listeners", "clusters"))
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        route["route"]["retry_policy"] = {"retry_on": "5xx,reset,connect-failure", "num_retries": 2}
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    manager["http_filters"].insert(0, {"name": "envoy.filters.http.local_ratelimit", "typed_config": {
        "@type": f"{peers.TYPES}.filters.http.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "front",
        "token_bucket": {"max_tokens": MANY, "tokens_per_fill": MANY, "fill_interval": "1s"},
        "filter_enabled": always, "filter_enforced": always}})
    cluster["circuit_breakers"] = {"thresholds": [{
        "max_connections": 2000, "max_pending_requests": 2000, "max_requests": 2000, "retry_budget": {}}]}
    cluster["outlier_detection"] = {"consecutive_5xx": 5, "consecutive_gateway_failure": 5, "interval": "1s",
                                    "max_ejection_percent": 100}
    return configuration


def with_times(configuration):
    """Adds the times that requests and attempts may take."""
    manager = configuration["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        route["route"]["timeout"] = "15s"
        route["route"]["retry_policy"]["per_try_timeout"] = "5s"
    return configuration


HAPROXY = """
global
  nbthread 1
  maxconn {connections}
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  option redispatch
  http-reuse always
  retries 2
  retry-on all-retryable-errors
frontend front
  bind 127.0.0.1:{port}{protection}
  unique-id-format %[uuid]
  unique-id-header x-request-id
  http-request set-header traceparent 00-%[rand,hex]%[rand,hex]-%[rand,hex]-01 if !{{ req.hdr(traceparent) -m found }}
  stick-table type integer size 10 expire 60s store http_req_rate(1s)
  http-request track-sc0 int(1)
  http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 1000000000 }}
  default_backend backend
backend backend
  server backend 127.0.0.1:{backend} maxconn 2000 check inter 60s observe layer7 error-limit 5 on-error mark-down
"""


class ResilienceScenario:
    """A part of `Bench`."""

    def plain_and_resilient(self):
        program = self.options.proxy
        return [self.martlet(),
                peers.Martlet(program, self.folder, self.backend_port, "martlet resilient", adapt=resilient),
                peers.Martlet(program, self.folder, self.backend_port, "martlet and times",
                              adapt=lambda configuration: with_times(resilient(configuration)))]

    def resilience(self):
        """User instructions, system calls and CPU per request with the features configured."""
        self.gate_ratio("user instructions", self.resilient_instructions())
        self.gate_ratio("system calls", self.resilient_calls())
        everyone = self.plain_and_resilient()[:2]
        # Ratios are to the one that is named like that.
        everyone[0].name, everyone[1].name = "martlet plain", "martlet"
        if shutil.which("haproxy"):
            everyone.append(peers.HAProxy(self.folder, self.backend_port, self.descriptors, text=HAPROXY))
        envoy = peers.find_envoy(peers.ROOT)
        if envoy:
            everyone.append(peers.Envoy(envoy, self.folder, self.backend_port, adapt=resilient))
        median = self.compare("resilience", everyone, lambda peer: self.round(peer, 150, ()))
        self.show_cost("resilience", "150-byte responses, with retries, circuit breakers, outlier detection and a local rate "
                                     "limit configured", median)
        self.ratio_gate("resilience", median, "HAProxy", 0.9)

    def gate_ratio(self, what, measured):
        if "martlet" not in measured:
            return
        self.results[f"resilience {what}"] = measured
        print(f"\nresilience: {what} per request")
        for name, value in measured.items():
            print(f"  {name:<20}{value:>10,.2f}{value / measured['martlet']:>10.2f}")
        self.gate(f"resilience: {what} per request ÷ without", measured["martlet resilient"] / measured["martlet"], LIMIT,
                  "{:.2f}")

    def resilient_instructions(self):
        if not shutil.which("valgrind"):
            self.note("valgrind is not installed: no instruction counts")
            return {}
        found = {peer.name: self.instructions_per_request("resilience", peer) for peer in self.plain_and_resilient()}
        return {} if None in found.values() else found

    def resilient_calls(self):
        if not shutil.which("strace"):
            self.note("strace is not installed: no system call counts")
            return {}
        found = {peer.name: self.calls_per_request("resilience", peer) for peer in self.plain_and_resilient()}
        return {} if None in found.values() else {name: sum(each.values()) for name, each in found.items()}
