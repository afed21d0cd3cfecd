import MeshAPI
import MeshPrimitives
import MeshRouting
import Testing

/// Where redirects lead: what Envoy 1.40 answers with the same configuration and the same request.
@Suite struct RedirectTests {
  struct Case: CustomTestStringConvertible, Sendable {
    let what: String
    let path: String
    let host: String
    let scheme: String?
    let location: String
    let configure: @Sendable (inout RedirectAction) -> Void

    init(
      _ what: String, _ path: String = "/p/sub", host: String = "h.example", scheme: String? = nil, _ location: String,
      _ configure: @escaping @Sendable (inout RedirectAction) -> Void
    ) {
      self.what = what
      self.path = path
      self.host = host
      self.scheme = scheme
      self.location = location
      self.configure = configure
    }

    var testDescription: String { "\(what): \(scheme ?? "-") \(host) \(path)" }
  }

  static let https: @Sendable (inout RedirectAction) -> Void = { $0.httpsRedirect = true }
  static let cases: [Case] = [
    // Schemes and their ports.
    Case("https", "/p/sub/q?a=1&b", "https://h.example/p/sub/q?a=1&b", https),
    Case("https", host: "h.example:80", "https://h.example/p/sub", https),
    Case("https", host: "h.example:443", "https://h.example:443/p/sub", https),
    Case("https", host: "h.example:8080", "https://h.example:8080/p/sub", https),
    Case("https", host: "[::1]:80", "https://[::1]/p/sub", https),
    Case("https", host: "[::1]", "https://[::1]/p/sub", https),
    Case("https", scheme: "https", "https://h.example/p/sub", https),
    Case("https", host: "h.example:443", scheme: "https", "https://h.example:443/p/sub", https),
    Case("https", host: "h.example:80", scheme: "https", "https://h.example:80/p/sub", https),
    Case("https", scheme: "bogus", "https://h.example/p/sub", https),
    Case("https", "/p/sub?", "https://h.example/p/sub?", https),
    Case("https false", scheme: "https", "https://h.example/p/sub") { $0.httpsRedirect = false },
    Case("https false", host: "h.example:80", "http://h.example:80/p/sub") { $0.httpsRedirect = false },
    Case("scheme ftp", host: "h.example:443", scheme: "https", "FTP://h.example/p/sub") { $0.schemeRedirect = "FTP" },
    Case("scheme ftp", host: "h.example:80", scheme: "https", "FTP://h.example:80/p/sub") { $0.schemeRedirect = "FTP" },
    Case("scheme http", host: "h.example:80", "http://h.example:80/p/sub") { $0.schemeRedirect = "http" },
    Case("scheme http", host: "h.example:443", scheme: "https", "http://h.example/p/sub") {
      $0.schemeRedirect = "http"
    },
    // Hosts and ports.
    Case("host", host: "h.example:8080", "http://n.example/p/sub") { $0.hostRedirect = "n.example" },
    Case("host", scheme: "https", "https://n.example/p/sub") { $0.hostRedirect = "n.example" },
    Case("host with port", "/p/sub", "http://n.example:99/p/sub") { $0.hostRedirect = "n.example:99" },
    Case("host v6", host: "[::1]:80", "http://[::2]/p/sub") { $0.hostRedirect = "[::2]" },
    Case("port", host: "h.example:8080", "http://h.example:81/p/sub") { $0.portRedirect = 81 },
    Case("port", host: "[::1]:80", "http://[::1]:81/p/sub") { $0.portRedirect = 81 },
    Case("port by default", "/p/sub", "http://h.example:80/p/sub") { $0.portRedirect = 80 },
    Case("https and port", host: "h.example:80", "https://h.example:443/p/sub") {
      $0.httpsRedirect = true
      $0.portRedirect = 443
    },
    Case("host and port", host: "h.example:8080", "http://n.example:82/p/sub") {
      $0.hostRedirect = "n.example"
      $0.portRedirect = 82
    },
    // Paths.
    Case("path", "/p/sub/q?a=1&b", "http://h.example/new?a=1&b") { $0.pathRedirect = "/new" },
    Case("path", "/p/sub?", "http://h.example/new?") { $0.pathRedirect = "/new" },
    Case("path with query", "/p/sub?a=1", "http://h.example/new?x=1") { $0.pathRedirect = "/new?x=1" },
    Case("path with fragment", "/p/sub?a=1", "http://h.example/new#f?a=1") { $0.pathRedirect = "/new#f" },
    Case("path without slash", "/p/sub?a=1", "http://h.example/new?a=1") { $0.pathRedirect = "new" },
    Case("path, no query", "/p/sub?a=1", "http://h.example/new") {
      $0.pathRedirect = "/new"
      $0.stripQuery = true
    },
    Case("path with query, no query", "/p/sub?a=1", "http://h.example/new?x=1") {
      $0.pathRedirect = "/new?x=1"
      $0.stripQuery = true
    },
    Case("prefix", "/p/sub/q?a=1&b", "http://h.example/xsub/q?a=1&b") { $0.prefixRewrite = "/x" },
    Case("prefix with query", "/p/sub?a=1", "http://h.example/x?z=1sub?a=1") { $0.prefixRewrite = "/x?z=1" },
    Case("prefix, no query", "/p/sub/q?a=1", "http://h.example/xsub/q") {
      $0.prefixRewrite = "/x"
      $0.stripQuery = true
    },
    Case("no query", "/p/sub/q?a=1", "http://n.example/p/sub/q") {
      $0.hostRedirect = "n.example"
      $0.stripQuery = true
    },
    Case("expression", "/p/sub/q?a=1", "http://h.example/sub/q/p?a=1") {
      $0.regexRewrite.pattern.regex = "^/([a-z]+)/(.*)$"
      $0.regexRewrite.substitution = "/\\2/\\1"
    },
    Case("expression, no match", "/p/q?q", "http://h.example/p/q?q") {
      $0.regexRewrite.pattern.regex = "zzz"
      $0.regexRewrite.substitution = "Z"
    },
    Case("format", "/p/q?q", "http://h.example/made?q") { $0.pathRewrite = "%made%" },
    Case("format with query", "/p/q?q", "http://h.example/ma?de") { $0.pathRewrite = "%ma?de%" },
    Case("nothing", "/p/q?q", "http://h.example/p/q?q") { _ in },
    Case("empty texts", "/p/q?q", "http://h.example/p/q?q") { $0.pathRedirect = "" },
    Case("everything", "/p/q?q", "https://n.example:8443/x") {
      $0.httpsRedirect = true
      $0.hostRedirect = "n.example"
      $0.portRedirect = 8443
      $0.pathRedirect = "/x"
      $0.stripQuery = true
    },
  ]

  static func redirect(_ configure: (inout RedirectAction) -> Void) throws -> Redirect {
    var route = Route()
    route.match.prefix = "/p/"
    var action = RedirectAction()
    configure(&action)
    route.redirect = action
    let (table, problems) = RouteTable.build(configuration([route]), formats: HeaderCopy.compile)
    try #require(problems.isEmpty, "\(problems)")
    let entry = try #require(table?.match(TestRequest("/p/"), random: 0))
    guard case .redirect(let redirect) = entry.action else { throw NotARedirect() }
    return redirect
  }

  struct NotARedirect: Error {}

  @Test(arguments: cases)
  func location(_ given: Case) throws {
    let headers = given.scheme.map { [("x-forwarded-proto", $0)] } ?? []
    let request = TestRequest(given.path, host: given.host, headers: headers)
    let location = try Self.redirect(given.configure).location(for: request) { format, buffer in
      if let format = format as? HeaderCopy { buffer += Array("/\(format.name)".utf8) }
    }
    #expect(String(decoding: location, as: UTF8.self) == given.location)
  }

  @Test func statuses() throws {
    let codes: [(RedirectAction.RedirectResponseCode, Int)] = [
      (.movedPermanently, 301), (.found, 302), (.seeOther, 303), (.temporaryRedirect, 307), (.permanentRedirect, 308),
    ]
    for (code, status) in codes { #expect(try Self.redirect { $0.responseCode = code }.status == status) }
  }

  @Test func problems() {
    func problems(_ configure: (inout RedirectAction) -> Void) -> [String] {
      RouteProblemTests.problems {
        $0.redirect = .init()
        configure(&$0.redirect)
      }
    }
    let path = "virtual_hosts[0].routes[0].redirect"
    #expect(problems { $0.portRedirect = 65_536 } == ["\(path).port_redirect: 65536 is not a port (0 to 65535)"])
    #expect(
      problems {
        $0.portRedirect = 80
        $0.hostRedirect = "a:1"
      } == ["\(path).port_redirect: must not be combined with a host_redirect that has a port"])
    #expect(problems { $0.hostRedirect = "a/b" } == ["\(path).host_redirect: 'a/b' is not a host"])
    #expect(
      problems { $0.schemeRedirect = "a:b" } == ["\(path).scheme_redirect: 'a:b' is not a scheme (RFC 3986 §3.1)"])
    for text in ["/a b", "/a\r\nb", "/é"] {
      #expect(
        problems { $0.pathRedirect = text } == [
          "\(path).path_redirect: holds a byte that must not occur in a URI (RFC 3986 §2)"
        ])
    }
    #expect(problems { $0.prefixRewrite = "x" } == ["\(path).prefix_rewrite: 'x' must begin with '/'"])
    #expect(
      problems { $0.regexRewrite.substitution = "x" } == ["\(path).regex_rewrite.pattern.regex: must not be empty"])
    #expect(problems { $0.responseCode = .UNRECOGNIZED(9) } == ["\(path).response_code: unknown value 9"])
  }
}
