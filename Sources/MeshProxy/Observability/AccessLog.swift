import MeshAPI
import MeshPrimitives

/// One access log of a connection manager (`envoy.config.accesslog.v3.AccessLog`), checked and compiled. Immutable;
/// shared by all threads.
public struct AccessLogConfiguration: Sendable {
  public let file: AccessLogFile
  public let format: SubstitutionFormat
  /// Which streams have a line; nil: all.
  let filter: AccessLogFilter?

  init(file: AccessLogFile, format: SubstitutionFormat, filter: AccessLogFilter? = nil) {
    self.file = file
    self.format = format
    self.filter = filter
  }
}

/// What a connection manager logs. Immutable; shared by all threads.
public struct LoggingConfiguration: Sendable {
  /// `%LISTENER_NAME%`
  public var listenerName = ""
  /// `%FILTER_CHAIN_NAME%`
  public var filterChainName = ""
  /// `%METADATA(LISTENER:…)%`
  public var listenerMetadata: Metadata?
  /// `%METADATA(LISTENER_FILTER_CHAIN:…)%`
  public var filterChainMetadata: Metadata?
  public var accessLogs: [AccessLogConfiguration] = []
  /// A line also when a request's head has arrived (`access_log_options.flush_access_log_on_new_request`).
  public var logsNewRequests = false
  /// A line also each time a stream has lasted so long (`access_log_options.access_log_flush_interval`); nil: none.
  public var interval: Nanoseconds?

  public init(listenerName: String = "", filterChainName: String = "") {
    self.listenerName = listenerName
    self.filterChainName = filterChainName
  }
}

/// An access log as one worker's connection manager has it. Confined to the worker.
final class AccessLogLane {
  private let format: SubstitutionFormat
  private let filter: AccessLogFilter?
  private let buffer: AccessLogBuffer

  init(_ configuration: AccessLogConfiguration, _ worker: Worker) {
    format = configuration.format
    filter = configuration.filter
    buffer = worker.accessLogBuffer(configuration.file)
  }

  /// Writes a line about a stream or a connection, straight into the worker's buffer, unless the log's filter leaves it
  /// out.
  func write<Source: SubstitutionSource>(_ source: Source) {
    if let filter, !filter.includes(source) { return }
    buffer.write(format, source)
  }
}
