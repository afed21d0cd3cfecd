/// On what occasion a line of an access log is written (`envoy.data.accesslog.v3.AccessLogType`).
public enum AccessLogType: UInt8, CaseIterable, Sendable {
  case notSet = 0
  /// A TCP proxy has a connection to the upstream (`flush_access_log_on_connected`).
  case tcpUpstreamConnected = 1
  /// A connection through a TCP proxy has lasted for another interval (`access_log_flush_interval`).
  case tcpPeriodic = 2
  /// A connection through a TCP proxy has ended.
  case tcpConnectionEnd = 3
  /// A request's head has arrived (`flush_access_log_on_new_request`).
  case downstreamStart = 4
  /// A stream has lasted for another interval (`access_log_flush_interval`).
  case downstreamPeriodic = 5
  /// A stream has ended.
  case downstreamEnd = 6

  /// Envoy's name.
  public var name: StaticString {
    switch self {
    case .notSet: "NotSet"
    case .tcpUpstreamConnected: "TcpUpstreamConnected"
    case .tcpPeriodic: "TcpPeriodic"
    case .tcpConnectionEnd: "TcpConnectionEnd"
    case .downstreamStart: "DownstreamStart"
    case .downstreamPeriodic: "DownstreamPeriodic"
    case .downstreamEnd: "DownstreamEnd"
    }
  }
}
