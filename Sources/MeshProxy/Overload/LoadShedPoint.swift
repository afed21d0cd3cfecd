/// A place on the way of a connection or a request at which it can be turned away.
enum LoadShedPoint: Int, CaseIterable, Sendable {
  /// A connection has been accepted: it is closed.
  case listenerAccept
  /// A connection's first bytes have arrived: it is closed.
  case creatingCodec
  /// A request's head is complete: it is answered with 503.
  case decodingHeaders
  /// Bytes have come by HTTP/1: an unanswered request gets 500, and the connection ends.
  case http1Dispatch
  /// Bytes have come by HTTP/2: the connection is drained.
  case http2GoAway
  /// Bytes have come by HTTP/2: the connection ends.
  case http2GoAwayAndClose
  /// A request is about to be sent to its upstream: it is answered with 503.
  case downstreamFilterCheck
  /// A pool needs another connection: it gets none.
  case newConnection
  /// A TCP proxy is about to connect to its upstream: its client's connection is closed.
  case tcpUpstreamConnect
  /// Bytes have come from the client of a TCP proxy: both connections are closed.
  case tcpData

  static let prefix = "envoy.load_shed_points."

  /// As it is configured.
  var name: String { Self.prefix + suffix }

  private var suffix: String {
    switch self {
    case .listenerAccept: "tcp_listener_accept"
    case .creatingCodec: "hcm_ondata_creating_codec"
    case .decodingHeaders: "http_connection_manager_decode_headers"
    case .http1Dispatch: "http1_server_abort_dispatch"
    case .http2GoAway: "http2_server_go_away_on_dispatch"
    case .http2GoAwayAndClose: "http2_server_go_away_and_close_on_dispatch"
    case .downstreamFilterCheck: "http_downstream_filter_check"
    case .newConnection: "connection_pool_new_connection"
    case .tcpUpstreamConnect: "tcp_proxy_upstream_connect"
    case .tcpData: "tcp_proxy_on_data"
    }
  }

  /// Whether a codec has to ask before it looks at what it has read.
  var isAskedByCodec: Bool {
    switch self {
    case .creatingCodec, .http1Dispatch, .http2GoAway, .http2GoAwayAndClose: true
    case .listenerAccept, .decodingHeaders, .downstreamFilterCheck, .newConnection, .tcpUpstreamConnect, .tcpData: false
    }
  }

  /// Envoy's, which this proxy does not have.
  static let unsupported = [
    "http3_server_go_away_on_dispatch", "http3_server_go_away_and_close_on_dispatch",
  ].map { prefix + $0 }
}
