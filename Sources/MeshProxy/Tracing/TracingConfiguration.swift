import MeshPrimitives
import MeshRouting

/// `HttpConnectionManager.tracing`, checked and compiled: which requests are traced, where their spans go, and what these
/// say. Immutable; shared by all threads.
final class TracingConfiguration: Sendable {
  let tracer: Tracer
  /// `http.<stat_prefix>.tracing.…`
  let stats: StatBlock<TracingStat>
  /// A listener with `traffic_direction: OUTBOUND` calls for the service beside it.
  let isOutbound: Bool
  /// What a span of a request is: of a call that is made, unless each attempt has a span that says so.
  let kind: SpanKind
  /// How many are traced (`client_sampling`, `random_sampling`, `overall_sampling`), unless their route says.
  let client: RuntimeFraction
  let random: RuntimeFraction
  let overall: RuntimeFraction
  /// Spans say when bytes came and went.
  let isVerbose: Bool
  /// `max_path_tag_length`.
  let maximumPath: Int
  /// Each attempt has a span of its own.
  let tracesAttempts: Bool
  let rules: SpanRules
  /// The rules of routes that have their own.
  private let routeRules: [ObjectIdentifier: SpanRules]

  init(
    tracer: Tracer, stats: StatBlock<TracingStat>, isOutbound: Bool, client: RuntimeFraction, random: RuntimeFraction,
    overall: RuntimeFraction, isVerbose: Bool, maximumPath: Int, tracesAttempts: Bool, rules: SpanRules,
    routeRules: [ObjectIdentifier: SpanRules]
  ) {
    self.tracer = tracer
    self.stats = stats
    self.isOutbound = isOutbound
    kind = isOutbound && !tracesAttempts ? .client : .server
    self.client = client
    self.random = random
    self.overall = overall
    self.isVerbose = isVerbose
    self.maximumPath = maximumPath
    self.tracesAttempts = tracesAttempts
    self.rules = rules
    self.routeRules = routeRules
  }

  /// What spans of a route's requests say.
  @inline(__always)
  func rules(for route: RouteEntry?) -> SpanRules {
    guard let own = route?.tracing else { return rules }
    return routeRules[ObjectIdentifier(own)] ?? rules
  }
}

/// Why requests are traced, or are not (Envoy's `http.<stat_prefix>.tracing.…`).
enum TracingStat: Int, StatSet {
  case randomSampling, serviceForced, clientEnabled, notTraceable, healthCheck

  var definition: StatDefinition {
    switch self {
    case .randomSampling: .counter("random_sampling")
    case .serviceForced: .counter("service_forced")
    case .clientEnabled: .counter("client_enabled")
    case .notTraceable: .counter("not_traceable")
    case .healthCheck: .counter("health_check")
    }
  }
}

/// One connection manager's part in tracing on one worker. Confined to it.
final class TracingLane {
  let configuration: TracingConfiguration
  let stats: StatLane<TracingStat>
  let buffer: SpanBuffer
  /// What is put together for a tag.
  let scratch = SpanOutput(capacity: 512)
  /// What spans say of a cluster, in the tracer's form: of the one that was asked for last.
  private var clusterTags: [UInt8] = []
  private var taggedCluster: ActiveCluster?

  init(_ configuration: TracingConfiguration, _ worker: Worker) {
    self.configuration = configuration
    stats = configuration.stats.lane(worker.index)
    buffer = worker.spanBuffer(configuration.tracer)
  }

  /// `upstream_cluster` and `upstream_cluster.name`.
  @inline(__always)
  func tags(of cluster: ActiveCluster) -> [UInt8] {
    if taggedCluster !== cluster { tag(cluster) }
    return clusterTags
  }

  @inline(never)
  private func tag(_ cluster: ActiveCluster) {
    taggedCluster = cluster
    clusterTags = configuration.tracer.format.encoded([
      (Array("upstream_cluster".utf8), Array(cluster.configuration.name.utf8)),
      (Array("upstream_cluster.name".utf8), Array(cluster.configuration.statName.utf8)),
    ])
  }
}
