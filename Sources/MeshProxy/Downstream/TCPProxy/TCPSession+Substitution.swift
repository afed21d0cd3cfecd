import MeshAPI
import MeshHTTP
import MeshPrimitives

/// What formats read of a session.
extension TCPSession: SubstitutionSource {
  var requestHeaders: HeaderMap { proxy.worker.noHeaders }
  var responseHeaders: HeaderMap? { nil }
  var responseTrailers: HeaderMap? { nil }
  var localReplyBody: [UInt8] { [] }
  var virtualClusterName: String { "" }
  var listenerName: String { proxy.configuration.logging.listenerName }
  var filterChainName: String { proxy.configuration.logging.filterChainName }
  var isConnection: Bool { true }

  var downstreamWire: WireBytes {
    WireBytes(received: request.bytes, sent: response.bytes, headerReceived: 0, headerSent: 0)
  }
  var downstreamRoundTrip: Nanoseconds? { roundTripTime }

  func randomBits() -> (UInt64, UInt64) { (proxy.worker.random.next(), proxy.worker.random.next()) }

  func metadata(_ source: SubstitutionMetadataSource) -> Metadata? {
    switch source {
    case .cluster: info.cluster?.configuration.metadata
    case .upstreamHost: info.endpoint?.metadata
    case .listener: proxy.configuration.logging.listenerMetadata
    case .listenerFilterChain: proxy.configuration.logging.filterChainMetadata
    case .route, .virtualHost, .dynamic: nil
    }
  }

  var downstreamCloseType: StaticString {
    switch end {
    case .clientReset: "RemoteReset"
    case .upstreamReset: "LocalReset"
    default: "Normal"
    }
  }

  var upstreamCloseType: StaticString? {
    if case .upstreamReset = end { "RemoteReset" } else { "Normal" }
  }

  var localCloseReason: StaticString? {
    switch end {
    case .idle: "tcp_session_idle_timeout"
    case .maximumDuration: "max_connection_duration_reached"
    case .notConnected(let reason): reason
    default: nil
    }
  }
}
