/// On what occasion a line of an access log is written (`envoy.data.accesslog.v3.AccessLogType`).
public enum AccessLogType: UInt8, CaseIterable, Sendable {
  case notSet = 0
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
    case .downstreamStart: "DownstreamStart"
    case .downstreamPeriodic: "DownstreamPeriodic"
    case .downstreamEnd: "DownstreamEnd"
    }
  }
}
