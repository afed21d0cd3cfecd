import MeshHTTP

/// Why a response is what it is: Envoy's response flags (`%RESPONSE_FLAGS%`). Several may hold.
public struct ResponseFlags: OptionSet, Hashable, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  public static let noHealthyUpstream = Self(rawValue: 1 << 0)
  public static let upstreamConnectionFailure = Self(rawValue: 1 << 1)
  public static let upstreamOverflow = Self(rawValue: 1 << 2)
  public static let noRouteFound = Self(rawValue: 1 << 3)
  public static let upstreamRetryLimitExceeded = Self(rawValue: 1 << 4)
  public static let noClusterFound = Self(rawValue: 1 << 5)
  public static let upstreamRequestTimeout = Self(rawValue: 1 << 6)
  public static let downstreamConnectionTermination = Self(rawValue: 1 << 7)
  public static let upstreamConnectionTermination = Self(rawValue: 1 << 8)
  public static let upstreamRemoteReset = Self(rawValue: 1 << 9)
  public static let localReset = Self(rawValue: 1 << 10)
  public static let delayInjected = Self(rawValue: 1 << 11)
  public static let faultInjected = Self(rawValue: 1 << 12)
  public static let streamIdleTimeout = Self(rawValue: 1 << 13)
  public static let downstreamProtocolError = Self(rawValue: 1 << 14)
  public static let upstreamProtocolError = Self(rawValue: 1 << 15)
  public static let upstreamMaximumStreamDurationReached = Self(rawValue: 1 << 16)
  public static let overloadManager = Self(rawValue: 1 << 17)
  public static let durationTimeout = Self(rawValue: 1 << 18)
  /// URX of a connection: `max_connect_attempts` were made. It comes about after the failure of the last of them.
  public static let connectAttemptsExceeded = Self(rawValue: 1 << 30)
  public static let downstreamRemoteReset = Self(rawValue: 1 << 28)
  public static let dropOverload = Self(rawValue: 1 << 27)
  public static let unconditionalDropOverload = Self(rawValue: 1 << 29)
  // Of what this proxy has not: nothing sets them, and a filter that asks for them holds for nothing.
  static let failedLocalHealthCheck = Self(rawValue: 1 << 19)
  static let rateLimited = Self(rawValue: 1 << 20)
  static let unauthorizedExternalService = Self(rawValue: 1 << 21)
  static let rateLimitServiceError = Self(rawValue: 1 << 22)
  static let invalidEnvoyRequestHeaders = Self(rawValue: 1 << 23)
  static let responseFromCacheFilter = Self(rawValue: 1 << 24)
  static let noFilterConfigFound = Self(rawValue: 1 << 25)
  static let dnsResolutionFailed = Self(rawValue: 1 << 26)

  /// The flag with a short name; nil if there is none.
  public init?(shortName: String) {
    let flags = Self.names.filter { $0.short.description == shortName }.map(\.flag)
    guard !flags.isEmpty else { return nil }
    self.init(flags)
  }

  /// Each flag with its short name (the access log's) and its long one, in the order in which they come
  /// about: why there is no further attempt is known before what became of the last one.
  public static let names: [(flag: Self, short: StaticString, long: StaticString)] = [
    (.upstreamRetryLimitExceeded, "URX", "UpstreamRetryLimitExceeded"),
    (.upstreamOverflow, "UO", "UpstreamOverflow"),
    (.noHealthyUpstream, "UH", "NoHealthyUpstream"),
    (.upstreamConnectionFailure, "UF", "UpstreamConnectionFailure"),
    (.noRouteFound, "NR", "NoRouteFound"),
    (.connectAttemptsExceeded, "URX", "UpstreamRetryLimitExceeded"),
    (.noClusterFound, "NC", "NoClusterFound"),
    (.upstreamRequestTimeout, "UT", "UpstreamRequestTimeout"),
    (.downstreamConnectionTermination, "DC", "DownstreamConnectionTermination"),
    (.upstreamConnectionTermination, "UC", "UpstreamConnectionTermination"),
    (.upstreamRemoteReset, "UR", "UpstreamRemoteReset"),
    (.localReset, "LR", "LocalReset"),
    (.delayInjected, "DI", "DelayInjected"),
    (.faultInjected, "FI", "FaultInjected"),
    (.streamIdleTimeout, "SI", "StreamIdleTimeout"),
    (.downstreamProtocolError, "DPE", "DownstreamProtocolError"),
    (.upstreamProtocolError, "UPE", "UpstreamProtocolError"),
    (.upstreamMaximumStreamDurationReached, "UMSDR", "UpstreamMaxStreamDurationReached"),
    (.overloadManager, "OM", "OverloadManagerTerminated"),
    (.durationTimeout, "DT", "DurationTimeout"),
    (.failedLocalHealthCheck, "LH", "FailedLocalHealthCheck"),
    (.rateLimited, "RL", "RateLimited"),
    (.unauthorizedExternalService, "UAEX", "UnauthorizedExternalService"),
    (.rateLimitServiceError, "RLSE", "RateLimitServiceError"),
    (.invalidEnvoyRequestHeaders, "IH", "InvalidEnvoyRequestHeaders"),
    (.responseFromCacheFilter, "RFCF", "ResponseFromCacheFilter"),
    (.noFilterConfigFound, "NFCF", "NoFilterConfigFound"),
    (.dnsResolutionFailed, "DF", "DnsResolutionFailed"),
    (.dropOverload, "DO", "DropOverload"),
    (.downstreamRemoteReset, "DR", "DownstreamRemoteReset"),
    (.unconditionalDropOverload, "UDO", "UnconditionalDropOverload"),
  ]
}

extension StreamResetReason {
  /// What a response is that an upstream ended for this reason.
  var upstreamFlags: ResponseFlags {
    switch self {
    case .connectionTermination: .upstreamConnectionTermination
    case .remoteConnectionFailure, .localConnectionFailure, .connectionTimeout: .upstreamConnectionFailure
    case .overflow: .upstreamOverflow
    case .protocolError: .upstreamProtocolError
    case .localReset: .localReset
    case .remoteReset, .remoteRefusedStream: .upstreamRemoteReset
    }
  }
}
