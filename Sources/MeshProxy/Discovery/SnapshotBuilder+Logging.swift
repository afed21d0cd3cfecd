import MeshAPI
import MeshConfig
import MeshIO
import MeshPrimitives
import SwiftProtobuf

/// Access logs of a connection manager.
extension SnapshotBuilder {
  /// Compiles what a connection manager logs.
  mutating func addLogs(_ manager: HttpConnectionManager, _ path: String, _ logging: inout LoggingConfiguration) {
    addLogs(manager.accessLog, path, &logging)
    let options = manager.accessLogOptions
    logging.logsNewRequests = options.flushAccessLogOnNewRequest || manager.flushAccessLogOnNewRequest
    if options.hasAccessLogFlushInterval {
      logging.interval = Nanoseconds(options.accessLogFlushInterval)
    } else if manager.hasAccessLogFlushInterval {
      logging.interval = Nanoseconds(manager.accessLogFlushInterval)
    }
  }

  /// - Parameter path: of whoever has the logs.
  mutating func addLogs(_ logs: [AccessLog], _ path: String, _ logging: inout LoggingConfiguration) {
    for (index, log) in logs.enumerated() {
      if let compiled = accessLog(log, "\(path).access_log[\(index)]") { logging.accessLogs.append(compiled) }
    }
  }

  mutating func accessLog(_ log: AccessLog, _ path: String) -> AccessLogConfiguration? {
    let configPath = "\(path).typed_config"
    let target: String
    let format: SubstitutionFormatString?
    if let file: FileAccessLog = try? log.typedConfig.unpack() {
      target = file.path
      format = if case .logFormat(let format) = file.accessLogFormat { format } else { nil }
    } else if let out: StdoutAccessLog = try? log.typedConfig.unpack() {
      target = "/dev/stdout"
      format = if case .logFormat(let format) = out.accessLogFormat { format } else { nil }
    } else if let out: StderrAccessLog = try? log.typedConfig.unpack() {
      target = "/dev/stderr"
      format = if case .logFormat(let format) = out.accessLogFormat { format } else { nil }
    } else {
      report(configPath, "\(log.typedConfig.messageName) is no access log")
      return nil
    }
    let compiled: SubstitutionFormat
    if let format {
      guard let own = substitutionFormat(format, "\(configPath).log_format", for: .accessLog) else { return nil }
      compiled = own
    } else {
      compiled = .standard
    }
    var condition: AccessLogFilter?
    if log.hasFilter {
      guard let filter = filter(log.filter, "\(path).filter") else { return nil }
      condition = filter
    }
    do {
      return .init(file: try identities.accessLogFiles.file(target), format: compiled, filter: condition)
    } catch {
      report("\(configPath).path", "\(error)")
      return nil
    }
  }

  /// Compiles a format; reports what is wrong with it and returns nil.
  mutating func substitutionFormat(
    _ format: SubstitutionFormatString, _ path: String, for use: SubstitutionFormat.Use
  ) -> SubstitutionFormat? {
    let omitsEmpty = format.omitEmptyValues
    switch format.format {
    case .textFormat(let text)?:
      return compiled(SubstitutionFormat.compile(text, for: use, omitsEmpty: omitsEmpty), "\(path).text_format")
    case .textFormatSource(let source)?:
      let text: String
      do { text = String(decoding: try DataSourceReader.bytes(of: source), as: UTF8.self) } catch {
        report("\(path).text_format_source", error.description)
        return nil
      }
      return compiled(
        SubstitutionFormat.compile(text, for: use, omitsEmpty: omitsEmpty), "\(path).text_format_source")
    case .jsonFormat(let structure)?:
      return compiled(SubstitutionFormat.compile(json: structure, omitsEmpty: omitsEmpty), "\(path).json_format")
    case nil:
      report(path, "has no format (text_format_source, json_format)")
      return nil
    }
  }

  private mutating func compiled(
    _ result: Result<SubstitutionFormat, FormatProblem>, _ path: String
  ) -> SubstitutionFormat? {
    switch result {
    case .success(let format): return format
    case .failure(let problem):
      report(path + problem.path, problem.description)
      return nil
    }
  }
}
