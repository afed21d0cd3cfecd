import MeshPrimitives

// The levels of the process log.

extension AdminEndpoint {
  static let logging = AdminEndpoint(
    "/logging", "query/change logging levels", isMutating: true, showsOnGet: true,
    parameters: [
      Parameter(
        name: "paths",
        help: "Change multiple logging levels by setting to "
          + "<logger_name1>:<desired_level1>,<logger_name2>:<desired_level2>"),
      Parameter(
        name: "level", help: "desired logging level, this will change all loggers's level",
        choices: [""] + LogLevel.allCases.map(\.description)),
    ]
  ) { request, context in
    let log = context.processLog
    // The form of the home page sends both, empty where nothing was chosen.
    let parameters = request.parameters.filter { !(["paths", "level"].contains($0.name) && $0.value.isEmpty) }
    do throws(LoggingError) {
      try change(log, parameters)
    } catch {
      return .text("error: \(error.reason)\n\n\(loggingUsage)\(activeLoggers(log))", status: 400)
    }
    return .text(activeLoggers(log))
  }

  private struct LoggingError: Error {
    let reason: String
  }

  /// All changes or none.
  private static func change(
    _ log: ProcessLog, _ parameters: [(name: String, value: String)]
  ) throws(LoggingError) {
    guard let (name, value) = parameters.first else { return }
    guard parameters.count == 1 else { throw LoggingError(reason: "invalid number of parameters") }
    switch name {
    case "level": log.setLevel(try level(value))
    case "paths":
      var changes: [(component: String, level: LogLevel)] = []
      for path in value.split(separator: ",", omittingEmptySubsequences: false) {
        let parts = path.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
          throw LoggingError(reason: "empty logger name or empty logger level")
        }
        changes.append((String(parts[0]), try level(parts[1])))
      }
      try apply(log, changes)
    default: try apply(log, [(name, try level(value))])
    }
  }

  private static func apply(
    _ log: ProcessLog, _ changes: [(component: String, level: LogLevel)]
  ) throws(LoggingError) {
    let known = Set(log.levels().map(\.component))
    guard changes.allSatisfy({ known.contains($0.component) }) else {
      throw LoggingError(reason: "unknown logger name")
    }
    for change in changes { _ = log.setLevel(change.level, component: change.component) }
  }

  private static func level(_ name: some StringProtocol) throws(LoggingError) -> LogLevel {
    guard let level = LogLevel(name: name) else { throw LoggingError(reason: "unknown logger level") }
    return level
  }

  private static func activeLoggers(_ log: ProcessLog) -> String {
    "active loggers:\n" + log.levels().map { "  \($0.component): \($0.level)\n" }.joined() + "\n"
  }

  private static var loggingUsage: String {
    """
    usage: /logging?<name>=<level> (change single level)
    usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
    usage: /logging?level=<level> (change all levels)
    levels: \(LogLevel.allCases.map(\.description).joined(separator: " "))

    """
  }
}
