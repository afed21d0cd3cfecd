/// What the whole process does while it is under pressure.
enum OverloadAction: Int, CaseIterable, Sendable {
  /// New requests are answered with 503.
  case stopAcceptingRequests
  /// Responses are their connections' last.
  case disableKeepAlive
  /// New connections wait in the kernel.
  case stopAcceptingConnections
  /// New connections are closed at once.
  case rejectIncomingConnections
  /// Free memory is given back to the kernel.
  case shrinkHeap
  /// Some timeouts are shorter.
  case reduceTimeouts
  /// Streams that hold much memory are reset.
  case resetHighMemoryStream

  static let prefix = "envoy.overload_actions."

  /// As it is configured.
  var name: String { Self.prefix + suffix }

  private var suffix: String {
    switch self {
    case .stopAcceptingRequests: "stop_accepting_requests"
    case .disableKeepAlive: "disable_http_keepalive"
    case .stopAcceptingConnections: "stop_accepting_connections"
    case .rejectIncomingConnections: "reject_incoming_connections"
    case .shrinkHeap: "shrink_heap"
    case .reduceTimeouts: "reduce_timeouts"
    case .resetHighMemoryStream: "reset_high_memory_stream"
    }
  }

  /// Envoy's, which this proxy does not have.
  static let unsupported = [prefix + "close_idle_http_connections"]
}
