/// One thing that is wrong, or doubtful, in a configuration.
public struct ConfigurationProblem: Error, Sendable, Equatable, CustomStringConvertible {
  /// Whether the configuration can be used in spite of the problem.
  public enum Severity: Sendable, Equatable {
    /// It cannot.
    case error
    /// It can; what was written may not mean what its author thinks.
    case warning
  }

  /// The file, or what stands for it (`--config-yaml`). Empty when the problem is not about a text.
  public var file: String
  /// Where in the file; nil when the problem is about the file as a whole.
  public var position: SourcePosition?
  /// The field, for example `static_resources.clusters[0].name`; empty for the configuration as a whole.
  public var path: String
  /// What is wrong, and in parentheses what is allowed or was probably meant.
  public var message: String
  public var severity: Severity

  public init(
    file: String, position: SourcePosition? = nil, path: String = "", message: String, severity: Severity = .error
  ) {
    self.file = file
    self.position = position
    self.path = path
    self.message = message
    self.severity = severity
  }

  /// `file:line:column: path: message`, without the parts that are not known.
  public var description: String {
    var parts: [String] = []
    if let position {
      parts.append("\(file):\(position.line):\(position.column)")
    } else if !file.isEmpty {
      parts.append(file)
    }
    if !path.isEmpty { parts.append(path) }
    parts.append(message)
    return parts.joined(separator: ": ")
  }
}

/// Everything that makes a configuration unusable, in the order of the text. At most `ConfigurationReader.problemLimit`
/// problems are listed; the last one then says how many more there are.
public struct ConfigurationErrors: Error, Sendable, CustomStringConvertible {
  public let problems: [ConfigurationProblem]

  public init(problems: [ConfigurationProblem]) { self.problems = problems }

  /// One problem per line.
  public var description: String { problems.map(\.description).joined(separator: "\n") }
}
