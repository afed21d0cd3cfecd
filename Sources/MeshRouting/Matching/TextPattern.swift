import MeshAPI
import MeshPrimitives

/// A condition on a text (Envoy's `StringMatcher`). Immutable; shared by all threads.
public struct TextPattern: Sendable {
  enum Test: Sendable {
    case exact, prefix, suffix, contains
    /// The expression matches the whole text.
    case expression(RegularExpression)
  }

  let test: Test
  /// In lower case if `ignoresCase`.
  let text: [UInt8]
  let ignoresCase: Bool

  init(_ test: Test, _ text: String = "", ignoresCase: Bool = false) {
    self.test = test
    self.text = ignoresCase ? text.utf8.map(\.asciiLowercased) : Array(text.utf8)
    self.ignoresCase = ignoresCase
  }

  /// Whether the condition holds for `value`.
  public func matches(_ value: Bytes) -> Bool {
    if case .expression(let expression) = test { return expression.matches(value) }
    return text.withUnsafeBufferPointer { matches(value, $0) }
  }

  private func matches(_ value: Bytes, _ text: Bytes) -> Bool {
    guard value.count >= text.count else { return false }
    switch test {
    case .exact: return value.count == text.count && same(value, 0, text)
    case .prefix: return same(value, 0, text)
    case .suffix: return same(value, value.count - text.count, text)
    case .contains: return (0...value.count - text.count).contains { same(value, $0, text) }
    case .expression: return false
    }
  }

  private func same(_ value: Bytes, _ offset: Int, _ text: Bytes) -> Bool {
    let part = value.slice(offset, text.count)
    return ignoresCase ? part.equalsIgnoringCase(text) : part.equals(text)
  }
}

extension TextPattern {
  /// Compiles a matcher, or says everything that is wrong with it; paths begin with `path`. For whoever matches texts
  /// beside routes.
  public static func build(_ matcher: StringMatcher, path: String) -> Result<TextPattern, RouteProblems> {
    var compiler = ConditionCompiler()
    let pattern = compiler.text(matcher, path)
    guard let pattern, compiler.problems.isEmpty else {
      return .failure(RouteProblems(problems: compiler.problems))
    }
    return .success(pattern)
  }
}
