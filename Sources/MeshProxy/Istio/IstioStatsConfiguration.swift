import MeshAPI
import MeshHTTP
import MeshPrimitives

/// The telemetry filter (`stats.PluginConfig`), compiled. Immutable; shared by all threads.
final class IstioStatsConfiguration: ObserverConfiguration {
  static let name = "istio.stats"

  /// Whose side the reports are from.
  enum Reporter: Sendable {
    /// The client's sidecar, on the way out.
    case source
    /// The server's, on the way in.
    case destination

    var text: StaticString { self == .source ? "source" : "destination" }
  }

  /// What is different about one metric.
  struct Shape: Sendable {
    var isDropped = false
    var removed: Set<String> = []
    /// Labels with other values, and more of them, by name: places in `dimensions`.
    var replaced: [String: Int] = [:]
    var added: [String: Int] = [:]
  }

  let reporter: Reporter
  /// This proxy's own workload.
  let own: WorkloadIdentity.Names
  /// The `host` of a request stands in for a service that the configuration does not name.
  let usesHost: Bool
  /// How often long streams are reported; nil: when they end.
  let interval: Nanoseconds?
  /// By `IstioMetric.rawValue`.
  private let shapes: [Shape]
  let dimensions: [IstioDimension]
  /// Some of them are different for each stream.
  let hasFormats: Bool
  let metrics: IstioMetrics

  static let defaultInterval = Nanoseconds.seconds(5)

  init(
    reporter: Reporter, own: WorkloadIdentity.Names, usesHost: Bool = true,
    interval: Nanoseconds? = IstioStatsConfiguration.defaultInterval,
    shapes: [Shape] = IstioMetric.allCases.map { _ in Shape() }, dimensions: [IstioDimension] = [],
    metrics: IstioMetrics
  ) {
    self.reporter = reporter
    self.own = own
    self.usesHost = usesHost
    self.interval = interval
    self.shapes = shapes
    self.dimensions = dimensions
    self.metrics = metrics
    hasFormats = dimensions.contains { if case .format = $0 { true } else { false } }
  }

  func shape(_ metric: IstioMetric) -> Shape { shapes[metric.rawValue] }

  // MARK: As a filter

  var onlyObserves: Bool { true }
  func makeFilter(_ callbacks: StreamFilterCallbacks, worker: Worker) -> any StreamFilter { PassingFilter() }
  func makeObserver(worker: Worker) -> any StreamObserver { RequestReporter(self, worker) }

  /// The series of one metric for a stream; nil if the metric is dropped.
  /// - Parameter values: of `dimensions`, for this stream.
  func series(
    _ metric: IstioMetric, _ labels: IstioLabels, _ values: [[UInt8]], lane: Int
  ) -> LabelledFamily.Series? {
    let shape = shape(metric)
    guard !shape.isDropped else { return nil }
    return metrics.series(metric, labels.set(shape, values), reporter: reporter.text, lane: lane)
  }
}

extension IstioStatsConfiguration {
  /// What a filter's message says.
  /// - Parameters:
  ///   - isInbound: the listener's `traffic_direction`.
  ///   - node: of this proxy.
  convenience init(
    _ message: IstioStatsConfig, isInbound: Bool, node: Node, metrics: IstioMetrics
  ) throws(FilterProblem) {
    var shapes = IstioMetric.allCases.map { _ in Shape() }
    var dimensions: [IstioDimension] = []
    for (index, metric) in message.metrics.enumerated() {
      let path = "metrics[\(index)]"
      let change = try Self.change(metric, path, node, &dimensions)
      let named = IstioMetric.allCases.filter { metric.name.isEmpty || $0.name.description == metric.name }
      guard !named.isEmpty else {
        throw FilterProblem(path: "\(path).name", message: "'\(metric.name)' is none of Istio's standard metrics")
      }
      for one in named { shapes[one.rawValue].merge(change) }
    }
    let interval = message.hasTcpReportingDuration ? Nanoseconds(message.tcpReportingDuration) : Self.defaultInterval
    if interval != .zero, interval < .milliseconds(1) {
      throw FilterProblem(path: "tcp_reporting_duration", message: "must be zero or at least 1ms")
    }
    self.init(
      reporter: isInbound ? .destination : .source, own: WorkloadIdentity(node: node.metadata).names,
      usesHost: !message.disableHostHeaderFallback, interval: interval == .zero ? nil : interval, shapes: shapes,
      dimensions: dimensions, metrics: metrics)
  }

  private static func change(
    _ metric: IstioMetricConfig, _ path: String, _ node: Node, _ dimensions: inout [IstioDimension]
  ) throws(FilterProblem) -> Shape {
    var shape = Shape()
    if metric.drop {
      shape.isDropped = true
      return shape
    }
    for (index, name) in metric.tagsToRemove.enumerated() {
      guard IstioLabels.isStandard(name) else {
        throw FilterProblem(path: "\(path).tags_to_remove[\(index)]", message: "'\(name)' is no standard label")
      }
      shape.removed.insert(name)
    }
    for (name, expression) in metric.dimensions.sorted(by: { $0.key < $1.key }) {
      guard IstioLabels.isLabel(name) else {
        throw FilterProblem(path: "\(path).dimensions.\(name)", message: "is no name of a label (letters, digits, '_')")
      }
      let compiled = IstioDimension.compile(expression) { attribute in
        switch attribute {
        case "node.id": return node.id
        case "node.cluster": return node.cluster
        default:
          guard case .stringValue(let text)? = node.metadata.fields[attribute]?.kind else { return nil }
          return text
        }
      }
      guard let compiled else {
        throw FilterProblem(
          path: "\(path).dimensions.\(name)",
          message: "'\(expression)' is not supported: a constant or a single attribute is")
      }
      if IstioLabels.isStandard(name) {
        shape.replaced[name] = dimensions.count
      } else {
        shape.added[name] = dimensions.count
      }
      dimensions.append(compiled)
    }
    return shape
  }
}

extension IstioStatsConfiguration.Shape {
  /// Takes over what another entry says of the same metric.
  fileprivate mutating func merge(_ other: Self) {
    isDropped = isDropped || other.isDropped
    removed.formUnion(other.removed)
    for (name, place) in other.replaced {
      replaced[name] = place
      // What is said last holds.
      removed.remove(name)
    }
    for name in other.removed where other.replaced[name] == nil { replaced[name] = nil }
    for (name, place) in other.added { added[name] = place }
  }
}
