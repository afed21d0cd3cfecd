import MeshAPI
import MeshHTTP
import MeshPrimitives

/// `Http2ProtocolOptions`, and which version connections speak.
extension SnapshotBuilder {
  /// What holds for connections from clients.
  mutating func useHTTP2Options(
    _ manager: HttpConnectionManager, _ path: String, _ settings: inout ServerConnectionSettings
  ) {
    settings.codec =
      switch manager.codecType {
      case .http1: .http1
      case .http2: .http2
      default: .automatic
      }
    let optionsPath = "\(path).http2_protocol_options"
    settings.http2 = http2Options(manager.http2ProtocolOptions, optionsPath)
    if !manager.http2ProtocolOptions.hasOverrideStreamErrorOnInvalidHTTPMessage {
      settings.http2.endsStreamOnly = manager.streamErrorOnInvalidHTTPMessage.value
    }
    let keepAlive = manager.http2ProtocolOptions.connectionKeepalive
    if keepAlive.hasConnectionIdleInterval {
      report(
        "\(optionsPath).connection_keepalive.connection_idle_interval",
        "has no effect for clients: it is about requests to endpoints")
    }
    settings.resets = PrematureResets(
      total: identities.runtime.value("overload.premature_reset_total_stream_count"),
      lifetime: identities.runtime.value("overload.premature_reset_min_stream_lifetime_seconds"))
  }

  /// What holds for connections to a cluster's endpoints.
  mutating func useHTTP2Options(
    _ options: Http2ProtocolOptions, _ path: String, _ settings: inout ClientConnectionSettings
  ) {
    settings.http2 = http2Options(options, path)
    if let maximum = options.hasMaxConcurrentStreams ? options.maxConcurrentStreams.value : nil {
      settings.expectedStreams = min(Int(maximum), settings.expectedStreams)
    }
  }

  /// The version that connections to a cluster's endpoints speak.
  mutating func codec(of cluster: Cluster, _ path: String) -> PoolSettings.Codec {
    let name = UpstreamHttpProtocolOptions.protoMessageName
    guard let config = cluster.typedExtensionProtocolOptions[name],
      let options: UpstreamHttpProtocolOptions = try? config.unpack()
    else { return .always(.http1) }
    switch options.upstreamProtocolOptions {
    case .explicitHTTPConfig(let explicit):
      if case .http2ProtocolOptions = explicit.protocolConfig { return .always(.http2) }
      return .always(.http1)
    case .useDownstreamProtocolConfig: return .asDownstream
    case .autoConfig:
      if !cluster.hasTransportSocket {
        report(
          "\(path).typed_extension_protocol_options[\"\(name)\"].auto_config",
          "needs a transport_socket with TLS, whose handshake agrees on the HTTP version")
      }
      return .always(.negotiated)
    case nil: return .always(.http1)
    }
  }

  /// The options of one side, with Envoy's defaults.
  mutating func http2Options(_ options: Http2ProtocolOptions, _ path: String) -> HTTP2Options {
    var result = HTTP2Options()
    if options.hasHpackTableSize { result.tableSize = options.hpackTableSize.value }
    if options.hasMaxConcurrentStreams { result.maximumStreams = options.maxConcurrentStreams.value }
    if options.hasInitialStreamWindowSize { result.streamWindow = options.initialStreamWindowSize.value }
    if options.hasInitialConnectionWindowSize { result.connectionWindow = options.initialConnectionWindowSize.value }
    result.allowsExtendedConnect = options.allowConnect
    if options.hasMaxOutboundFrames { result.maximumOutboundFrames = options.maxOutboundFrames.value }
    if options.hasMaxOutboundControlFrames {
      result.maximumOutboundControlFrames = options.maxOutboundControlFrames.value
    }
    if options.hasMaxConsecutiveInboundFramesWithEmptyPayload {
      result.maximumEmptyFrames = options.maxConsecutiveInboundFramesWithEmptyPayload.value
    }
    if options.hasMaxInboundPriorityFramesPerStream {
      result.maximumPriorityFrames = options.maxInboundPriorityFramesPerStream.value
    }
    if options.hasMaxInboundWindowUpdateFramesPerDataFrameSent {
      result.maximumWindowUpdates = options.maxInboundWindowUpdateFramesPerDataFrameSent.value
    }
    result.endsStreamOnly = options.overrideStreamErrorOnInvalidHTTPMessage.value
    if options.hasConnectionKeepalive {
      result.keepAlive = keepAlive(options.connectionKeepalive, "\(path).connection_keepalive")
    }
    return result
  }

  private mutating func keepAlive(_ settings: KeepaliveSettings, _ path: String) -> HTTP2Options.KeepAlive {
    var result = HTTP2Options.KeepAlive()
    if settings.hasInterval { result.interval = Nanoseconds(settings.interval) }
    if settings.hasTimeout { result.timeout = Nanoseconds(settings.timeout) }
    if settings.hasConnectionIdleInterval { result.idleInterval = Nanoseconds(settings.connectionIdleInterval) }
    if settings.hasIntervalJitter {
      let percent = settings.intervalJitter.value
      guard percent >= 0, percent <= 100 else {
        report("\(path).interval_jitter.value", "must be at least 0 and at most 100")
        return result
      }
      result.jitterPercent = UInt32(percent)
    }
    return result
  }
}
