import MeshHTTP
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
  /// Somebody says what spans are called, or hears it: behind such listeners, or by decorators of routes.
  let tellsNames: Bool
  let rules: SpanRules
  /// What requests look like that ask for the health of proxy or service, for each filter that answers them.
  private let healthChecks: [HeaderMatching]
  /// The rules of routes that have their own.
  private let routeRules: [ObjectIdentifier: SpanRules]

  init(
    tracer: Tracer, stats: StatBlock<TracingStat>, isOutbound: Bool, client: RuntimeFraction, random: RuntimeFraction,
    overall: RuntimeFraction, isVerbose: Bool, maximumPath: Int, tracesAttempts: Bool, tellsNames: Bool,
    rules: SpanRules,
    routeRules: [ObjectIdentifier: SpanRules], healthChecks: [HeaderMatching]
  ) {
    self.tracer = tracer
    self.stats = stats
    self.isOutbound = isOutbound
    kind = isOutbound && !tracesAttempts && !tracer.makesServerSpans ? .client : .server
    self.client = client
    self.random = random
    self.overall = overall
    self.isVerbose = isVerbose
    self.maximumPath = maximumPath
    self.tracesAttempts = tracesAttempts
    self.tellsNames = tellsNames
    self.rules = rules
    self.routeRules = routeRules
    hasRouteRules = !routeRules.isEmpty
    self.healthChecks = healthChecks
  }

  @inline(__always)
  func isHealthCheck(_ headers: HeaderMap) -> Bool {
    !healthChecks.isEmpty && healthChecks.contains { $0.matches(RoutingView(headers)) }
  }

  /// Some routes have their own shares, tags or names.
  let hasRouteRules: Bool

  /// What spans of a route's requests say.
  @inline(__always)
  func rules(for route: RouteEntry?) -> SpanRules {
    guard hasRouteRules, let own = route?.tracing else { return rules }
    return routeRules[ObjectIdentifier(own)] ?? rules
  }
}

/// Why requests are traced, or are not (Envoy's `http.<stat_prefix>.tracing.…`).
enum TracingStat: Int, StatSet {
  case randomSampling, serviceForced, clientEnabled, notTraceable, healthCheck

  init(_ reason: TraceReason) {
    switch reason {
    case .notTraced: self = .notTraceable
    case .sampled: self = .randomSampling
    case .forced: self = .serviceForced
    case .clientTraceID: self = .clientEnabled
    }
  }

  var definition: StatDefinition {
    switch self {
    case .randomSampling: .counter("random_sampling", "Requests that are traced by the random share.")
    case .serviceForced: .counter("service_forced", "Requests that are traced because x-envoy-force-trace asks for it.")
    case .clientEnabled: .counter("client_enabled", "Requests that are traced because x-client-trace-id asks for it.")
    case .notTraceable: .counter("not_traceable", "Requests that are not traced.")
    case .healthCheck: .counter("health_check", "Requests that are not traced because they are health checks.")
    }
  }
}
