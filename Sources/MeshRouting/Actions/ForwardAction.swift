import MeshAPI
import MeshPrimitives

/// Where and how a request is sent (Envoy's `RouteAction`, with one cluster chosen).
public final class ForwardAction: Sendable {
  /// The name of the cluster; empty if a header has it.
  public let cluster: String
  /// Its position in `RouteTable.clusterNames`; -1 if a header has the name.
  public let clusterIndex: Int
  /// The header of the request that has the cluster's name.
  public let clusterHeader: HeaderName?
  /// The status of the answer if there is no such cluster: 404, 500 or 503.
  public let clusterNotFoundStatus: Int
  /// What becomes of the path; nil if it stays.
  public let pathRewrite: PathRewrite?
  /// How many bytes of the path, without its query, the route's rule matched; more than there are if it matched all.
  public let matchedLength: Int
  /// The weighted cluster's host; nil if it has none. What `hostRewrite` says comes after it.
  public let clusterHost: [UInt8]?
  /// What becomes of the host; nil if it stays.
  public let hostRewrite: HostRewrite?
  /// Whether a host that is replaced goes into `x-forwarded-host`.
  public let appendsForwardedHost: Bool
  /// Path and host stay as they are.
  public let isPlain: Bool
  /// The endpoint's own name replaces the host.
  public let takesEndpointHost: Bool
  /// Which of the cluster's circuit breakers and connection pools serve the request.
  public let priority: RoutePriority
  /// Bounds the whole response, from the end of the request on; zero: no bound. Default: 15 s.
  public let timeout: Nanoseconds
  /// `timeout` in whole milliseconds as decimal digits: what the upstream is told.
  public let timeoutDigits: [UInt8]
  /// Bounds the time without any activity, in place of the connection manager's; zero: no bound; nil: not given.
  public let idleTimeout: Nanoseconds?
  /// Bounds the whole stream, in place of the connection manager's; zero: no bound; nil: not given.
  public let maximumStreamDuration: Nanoseconds?
  /// `max_stream_duration` is given: `timeout` does not hold, as in Envoy.
  public let boundsStream: Bool
  /// What becomes of a call's own timeout; nil: it is passed on, and nothing else.
  public let callTimeout: CallTimeout?
  /// Who gets copies of the requests.
  public let mirrors: [RequestMirror]
  /// What the request's hash is made of, for clusters that choose endpoints by it; nil: it has none.
  public let hashPolicies: HashPolicies?
  /// What is said to requests for tunnels, each type once.
  public let upgrades: [UpgradeRule]
  /// When and how often a request is sent once more; nil: only where the client says so.
  public let retry: RetryPolicy?
  /// How much of a request's body is kept to be sent again; nil: as much as the connection may buffer.
  public let replayLimit: ReplayLimit?
  /// Attempts say whether the one before took too long (`x-envoy-is-timeout-retry`).
  public let tellsOfTimeouts: Bool
  /// A POST is served as a CONNECT is that ends here.
  public let takesPostAsTunnel: Bool

  /// What a route action says, whatever the cluster.
  struct Settings {
    var clusterNotFoundStatus = 503
    var pathRewrite: PathRewrite?
    var matchedLength = 0
    var hostRewrite: HostRewrite?
    var appendsForwardedHost = false
    var priority = RoutePriority.normal
    var timeout = Nanoseconds.seconds(15)
    var idleTimeout: Nanoseconds?
    var maximumStreamDuration: Nanoseconds?
    var boundsStream = false
    var callTimeout: CallTimeout?
    var mirrors: [RequestMirror] = []
    var upgrades: [UpgradeRule] = []
    var hashPolicies: HashPolicies?
    var retry: RetryPolicy?
    var replayLimit: ReplayLimit?
    var tellsOfTimeouts = false
  }

  /// How much of a request's body is kept to be sent again.
  public enum ReplayLimit: Sendable, Equatable {
    /// `per_request_buffer_limit_bytes`: no more than the connection may buffer.
    case within(Int)
    /// `request_body_buffer_limit`.
    case exactly(Int)

    /// In bytes.
    /// - Parameter limit: of the connection.
    public func bytes(connection limit: Int) -> Int {
      switch self {
      case .within(let bytes): min(bytes, limit)
      case .exactly(let bytes): bytes
      }
    }
  }

  /// Where the name of the cluster comes from.
  enum ClusterSource {
    /// The configuration: the name and its position.
    case name(String, Int)
    case header(HeaderName)
  }

  init(_ source: ClusterSource, host: [UInt8]? = nil, _ settings: Settings) {
    switch source {
    case .name(let name, let index):
      cluster = name
      clusterIndex = index
      clusterHeader = nil
    case .header(let header):
      cluster = ""
      clusterIndex = -1
      clusterHeader = header
    }
    clusterHost = host
    clusterNotFoundStatus = settings.clusterNotFoundStatus
    pathRewrite = settings.pathRewrite
    matchedLength = settings.matchedLength
    hostRewrite = settings.hostRewrite
    appendsForwardedHost = settings.appendsForwardedHost
    isPlain = settings.pathRewrite == nil && settings.hostRewrite == nil && host == nil
    takesEndpointHost = if case .automatic = settings.hostRewrite { true } else { false }
    priority = settings.priority
    timeout = settings.timeout
    timeoutDigits = Array("\(timeout.wholeMilliseconds)".utf8)
    idleTimeout = settings.idleTimeout
    maximumStreamDuration = settings.maximumStreamDuration
    boundsStream = settings.boundsStream
    callTimeout = settings.callTimeout
    mirrors = settings.mirrors
    upgrades = settings.upgrades
    hashPolicies = settings.hashPolicies
    retry = settings.retry
    replayLimit = settings.replayLimit
    tellsOfTimeouts = settings.tellsOfTimeouts
    takesPostAsTunnel = upgrades.contains { $0.isEnabled && $0.termination?.takesPost == true }
  }

  /// What is said to requests for a tunnel of this type; nil: nothing.
  /// - Parameter type: in any case of letters.
  public func upgrade(_ type: Bytes) -> UpgradeRule? {
    upgrades.first { $0.type.withUnsafeBufferPointer { type.equalsIgnoringCase($0) } }
  }

  /// The path that is sent upstream, with the request's query; nil if the path stays. Nothing is tidied up (`/` for
  /// `/service` makes `//x` of `/service/x`, as in Envoy), but that a path begins with `/`.
  /// - Parameters:
  ///   - path: the request's path that led to this route, query included.
  ///   - write: appends what a format makes of the request.
  public func rewrittenPath(
    _ path: Bytes, write: (any HeaderValueFormat, inout [UInt8]) -> Void
  ) -> [UInt8]? {
    guard let pathRewrite else { return nil }
    let bare = PathRule.withoutQuery(path)
    var result = pathRewrite.apply(to: bare, matchedLength: matchedLength, write: write)
    guard !result.isEmpty else { return nil }
    if result[0] != UInt8(ascii: "/") { result.insert(UInt8(ascii: "/"), at: 0) }
    result += path.slice(bare.count, path.count - bare.count)
    return result
  }
}
