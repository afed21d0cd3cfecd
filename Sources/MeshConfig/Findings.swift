/// Collects what is wrong while a configuration is read. Bounded: beyond the limit errors are only counted.
struct Findings {
  struct Finding {
    /// The text that it is about, by its place among all texts.
    var source: Int
    var position: SourcePosition?
    var path: ConfigurationPath
    var message: String
    var severity: ConfigurationProblem.Severity
    /// What else would only repeat it.
    var covers: Coverage = .value
  }

  /// How far a problem explains others.
  enum Coverage {
    /// Problems with the same value or anything inside it.
    case value
    /// Also that something else in the same message is missing: a name was probably mistyped.
    case siblings
  }

  let limit: Int
  /// Errors and warnings, each up to the limit.
  private(set) var all: [Finding] = []
  private var errors = 0
  private var warnings = 0

  init(limit: Int) { self.limit = limit }

  /// How many errors are not in `all`.
  var uncounted: Int { max(0, errors - limit) }

  mutating func add(_ finding: Finding) {
    switch finding.severity {
    case .error:
      errors += 1
      if errors <= limit { all.append(finding) }
    case .warning:
      warnings += 1
      if warnings <= limit { all.append(finding) }
    }
  }
}
