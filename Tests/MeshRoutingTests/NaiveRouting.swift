import MeshAPI
import MeshPrimitives

/// The rules of matching by the letter, written without any of the production code's parts: texts are taken apart with
/// the standard library, expressions are known by heart.
struct NaiveRouting {
  struct Request {
    var path: String
    var host = "example.com"
    var headers: [(String, String)] = []
  }

  /// Expressions, and what they mean.
  static let expressions: [(pattern: String, matches: @Sendable (String) -> Bool)] = [
    ("/a/.*", { $0.hasPrefix("/a/") }),
    ("/[ab]/x", { $0 == "/a/x" || $0 == "/b/x" }),
    ("/a|/b", { $0 == "/a" || $0 == "/b" }),
    ("(/a|/b)/x", { $0 == "/a/x" || $0 == "/b/x" }),
    ("/ab?", { $0 == "/a" || $0 == "/ab" }),
    ("/a+", { $0.hasPrefix("/a") && $0.dropFirst().allSatisfy { $0 == "a" } }),
    ("^/service.*$", { $0.hasPrefix("/service") }),
    (".*x", { $0.hasSuffix("x") }),
    ("(?i)/AB.*", { $0.lowercased().hasPrefix("/ab") }),
    ("/service\\/x/?", { $0 == "/service/x" || $0 == "/service/x/" }),
    ("/\\w", { $0.count == 2 && $0.first == "/" && $0.last != "/" }),
  ]

  let routes: [Route]
  var ignoresPathParameters = false

  /// The name of the first route that matches.
  func route(_ request: Request) -> String? { routes.first { matches($0.match, request) }?.name }

  private func matches(_ match: RouteMatch, _ request: Request) -> Bool {
    pathHolds(match, request.path) && match.headers.allSatisfy { headerHolds($0, request.headers) }
      && match.queryParameters.allSatisfy { queryHolds($0, request.path) }
      && match.cookies.allSatisfy { cookieHolds($0, request.headers) }
  }

  private func pathHolds(_ match: RouteMatch, _ path: String) -> Bool {
    var bare = String(path.prefix { $0 != "?" && $0 != "#" })
    if ignoresPathParameters {
      let segments = bare.split(separator: "/", omittingEmptySubsequences: false)
      bare = segments.map { $0.prefix { $0 != ";" } }.joined(separator: "/")
    }
    let ignoresCase = match.hasCaseSensitive && !match.caseSensitive.value
    func folded(_ text: String) -> String { ignoresCase ? text.lowercased() : text }
    switch match.pathSpecifier {
    case .prefix(let text): return text.isEmpty || folded(bare).hasPrefix(folded(text))
    case .path(let text): return folded(bare) == folded(text)
    case .pathSeparatedPrefix(let text):
      return folded(bare) == folded(text) || folded(bare).hasPrefix(folded(text) + "/")
    case .safeRegex(let regex): return Self.expressions.first { $0.pattern == regex.regex }?.matches(bare) ?? false
    // None of the requests is a CONNECT.
    case .connectMatcher, nil: return false
    }
  }

  private func headerHolds(_ matcher: HeaderMatcher, _ headers: [(String, String)]) -> Bool {
    var values = headers.filter { $0.0 == matcher.name }.map(\.1)
    if values.isEmpty, matcher.treatMissingHeaderAsEmpty { values = [""] }
    switch matcher.headerMatchSpecifier {
    case .presentMatch(let wanted): return (!values.isEmpty == wanted) != matcher.invertMatch
    case .exactMatch(let text): return !values.isEmpty && values.contains(text) != matcher.invertMatch
    case .rangeMatch(let range):
      let holds = values.contains { value in Int64(value).map { range.start <= $0 && $0 < range.end } ?? false }
      return !values.isEmpty && holds != matcher.invertMatch
    default: return !values.isEmpty != matcher.invertMatch
    }
  }

  private func queryHolds(_ matcher: QueryParameterMatcher, _ path: String) -> Bool {
    let query = path.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).dropFirst().first ?? ""
    let pairs = query.prefix { $0 != "#" }.split(separator: "&").map {
      $0.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    }
    let pair = pairs.first { $0[0] == matcher.name }
    switch matcher.queryParameterMatchSpecifier {
    case nil: return pair != nil
    case .presentMatch(let wanted): return (pair != nil) == wanted
    case .stringMatch(let match): return pair.map { ($0.count > 1 ? String($0[1]) : "") == match.exact } ?? false
    }
  }

  private func cookieHolds(_ matcher: CookieMatcher, _ headers: [(String, String)]) -> Bool {
    let lines = headers.filter { $0.0 == "cookie" }.map(\.1)
    let pairs: [[Substring]] = lines.joined(separator: ";").split(separator: ";").map { part in
      part.drop { $0 == " " }.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    }
    let pair = pairs.first { $0.count == 2 && $0[0] == matcher.name }
    return (pair.map { $0[1] == matcher.stringMatch.exact } ?? false) != matcher.invertMatch
  }
}

/// Random tables and requests that meet each other often.
extension Random {
  mutating func pick<T>(_ choices: [T]) -> T { choices[Int(below(UInt64(choices.count)))] }
  mutating func oneIn(_ count: UInt64) -> Bool { below(count) == 0 }

  mutating func path() -> String {
    var path = ""
    for _ in 0..<below(5) {
      path += "/" + pick(["a", "b", "ab", "A", "service", "x", "aa"])
      if oneIn(6) { path += pick([";p", ";p=1", ";", ";a;b"]) }
    }
    if oneIn(4) { path += "/" }
    return path
  }

  mutating func route(_ number: Int) -> Route {
    var route = Route()
    route.name = "\(number)"
    route.route.cluster = "c\(number % 7)"
    let text = path()
    switch below(7) {
    case 0, 1: route.match.prefix = text
    case 2, 3: route.match.path = text
    case 4, 5: route.match.safeRegex.regex = pick(NaiveRouting.expressions).pattern
    default:
      let trimmed = text.hasSuffix("/") ? String(text.dropLast()) : text
      route.match.pathSeparatedPrefix = trimmed.count < 2 ? "/a" : trimmed
    }
    if oneIn(4) { route.match.caseSensitive.value = oneIn(2) }
    for _ in 0..<(oneIn(3) ? below(3) : 0) { route.match.headers.append(headerMatcher()) }
    for _ in 0..<(oneIn(5) ? below(3) : 0) { route.match.queryParameters.append(queryMatcher()) }
    if oneIn(8) {
      var matcher = CookieMatcher()
      matcher.name = pick(["c", "d"])
      matcher.stringMatch.exact = pick(["1", "2"])
      matcher.invertMatch = oneIn(3)
      route.match.cookies.append(matcher)
    }
    return route
  }

  private mutating func headerMatcher() -> HeaderMatcher {
    var matcher = HeaderMatcher()
    matcher.name = pick(["h", "i"])
    switch below(4) {
    case 0: matcher.headerMatchSpecifier = .exactMatch(pick(["v", "w", ""]))
    case 1: matcher.presentMatch = oneIn(2)
    case 2:
      matcher.rangeMatch.start = -3
      matcher.rangeMatch.end = 7
    default: break
    }
    matcher.invertMatch = oneIn(3)
    matcher.treatMissingHeaderAsEmpty = oneIn(4)
    return matcher
  }

  private mutating func queryMatcher() -> QueryParameterMatcher {
    var matcher = QueryParameterMatcher()
    matcher.name = pick(["q", "r"])
    switch below(3) {
    case 0: matcher.stringMatch.exact = pick(["1", "", "1=2"])
    case 1: matcher.presentMatch = oneIn(2)
    default: break
    }
    return matcher
  }

  mutating func request() -> NaiveRouting.Request {
    var path = path()
    if oneIn(2) { path += pick(["?q", "#f", "?/a/b", "?q=1", "?r=1&q=1", "?q=1=2&q=1", "?q#r", "x", "?&r&", "?=1"]) }
    var headers: [(String, String)] = []
    for _ in 0..<below(3) { headers.append((pick(["h", "i"]), pick(["v", "w", "z", "", "6", "7", "-3", "x6"]))) }
    for _ in 0..<(oneIn(3) ? below(3) : 0) {
      headers.append(("cookie", pick(["c=1", "c=2; d=1", "d=2;c=1", "c", "x=1;  c=1", "c=1=2"])))
    }
    return .init(path: path, headers: headers)
  }
}
