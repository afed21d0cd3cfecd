import CRE2

#if canImport(Glibc)
  import Glibc
#endif

/// A regular expression in RE2's syntax (`envoy.type.matcher.v3.RegexMatcher`). Matching takes time linear in the text,
/// whatever the expression. Immutable; any thread.
public final class RegularExpression: Sendable {
  /// Why an expression or a substitution was refused, in RE2's words.
  public struct PatternError: Error, Equatable, CustomStringConvertible {
    public let description: String
  }

  public let pattern: String
  // SAFETY: RE2 objects may be used by several threads at once (re2.h, "thread-safe"); it is freed with this object only.
  nonisolated(unsafe) private let expression: OpaquePointer

  /// - Parameter ignoresCase: whether the case of letters does not matter.
  /// - Throws: for a pattern that RE2 does not take.
  public init(_ pattern: String, ignoresCase: Bool = false) throws(PatternError) {
    self.pattern = pattern
    var pattern = pattern
    let (compiled, reason) = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { error in
      let compiled = pattern.withUTF8 {
        cre2_compile($0.baseAddress, $0.count, ignoresCase, error.baseAddress, error.count)
      }
      return (compiled, compiled == nil ? String(cString: error.baseAddress.unsafelyUnwrapped) : "")
    }
    guard let compiled else { throw PatternError(description: reason) }
    expression = compiled
  }

  deinit { cre2_free(expression) }

  /// The number of capturing groups.
  public var groupCount: Int { Int(cre2_group_count(expression)) }

  /// Whether the expression matches the whole text.
  public func matches(_ text: Bytes) -> Bool { cre2_matches(expression, text.baseAddress, text.count) }

  /// Whether the expression matches some part of the text.
  public func finds(in text: Bytes) -> Bool { cre2_finds(expression, text.baseAddress, text.count) }

  /// Checks what `replaceAll` is to put in.
  /// - Parameter substitution: text with `\0` (the match) to `\9` (groups) and `\\`.
  /// - Throws: if it refers to a group that does not exist, or has a `\` before something else.
  public func check(substitution: String) throws(PatternError) {
    var substitution = substitution
    let reason: String? = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { error in
      let isGood = substitution.withUTF8 {
        cre2_check_rewrite(expression, $0.baseAddress, $0.count, error.baseAddress, error.count)
      }
      return isGood ? nil : String(cString: error.baseAddress.unsafelyUnwrapped)
    }
    if let reason { throw PatternError(description: reason) }
  }

  /// Replaces every match that does not overlap the one before.
  /// - Parameter substitution: checked by `check(substitution:)`.
  /// - Returns: the new text; nil if nothing matches.
  public func replaceAll(in text: Bytes, with substitution: Bytes) -> [UInt8]? {
    var count = 0
    guard
      let result = cre2_replace_all(
        expression, text.baseAddress, text.count, substitution.baseAddress, substitution.count, &count)
    else { return nil }
    defer { free(result) }
    return Array(Bytes(start: result, count: count))
  }
}
