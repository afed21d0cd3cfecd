/// Collects what is wrong while a configuration is read. Bounded: beyond the limit problems are only counted.
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
  private(set) var all: [Finding] = []
  private(set) var uncounted = 0

  init(limit: Int) { self.limit = limit }

  mutating func add(_ finding: Finding) {
    if all.count < limit { all.append(finding) } else if finding.severity == .error { uncounted += 1 }
  }

  var hasErrors: Bool { uncounted > 0 || all.contains { $0.severity == .error } }
}
