/// How much a message matters; Envoy's names and order.
public enum LogLevel: UInt8, Comparable, CaseIterable, Sendable, CustomStringConvertible {
  case trace, debug, info, warning, error, critical
  /// Nothing is logged.
  case off

  /// - Parameter name: `trace`, `debug`, `info`, `warning` or `warn`, `error` or `err`, `critical`, `off`; nil if it is
  ///   none of them.
  public init?(name: some StringProtocol) {
    switch name {
    case "trace": self = .trace
    case "debug": self = .debug
    case "info": self = .info
    case "warning", "warn": self = .warning
    case "error", "err": self = .error
    case "critical": self = .critical
    case "off": self = .off
    default: return nil
    }
  }

  public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

  var name: StaticString {
    switch self {
    case .trace: "trace"
    case .debug: "debug"
    case .info: "info"
    case .warning: "warning"
    case .error: "error"
    case .critical: "critical"
    case .off: "off"
    }
  }

  public var description: String { name.description }
}
