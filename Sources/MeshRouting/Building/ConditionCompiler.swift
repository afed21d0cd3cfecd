import MeshAPI
import MeshPrimitives

/// Makes conditions on requests from configuration; what is wrong is reported and left out.
struct ConditionCompiler {
  private(set) var problems: [RouteProblem] = []

  /// A condition on a header.
  mutating func header(_ matcher: HeaderMatcher, _ path: String) -> HeaderCondition? {
    guard let name = headerName(matcher.name, path + ".name") else { return nil }
    guard let test = headerTest(matcher, path) else { return nil }
    return HeaderCondition(
      name: name, test: test, inverted: matcher.invertMatch, missingIsEmpty: matcher.treatMissingHeaderAsEmpty)
  }

  private mutating func headerTest(_ matcher: HeaderMatcher, _ path: String) -> HeaderCondition.Test? {
    switch matcher.headerMatchSpecifier {
    case nil: return .present(true)
    case .presentMatch(let wanted): return .present(wanted)
    case .rangeMatch(let range): return .range(range.start, range.end)
    case .safeRegexMatch(let regex):
      return expression(regex, path + ".safe_regex_match").map { .text(TextPattern(.expression($0))) }
    case .exactMatch(let exact): return .text(TextPattern(.exact, exact))
    case .prefixMatch(let prefix):
      return required(prefix, path + ".prefix_match") ? .text(TextPattern(.prefix, prefix)) : nil
    case .suffixMatch(let suffix):
      return required(suffix, path + ".suffix_match") ? .text(TextPattern(.suffix, suffix)) : nil
    case .containsMatch(let part):
      return required(part, path + ".contains_match") ? .text(TextPattern(.contains, part)) : nil
    case .stringMatch(let match): return text(match, path + ".string_match").map { .text($0) }
    }
  }

  /// The name of a header of a request, for reading.
  mutating func headerName(_ name: String, _ path: String) -> HeaderName? {
    guard !name.isEmpty else {
      problem(path, "is required")
      return nil
    }
    if name.utf8.first == UInt8(ascii: ":") {
      guard [":method", ":path", ":authority", ":scheme"].contains(name.lowercased()) else {
        problem(path, "'\(name)' is not a pseudo header of requests")
        return nil
      }
    } else if !HeaderCompiler.isToken(name) {
      problem(path, "'\(name)' is not a header name (RFC 9110 §5.6.2)")
      return nil
    }
    return HeaderName(name)
  }

  /// A condition on a parameter of the query.
  mutating func query(_ matcher: QueryParameterMatcher, _ path: String) -> QueryCondition? {
    guard required(matcher.name, path + ".name") else { return nil }
    let name = Array(matcher.name.utf8)
    switch matcher.queryParameterMatchSpecifier {
    case nil: return QueryCondition(name: name, test: .present(true))
    case .presentMatch(let wanted): return QueryCondition(name: name, test: .present(wanted))
    case .stringMatch(let match):
      return text(match, path + ".string_match").map { QueryCondition(name: name, test: .text($0)) }
    }
  }

  /// A condition on a cookie.
  mutating func cookie(_ matcher: CookieMatcher, _ path: String) -> CookieCondition? {
    let isNamed = required(matcher.name, path + ".name")
    guard matcher.hasStringMatch else {
      problem(path + ".string_match", "is required")
      return nil
    }
    guard let pattern = text(matcher.stringMatch, path + ".string_match"), isNamed else { return nil }
    return CookieCondition(name: Array(matcher.name.utf8), pattern: pattern, inverted: matcher.invertMatch)
  }

  /// A condition on a text.
  mutating func text(_ match: StringMatcher, _ path: String) -> TextPattern? {
    let ignoresCase = match.ignoreCase
    switch match.matchPattern {
    case nil:
      problem(path, "one of exact, prefix, suffix, safe_regex and contains is required")
      return nil
    case .exact(let exact): return TextPattern(.exact, exact, ignoresCase: ignoresCase)
    case .prefix(let prefix):
      return required(prefix, path + ".prefix") ? TextPattern(.prefix, prefix, ignoresCase: ignoresCase) : nil
    case .suffix(let suffix):
      return required(suffix, path + ".suffix") ? TextPattern(.suffix, suffix, ignoresCase: ignoresCase) : nil
    case .contains(let part):
      return required(part, path + ".contains") ? TextPattern(.contains, part, ignoresCase: ignoresCase) : nil
    case .safeRegex(let regex):
      if ignoresCase {
        problem(path + ".ignore_case", "has no effect with safe_regex (begin the expression with (?i))")
        return nil
      }
      return expression(regex, path + ".safe_regex").map { TextPattern(.expression($0)) }
    }
  }

  /// A regular expression.
  mutating func expression(_ matcher: RegexMatcher, _ path: String) -> RegularExpression? {
    guard required(matcher.regex, path + ".regex") else { return nil }
    do { return try RegularExpression(matcher.regex) } catch {
      problem(path + ".regex", "'\(matcher.regex)': \(error.description)")
      return nil
    }
  }

  /// A search and what takes the place of what it finds.
  mutating func substitution(_ message: RegexMatchAndSubstitute, _ path: String) -> Substitution? {
    guard let pattern = expression(message.pattern, path + ".pattern") else { return nil }
    guard message.substitution.utf8.count <= 1_024 else {
      problem(path + ".substitution", "has \(message.substitution.utf8.count) bytes; at most 1024 are allowed")
      return nil
    }
    guard message.substitution.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
      problem(path + ".substitution", "holds a control character")
      return nil
    }
    do { try pattern.check(substitution: message.substitution) } catch {
      problem(path + ".substitution", "'\(message.substitution)': \(error.description)")
      return nil
    }
    return Substitution(pattern: pattern, text: Array(message.substitution.utf8))
  }

  private mutating func required(_ text: String, _ path: String) -> Bool {
    if text.isEmpty { problem(path, "must not be empty") }
    return !text.isEmpty
  }

  mutating func problem(_ path: String, _ message: String) {
    problems.append(RouteProblem(path: path, message: message))
  }
}
