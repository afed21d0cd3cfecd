/// One access log of a connection manager (`envoy.config.accesslog.v3.AccessLog`), checked and compiled. Immutable;
/// shared by all threads.
public struct AccessLogConfiguration: Sendable {
  public let file: AccessLogFile
  public let format: SubstitutionFormat

  public init(file: AccessLogFile, format: SubstitutionFormat) {
    self.file = file
    self.format = format
  }
}

/// An access log as one worker's connection manager has it. Confined to the worker.
final class AccessLogLane {
  private let format: SubstitutionFormat
  private let buffer: AccessLogBuffer

  init(_ configuration: AccessLogConfiguration, _ worker: Worker) {
    format = configuration.format
    buffer = worker.accessLogBuffer(configuration.file)
  }

  /// Writes the line of a stream that has ended, straight into the worker's buffer.
  func write(_ stream: Stream) { buffer.write(format, stream) }
}
