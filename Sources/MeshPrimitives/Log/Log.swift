import Synchronization

/// The process log as one component sees it. A message is built only if its level is enabled; the check is one load.
///
/// Threads: any; the level may change at any time.
public final class Log: Sendable {
  /// The name in the fourth field of a line.
  public let component: String
  private let current: Atomic<UInt8>
  let process: ProcessLog

  init(component: String, level: LogLevel, process: ProcessLog) {
    self.component = component
    self.process = process
    current = Atomic(level.rawValue)
  }

  /// Messages below this level are not built.
  public var level: LogLevel {
    get { LogLevel(rawValue: current.load(ordering: .relaxed)) ?? .off }
    set { current.store(newValue.rawValue, ordering: .relaxed) }
  }

  /// Whether a message of `level` would be written.
  public func isEnabled(_ level: LogLevel) -> Bool {
    level != .off && level.rawValue >= current.load(ordering: .relaxed)
  }

  /// Writes `message` if `level` is enabled.
  public func log(_ level: LogLevel, _ message: @autoclosure () -> String) {
    if isEnabled(level) { process.emit(level, component, message()) }
  }

  /// The same, but a line that could not be written without waiting for whoever reads it is lost, and counted: for threads that
  /// must not wait.
  public func offer(_ level: LogLevel, _ message: @autoclosure () -> String) {
    if isEnabled(level) { process.emit(level, component, message(), waits: false) }
  }

  public func trace(_ message: @autoclosure () -> String) { log(.trace, message()) }
  public func debug(_ message: @autoclosure () -> String) { log(.debug, message()) }
  public func info(_ message: @autoclosure () -> String) { log(.info, message()) }
  public func warning(_ message: @autoclosure () -> String) { log(.warning, message()) }
  public func error(_ message: @autoclosure () -> String) { log(.error, message()) }
  public func critical(_ message: @autoclosure () -> String) { log(.critical, message()) }
}

extension Log {
  static let wellKnown = [
    "main", "admin", "config", "connection", "dns", "filter", "http", "io", "router", "tracing", "traffic", "upstream",
  ]
  /// Start, configuration swaps and end of the process.
  public static let main = ProcessLog.standard.component("main")
  /// The admin interface.
  public static let admin = ProcessLog.standard.component("admin")
  /// Reading and checking configuration.
  public static let config = ProcessLog.standard.component("config")
  /// Sockets and transports.
  public static let connection = ProcessLog.standard.component("connection")
  /// Name resolution.
  public static let dns = ProcessLog.standard.component("dns")
  /// HTTP filters.
  public static let filter = ProcessLog.standard.component("filter")
  /// Codecs and the connection manager.
  public static let http = ProcessLog.standard.component("http")
  /// The event loop and its threads.
  public static let io = ProcessLog.standard.component("io")
  /// Route tables and the router filter.
  public static let router = ProcessLog.standard.component("router")
  /// Exporters of spans.
  public static let tracing = ProcessLog.standard.component("tracing")
  /// What failed of clients' requests and TCP connections, a line for each.
  public static let traffic = ProcessLog.standard.component("traffic")
  /// Clusters, pools and load balancing.
  public static let upstream = ProcessLog.standard.component("upstream")
}
