import MeshPrimitives

/// What upstreams answered, by status and by time, under one prefix: `upstream_rq_200`, `upstream_rq_2xx`,
/// `upstream_rq_completed`, `upstream_rq_time`. Shared by all threads; shown while it lives and once it was used.
final class UpstreamResponses: Sendable {
  let codes: ResponseCodeCounters
  let time: LatencyHistogram
  private let lease: StatsLease

  init(_ prefix: String, prometheus: PrometheusScope, store: StatsStore) {
    lease = store.lease(prefix)
    codes = store.responseCodes(prefix, stem: "upstream_rq", prometheus: prometheus, detail: [.codes, .completed])
    time = store.histogram(
      prefix,
      HistogramDefinition(
        name: "upstream_rq_time", help: "From the last attempt to the end of the response, in milliseconds."),
      prometheus: prometheus)
  }

  /// Counts a response, or what was answered in its place.
  @inline(__always)
  func add(_ status: Int, lane: Int) { codes.lane(lane).add(status) }

  /// The response is complete.
  @inline(__always)
  func record(_ microseconds: UInt64, lane: Int) { time.lane(lane).record(microseconds) }
}

/// The parts of a cluster's responses that Envoy shows by themselves, as one worker counts them. Each exists from its
/// first response on.
struct ClusterResponseParts {
  /// Bare lanes: nothing is retained while requests run.
  private struct Lane {
    let codes: ResponseCodeLane
    let time: HistogramLane
  }

  /// `cluster.<name>.external`: requests of clients that are not trusted (no `x-envoy-internal`).
  private var external: Lane?
  /// `cluster.<name>.internal`.
  private var `internal`: Lane?
  /// `cluster.<name>.canary`: the upstream says `x-envoy-upstream-canary: true`.
  private var canary: Lane?
  /// `cluster.<name>.retry`: responses that were given up for another attempt.
  private var retried: Lane?
  /// What the lanes belong to.
  private var owners: [UpstreamResponses] = []

  /// Counts a response.
  @inline(__always)
  mutating func add(_ status: Int, isInternal: Bool, _ cluster: ActiveCluster) {
    if isInternal {
      if self.internal == nil { self.internal = makeLane("internal", cluster) }
      self.internal?.codes.add(status)
    } else {
      if external == nil { external = makeLane("external", cluster) }
      external?.codes.add(status)
    }
  }

  /// Its response is complete.
  @inline(__always)
  mutating func record(_ microseconds: UInt64, isInternal: Bool) {
    if isInternal { self.internal?.time.record(microseconds) } else { external?.time.record(microseconds) }
  }

  mutating func addCanary(_ status: Int, _ cluster: ActiveCluster) {
    if canary == nil { canary = makeLane("canary", cluster) }
    canary?.codes.add(status)
  }

  mutating func addRetried(_ status: Int, _ cluster: ActiveCluster) {
    if retried == nil { retried = makeLane("retry", cluster) }
    retried?.codes.add(status)
  }

  mutating func recordCanary(_ microseconds: UInt64) { canary?.time.record(microseconds) }

  @inline(never)
  private mutating func makeLane(_ part: String, _ cluster: ActiveCluster) -> Lane {
    let responses = cluster.identity.responses(part)
    owners.append(responses)
    return Lane(codes: responses.codes.lane(cluster.lane), time: responses.time.lane(cluster.lane))
  }
}

/// How long a cluster's connections lived and how many requests each had: `upstream_cx_length_ms`,
/// `upstream_rq_per_cx`. Shared by all threads.
final class ConnectionLifetimes: Sendable {
  private let length: LatencyHistogram
  private let requests: LatencyHistogram

  init(_ prefix: String, prometheus: PrometheusScope, store: StatsStore) {
    length = store.histogram(
      prefix, HistogramDefinition(name: "upstream_cx_length_ms", help: "How long connections lived, in milliseconds."),
      prometheus: prometheus)
    requests = store.histogram(
      prefix, HistogramDefinition(name: "upstream_rq_per_cx", help: "How many requests each connection had.", scale: 1),
      prometheus: prometheus)
  }

  func add(microseconds: UInt64, requests count: UInt64, lane: Int) {
    length.lane(lane).record(microseconds)
    requests.lane(lane).record(count)
  }
}
