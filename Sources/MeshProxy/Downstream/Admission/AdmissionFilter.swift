import MeshPrimitives

/// A network filter that decides whether a connection is served, before the filter that serves it and before any
/// handshake. Immutable but for its counts; shared by all threads.
enum AdmissionFilter: Sendable {
  /// `envoy.filters.network.local_ratelimit`
  case rateLimit(ConnectionRateLimit)
  /// `envoy.filters.network.connection_limit`
  case connectionLimit(OpenConnectionLimit)

  enum Verdict {
    case admitted
    /// The connection is closed, after a while.
    case refused(ConnectionRefusal, after: Nanoseconds)
  }

  /// Judges a connection for which its filter chain has been chosen.
  func judge(_ connection: UInt64, _ worker: Worker) -> Verdict {
    switch self {
    case .rateLimit(let limit):
      return limit.admits(worker) ? .admitted : .refused(.overRateLimit, after: .zero)
    case .connectionLimit(let limit):
      guard let place = limit.place(lane: worker.index) else { return .admitted }
      worker.connectionPlaces.add(place, of: connection)
      return place.isRefused ? .refused(.overConnectionLimit, after: limit.delay) : .admitted
    }
  }
}

/// Why a connection was not served, for the access log of its listener.
struct ConnectionRefusal: Sendable {
  let flags: ResponseFlags
  /// `%DOWNSTREAM_LOCAL_CLOSE_REASON%`
  let closeReason: StaticString

  /// The flag is Envoy's choice.
  static let overRateLimit = ConnectionRefusal(
    flags: .upstreamRetryLimitExceeded, closeReason: "local_ratelimit_close_over_limit")
  static let overConnectionLimit = ConnectionRefusal(flags: [], closeReason: "over_connection_limit")
}
