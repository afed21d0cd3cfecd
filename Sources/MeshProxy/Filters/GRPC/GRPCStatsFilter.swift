import MeshHTTP
import MeshPrimitives
import Synchronization

/// `envoy.filters.http.grpc_stats`: counts calls of gRPC and their messages, in the statistics of the route's cluster.
/// Position: anywhere; behind a filter that makes calls of other requests.
final class GRPCStatsFilter: StreamFilter {
  static let name = "envoy.filters.http.grpc_stats"

  final class Configuration: FilterConfiguration {
    /// Which methods have statistics of their own.
    enum Methods: Sendable {
      case listed(Set<String>)
      case all
    }

    let methods: Methods
    let recordsTime: Bool
    let replacesDots: Bool
    /// Others of the chain are told how many messages there were.
    let tellsOthers: Bool
    private let caches: [Cache]

    init(methods: Methods, recordsTime: Bool, replacesDots: Bool, tellsOthers: Bool = false, lanes: Int) {
      self.tellsOthers = tellsOthers
      self.methods = methods
      self.recordsTime = recordsTime
      self.replacesDots = replacesDots
      caches = (0..<lanes).map { _ in Cache() }
    }

    func makeFilter(_ callbacks: StreamFilterCallbacks, worker: Worker) -> any StreamFilter {
      GRPCStatsFilter(callbacks, self, lane: worker.index)
    }

    /// What one worker has looked up already: the registry of a cluster is everybody's.
    private final class Cache: Sendable {
      struct Key: Hashable {
        let cluster: String
        let path: [UInt8]
      }
      let known = Mutex<[Key: GRPCMethodStatistics]>([:])
    }

    /// Where a call is counted; nil if its path is not that of a method.
    /// - Parameter path: `/package.Service/Method`, perhaps with a query.
    func statistics(_ path: Bytes, _ cluster: ActiveCluster, lane: Int) -> GRPCMethodStatistics? {
      let bare = path.firstIndex(of: UInt8(ascii: "?")).map { path.slice(0, $0) } ?? path
      let parts = bare.split(separator: UInt8(ascii: "/"))
      guard parts.count == 2, bare.count <= 512 else { return nil }
      let identity = cluster.identity
      return caches[lane].known.withLock { known in
        let key = Cache.Key(cluster: identity.name, path: Array(bare))
        if let method = known[key] { return method }
        let found = find(
          String(decoding: parts[0], as: UTF8.self), String(decoding: parts[1], as: UTF8.self), identity.grpc)
        // Whatever clients ask for: the cache has a bound of its own.
        if known.count < GRPCClusterStatistics.maximumMethods * 2 { known[key] = found }
        return found
      }
    }

    private func find(_ service: String, _ name: String, _ statistics: GRPCClusterStatistics) -> GRPCMethodStatistics {
      if case .listed(let names) = methods, !names.contains("\(service)/\(name)") { return statistics.all() }
      let shown = replacesDots ? String(service.map { $0 == "." ? "_" : $0 }) : service
      return statistics.method(shown.replacingColons, name.replacingColons) ?? statistics.all()
    }
  }

  private let callbacks: StreamFilterCallbacks
  private let configuration: Configuration
  private let lane: Int
  private var statistics: GRPCMethodStatistics?
  private var request = GRPCFrameScanner()
  private var response = GRPCFrameScanner()
  /// The response has messages.
  private var isResponse = false

  private init(_ callbacks: StreamFilterCallbacks, _ configuration: Configuration, lane: Int) {
    self.callbacks = callbacks
    self.configuration = configuration
    self.lane = lane
  }

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    if GRPCStatus.isCall(headers), let path = headers.value(.path), let cluster = callbacks.cluster {
      statistics = configuration.statistics(path, cluster, lane: lane)
    }
    return .proceed
  }

  func requestData(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus {
    count(.requestMessages, bytes, &request)
    return .proceed
  }

  func responseHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    isResponse = GRPCStatus.isCall(headers)
    noteStatus(headers)
    if endStream { noteTime() }
    return .proceed
  }

  func responseData(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus {
    if isResponse { count(.responseMessages, bytes, &response) }
    return .proceed
  }

  func responseTrailers(_ trailers: HeaderMap) -> FilterStatus {
    noteStatus(trailers)
    noteTime()
    return .proceed
  }

  private func count(_ stat: GRPCStat, _ bytes: Bytes, _ scanner: inout GRPCFrameScanner) {
    guard let statistics, bytes.count > 0 else { return }
    let messages = scanner.countMessages(bytes)
    guard messages > 0 else { return }
    statistics.add(stat, messages, lane: lane)
    if configuration.tellsOthers { callbacks.stream.noteMessages(stat, UInt64(messages)) }
  }

  private func noteStatus(_ fields: HeaderMap) {
    guard let statistics, let value = fields.value(GRPCStatus.name) else { return }
    statistics.end(DecimalNumber.parse(value).flatMap { Int(exactly: $0) } ?? -1, lane: lane)
  }

  private func noteTime() {
    guard configuration.recordsTime, let statistics else { return }
    let timing = callbacks.info.upstreamTiming
    guard timing.connectionReadyAt != .never, timing.responseCompleteAt != .never else { return }
    statistics.record(timing.responseCompleteAt.since(timing.connectionReadyAt).rawValue / 1000, lane: lane)
  }
}
