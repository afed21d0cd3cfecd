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

  /// Each flag with its short name (the access log's) and its long one, in the order in which Envoy prints them.
  public static let names: [(flag: Self, short: StaticString, long: StaticString)] = [
    (.noHealthyUpstream, "UH", "NoHealthyUpstream"),
    (.upstreamConnectionFailure, "UF", "UpstreamConnectionFailure"),
    (.upstreamOverflow, "UO", "UpstreamOverflow"),
    (.noRouteFound, "NR", "NoRouteFound"),
    (.upstreamRetryLimitExceeded, "URX", "UpstreamRetryLimitExceeded"),
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
  ]
}
