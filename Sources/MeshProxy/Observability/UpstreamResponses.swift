import MeshPrimitives

/// What upstreams answered, by status and by time, under one prefix: `upstream_rq_200`, `upstream_rq_2xx`,
/// `upstream_rq_completed`, `upstream_rq_time`. Shared by all threads; shown while it lives and once it was used.
final class UpstreamResponses: Sendable {
  private let codes: ResponseCodeCounters
  private let time: LatencyHistogram
  private let lease: StatsLease

  init(_ prefix: String, prometheus: PrometheusScope, store: StatsStore) {
    lease = store.lease(prefix)
    codes = store.responseCodes(prefix, stem: "upstream_rq", prometheus: prometheus, detail: [.codes, .completed])
    time = store.histogram(prefix, HistogramDefinition(name: "upstream_rq_time"), prometheus: prometheus)
  }

  /// Counts a response, or what was answered in its place.
  @inline(__always)
  func add(_ status: Int, lane: Int) { codes.lane(lane).add(status) }

  /// The response is complete.
  @inline(__always)
  func record(_ microseconds: UInt64, lane: Int) { time.lane(lane).record(microseconds) }
}

/// The parts of a cluster's responses that Envoy shows by themselves. Each exists from its first response on.
struct ClusterResponseParts {
  /// `cluster.<name>.external`: requests of clients that are not trusted (no `x-envoy-internal`).
  private(set) var external: UpstreamResponses?
  /// `cluster.<name>.internal`.
  private(set) var `internal`: UpstreamResponses?
  /// `cluster.<name>.canary`: the upstream says `x-envoy-upstream-canary: true`.
  private(set) var canary: UpstreamResponses?

  @inline(__always)
  mutating func origin(isInternal: Bool, _ identity: ClusterIdentity) -> UpstreamResponses {
    if let known = isInternal ? self.internal : external { return known }
    let made = identity.responses(isInternal ? "internal" : "external")
    if isInternal { self.internal = made } else { external = made }
    return made
  }

  mutating func canary(_ identity: ClusterIdentity) -> UpstreamResponses {
    if let canary { return canary }
    let made = identity.responses("canary")
    canary = made
    return made
  }
}
