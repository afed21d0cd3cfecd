import MeshPrimitives

/// What is configured of HTTP/2 on one side of the proxy (Envoy: `Http2ProtocolOptions`).
public struct HTTP2Options: Sendable, Equatable {
  /// Bytes of HPACK's dynamic table, each way (`hpack_table_size`); the peer may want less for what we send.
  public var tableSize: UInt32 = 4096
  /// Streams that the peer may have open at once (`max_concurrent_streams`). For a client: how many it opens at most.
  public var maximumStreams: UInt32 = 1024
  /// Bytes of a body that the peer may send before we have taken any, for a stream and for the whole connection
  /// (`initial_stream_window_size`, `initial_connection_window_size`): 65535...2^31 - 1.
  public var streamWindow: UInt32 = 16 << 20
  public var connectionWindow: UInt32 = 24 << 20
  /// CONNECT with `:protocol` is taken (`allow_connect`, RFC 8441).
  public var allowsExtendedConnect = false
  /// A message that breaks HTTP's rules ends its stream, not the connection
  /// (`override_stream_error_on_invalid_http_message`).
  public var endsStreamOnly = false
  /// Our own PINGs; nil: none (`connection_keepalive`).
  public var keepAlive: KeepAlive?

  // MARK: Bounds on what costs the peer nothing

  /// Frames that wait to be sent, of any kind and of those that only answer the peer's (`max_outbound_frames`,
  /// `max_outbound_control_frames`).
  public var maximumOutboundFrames: UInt32 = 10_000
  public var maximumOutboundControlFrames: UInt32 = 1_000
  /// HEADERS, CONTINUATION and DATA without content in a row (`max_consecutive_inbound_frames_with_empty_payload`).
  public var maximumEmptyFrames: UInt32 = 1
  /// PRIORITY frames for each stream that was opened (`max_inbound_priority_frames_per_stream`).
  public var maximumPriorityFrames: UInt32 = 100
  /// WINDOW_UPDATE frames for each DATA frame sent (`max_inbound_window_update_frames_per_data_frame_sent`).
  public var maximumWindowUpdates: UInt32 = 10
  /// CONTINUATION frames of one header block.
  public var maximumContinuations = 8
  /// Frames that break a rule for which no connection has to end, before it ends all the same.
  public var maximumGlitches: UInt32 = 500

  /// How a connection that may be dead is found out.
  public struct KeepAlive: Sendable, Equatable {
    /// Between two PINGs (`interval`); nil: only `idleInterval` sends one.
    public var interval: Nanoseconds?
    /// Without an answer for so long the connection ends (`timeout`).
    public var timeout: Nanoseconds = .seconds(5)
    /// Percent of the interval by which each is lengthened at random (`interval_jitter`).
    public var jitterPercent: UInt32 = 15
    /// A request on a connection that has been silent for so long is preceded by a PING (`connection_idle_interval`).
    public var idleInterval: Nanoseconds?

    public init() {}
  }

  public init() {}
}

extension HTTP2Options {
  /// Options where only their place is copied. Immutable.
  final class Box: Sendable {
    let options: HTTP2Options

    init(_ options: HTTP2Options) { self.options = options }
  }
}
