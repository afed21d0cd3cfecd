import MeshPrimitives
import Testing

@testable import MeshHTTP

@Suite("Path normalisation")
struct PathNormalizationTests {
  /// A path and what becomes of it; nil: it is refused.
  typealias Case = (path: String, result: String?)

  private static func rules(
    normalizes: Bool = false, merges: Bool = false, _ slashes: PathNormalization.EscapedSlashes = .keep
  ) -> PathNormalization {
    var rules = PathNormalization()
    rules.normalizes = normalizes
    rules.mergesSlashes = merges
    rules.escapedSlashes = slashes
    return rules
  }

  /// The path that results, and whether the client is to ask for it; nil if it is refused.
  private func apply(_ rules: PathNormalization, _ path: String) -> (path: String, redirects: Bool)? {
    let map = HeaderMap()
    wire(path).withUnsafeBufferPointer { map.set(.path, $0) }
    switch map.normalizePath(rules) {
    case .refused: return nil
    case .redirect: return (map.text(.path) ?? "", true)
    case .changed:
      #expect(map.text(.path) != path)
      return (map.text(.path) ?? "", false)
    case .unchanged:
      #expect(map.text(.path) == path)
      return (path, false)
    }
  }

  private func check(_ rules: PathNormalization, _ cases: [Case]) {
    for (path, result) in cases { #expect(apply(rules, path)?.path == result, "\(path)") }
  }

  @Test("dot segments are resolved, however they are written")
  func dotSegments() {
    check(
      Self.rules(normalizes: true),
      [
        ("/", "/"), ("/a/b", "/a/b"), ("/a/../b", "/b"), ("/a/./b", "/a/b"), ("/..", "/"), ("/../x", "/x"),
        ("/a/..", "/"), ("/a/.", "/a/"), ("/a/b/..", "/a/"), ("/a/b/../", "/a/"), ("/...", "/..."), ("/.a", "/.a"),
        ("/a/..b/c", "/a/..b/c"), ("/a/b/..//c", "/a//c"), ("/a//../b", "/a/b"), ("//..", "/"), ("//../x", "/x"),
        ("/a/%2e%2e/b", "/b"), ("/a/%2E/b", "/a/b"), ("/%2e%2e/x", "/x"), ("/a/b/%2E%2e", "/a/"), ("/a/.%2e/b", "/b"),
        ("/a/%2e%2e%2fb", "/a/..%2fb"), ("/x%2f../y", "/x%2f../y"), ("/../../../a", "/a"),
      ])
  }

  @Test("a dot segment may have parameters")
  func parameters() {
    check(
      Self.rules(normalizes: true),
      [
        ("/a/..;/b", "/b"), ("/a/..;", "/"), ("/a/.;", "/a/"), ("/a/..;p=1/c", "/c"), ("/a/%2e%2e;p=1/c", "/c"),
        ("/a/..;;;/../c", "/c"), ("/a/..;%2fx/y", "/y"), ("/a/b/..;x?y;/..", "/a/?y;/.."), ("/a/...;/c", "/a/...;/c"),
        ("/a/..%3b/c", "/a/..%3b/c"), ("/a;x=1/../b", "/b"), ("/a/..;\\b", "/b"), ("/a;..;/b", "/a;..;/b"),
      ])
  }

  @Test("unreserved characters are decoded and nothing else")
  func escapes() {
    check(
      Self.rules(normalizes: true),
      [
        ("/%41%2d%7e%5f%30", "/A-~_0"), ("/%C3%A9", "/%C3%A9"), ("/%c3%a9", "/%c3%a9"), ("/a%2fb", "/a%2fb"),
        ("/a%5Cb", "/a%5Cb"), ("/a/%20/%3F?b", "/a/%20/%3F?b"), ("/%25%32%65", "/%252e"), ("/%01", "/%01"),
        ("/%7Ea/%2Fb%5C", "/~a/%2Fb%5C"),
      ])
  }

  @Test("a stray percent sign never becomes an escape")
  func strayPercent() {
    check(
      Self.rules(normalizes: true),
      [
        ("/%zz", "/%zz"), ("/a%2", "/a%2"), ("/a%", "/a%"), ("/%2%41", "/%252A"), ("/%%32%45", "/%252E"),
        ("/%%%32e", "/%%252e"), ("/%2%65", "/%252e"), ("/%%41", "/%A"), ("/%2%2e", "/%2."), ("/%2%2f", "/%2%2f"),
        ("/%a%b", "/%a%b"), ("/%2%4a%4a", "/%2JJ"), ("/%%4%31", "/%%2541"),
      ])
  }

  @Test("a backslash is a slash, and what no path may hold is encoded")
  func foreign() {
    check(
      Self.rules(normalizes: true),
      [
        ("/a\\b", "/a/b"), ("/a\\..\\b", "/b"), ("/{x}|^`\"<>", "/%7Bx%7D%7C%5E%60%22%3C%3E"), ("/a[1]'!", "/a[1]'!"),
      ])
  }

  @Test("NUL is refused, in the path only")
  func null() {
    check(Self.rules(normalizes: true), [("/%00", nil), ("/a/%00/..", nil), ("/a?%00", "/a?%00")])
    check(Self.rules(merges: true), [("/%00", "/%00")])
  }

  @Test("the query is left alone")
  func query() {
    check(
      Self.rules(normalizes: true, merges: true, .forward),
      [
        ("/a/../b?x=/../y", "/b?x=/../y"), ("/a//b?c//d", "/a/b?c//d"), ("/a%2fb?c%2fd", "/a/b?c%2fd"), ("/?", "/?"),
        ("/a/..?", "/?"), ("/a?%2e%2E", "/a?%2e%2E"), ("/a/..?/..", "/?/.."),
      ])
  }

  @Test("several slashes become one, after normalisation")
  func slashes() {
    check(
      Self.rules(merges: true),
      [("/a//b", "/a/b"), ("//a", "/a"), ("///", "/"), ("/a/", "/a/"), ("/a//", "/a/"), ("/a/../b", "/a/../b")])
    check(
      Self.rules(normalizes: true, merges: true),
      [("/a/b/..//c", "/a/c"), ("/a//../b", "/a/b"), ("/a\\\\b", "/a/b"), ("/./", "/"), ("/.//.", "/")])
  }

  @Test("escaped slashes are decoded before anything else, refused, or sent back")
  func escapedSlashes() {
    check(
      Self.rules(.forward),
      [("/a%2fb", "/a/b"), ("/a%5Cb", "/a\\b"), ("/%252f", "/%252f"), ("/a/%2e%2e%2fb", "/a/%2e%2e/b"), ("/%2f", "//")])
    check(Self.rules(normalizes: true, .forward), [("/a/%2e%2e%2fb", "/b"), ("/x%5c..%5cy", "/y")])
    check(Self.rules(normalizes: true, merges: true, .forward), [("/x/%2f/%2f/", "/x/"), ("/%2f%2F", "/")])
    check(Self.rules(.reject), [("/a%2fb", nil), ("/a%5cb", nil), ("/a?%2f", "/a?%2f"), ("/a/b", "/a/b")])
    for (path, result, redirects) in [
      ("/a%2Fb", "/a/b", true), ("/a/%2e%2e%2fb", "/b", true), ("/a/../b", "/b", false), ("/a", "/a", false),
    ] {
      let found = apply(Self.rules(normalizes: true, .redirect), path)
      #expect(found?.path == result)
      #expect(found?.redirects == redirects)
    }
  }

  @Test("what is no path is left alone")
  func others() {
    check(Self.rules(normalizes: true, merges: true, .reject), [("*", "*"), ("a%2fb/..", "a%2fb/..")])
    #expect(HeaderMap().normalizePath(Self.rules(normalizes: true)) == .unchanged)
  }

  /// For every path: doing it again changes nothing, the result is a path that begins with a slash and has no dot
  /// segment, and it is longer than the original only by what had to be encoded.
  @Test("normalisation is idempotent and bounded", arguments: [11, 12, 13])
  func properties(seed: UInt64) {
    let pieces = [
      "/", "/", "/", "..", ".", "%2e", "%2E", "%2f", "%5c", "\\", "a", "b", "%41", "%", "%2", "4", "?", "%25", "//",
      ";",
      "{", "%7e", "%32", "%65", "..;", ".;", "%c3",
    ]
    var random = SeededGenerator(seed: seed)
    for _ in 0..<4000 {
      let count = Int.random(in: 0...10, using: &random)
      let path = "/" + (0..<count).map { _ in pieces.randomElement(using: &random) ?? "" }.joined()
      for slashes in [PathNormalization.EscapedSlashes.keep, .forward] {
        let rules = Self.rules(normalizes: true, merges: Bool.random(using: &random), slashes)
        guard let (once, _) = apply(rules, path) else {
          Issue.record("\(path) is refused")
          continue
        }
        #expect(apply(rules, once)?.path == once, "\(path) → \(once)")
        #expect(once.hasPrefix("/"))
        let segments = once.prefix { $0 != "?" }.split(separator: "/", omittingEmptySubsequences: false)
        #expect(!segments.contains { $0 == "." || $0 == ".." }, "\(path) → \(once)")
        if !path.contains("{"), !path.contains("%") { #expect(once.count <= path.count) }
        #expect(once.count <= 3 * path.count)
      }
    }
  }
}
