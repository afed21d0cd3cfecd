import MeshAPI
import MeshPrimitives
import Testing

@testable import MeshRouting

/// Where requests go, and what becomes of their paths and hosts. The expectations are what Envoy 1.40 does with the same
/// configuration.
@Suite struct ActionTests {
  static func entry(
    _ request: TestRequest = TestRequest(), random: UInt64 = 0, runtime: Runtime = Runtime(),
    _ configure: (inout Route) -> Void
  ) throws -> RouteEntry {
    var route = Route()
    route.match.prefix = "/"
    configure(&route)
    let (table, problems) = RouteTable.build(configuration([route]), runtime: runtime, formats: HeaderCopy.compile)
    try #require(problems.isEmpty, "\(problems)")
    return try #require(table?.match(request, random: random))
  }

  static func problems(_ configure: (inout Route) -> Void) -> [String] { RouteProblemTests.problems(configure) }
  static let path = "virtual_hosts[0].routes[0]"

  // MARK: Clusters

  @Test func clusterHeader() throws {
    let action = try #require(
      try Self.entry {
        $0.route.clusterHeader = "X-Cluster"
        $0.route.clusterNotFoundResponseCode = .notFound
        $0.route.priority = .high
      }.forward)
    #expect(action.clusterHeader == HeaderName("x-cluster") && action.clusterIndex == -1 && action.cluster == "")
    #expect(action.clusterNotFoundStatus == 404 && action.priority == .high && action.isPlain)
    let fixed = try #require(try Self.entry { $0.route.cluster = "c" }.forward)
    #expect(fixed.clusterHeader == nil && fixed.clusterIndex == 0 && fixed.clusterNotFoundStatus == 503)
    #expect(fixed.priority == .normal)
    #expect(try Self.entry { $0.route.clusterHeader = ":authority" }.forward?.clusterHeader == HeaderName("host"))
    #expect(
      Self.problems { $0.route.clusterHeader = "a b" } == [
        "\(Self.path).route.cluster_header: 'a b' is not a header name (RFC 9110 §5.6.2)"
      ])
  }

  static func weighted(_ weights: [(String, UInt32)], _ configure: (inout WeightedCluster) -> Void = { _ in })
    -> RouteAction
  {
    var action = RouteAction()
    action.weightedClusters.clusters = weights.map { name, weight in
      .with {
        $0.name = name
        $0.weight.value = weight
      }
    }
    configure(&action.weightedClusters)
    return action
  }

  @Test(
    arguments: [
      ("0", "a"), ("49", "a"), ("50", "b"), ("99", "b"), ("100", "a"), ("150", "b"), ("12345678901", "a"),
    ])
  func aHeaderChooses(value: String, cluster: String) throws {
    for random in [0, .max] as [UInt64] {
      let entry = try Self.entry(TestRequest(headers: [("x-rand", value)]), random: random) {
        $0.route = Self.weighted([("a", 50), ("b", 50)]) { $0.headerName = "x-rand" }
      }
      #expect(entry.forward?.cluster == cluster)
    }
  }

  @Test(arguments: ["", "abc", "-1", "1.5", "99999999999999999999", "+1"])
  func aHeaderThatIsNoNumberDoesNot(value: String) throws {
    for (random, cluster) in [(0, "a"), (.max, "b")] as [(UInt64, String)] {
      let entry = try Self.entry(TestRequest(headers: [("x-rand", value)]), random: random) {
        $0.route = Self.weighted([("a", 50), ("b", 50)]) { $0.headerName = "x-rand" }
      }
      #expect(entry.forward?.cluster == cluster)
    }
  }

  @Test func theRuntimeChangesWeights() throws {
    let runtime = Runtime()
    func cluster(_ random: UInt64) throws -> String? {
      try Self.entry(random: random, runtime: runtime) {
        $0.route = Self.weighted([("a", 0), ("b", 100)]) { $0.runtimeKeyPrefix = "split" }
      }.forward?.cluster
    }
    #expect(try cluster(0) == "b" && cluster(.max) == "b")
    runtime.update([.init(name: "l", entries: ["split.a": RuntimeEntry("100")])])
    #expect(try cluster(0) == "a" && cluster(.max) == "b")
    runtime.update([.init(name: "l", entries: ["split.a": RuntimeEntry("7"), "split.b": RuntimeEntry("0")])])
    #expect(try cluster(0) == "a" && cluster(.max) == "a")
    // Nothing at all: as configured.
    runtime.update([.init(name: "l", entries: ["split.a": RuntimeEntry("0"), "split.b": RuntimeEntry("0")])])
    #expect(try cluster(0) == "b" && cluster(.max) == "b")
    runtime.update([.init(name: "l", entries: ["split.a": RuntimeEntry("18446744073709551614")])])
    #expect(try cluster(0) == "a")
  }

  @Test func weightedClustersByHeader() throws {
    let entry = try Self.entry {
      $0.route.weightedClusters.clusters = [
        .with {
          $0.clusterHeader = "x-c"
          $0.weight.value = 1
          $0.hostRewriteLiteral = "own.host"
        }
      ]
      $0.route.weightedClusters.totalWeight.value = 100
    }
    #expect(entry.forward?.clusterHeader == HeaderName("x-c"))
    #expect(entry.forward?.clusterHost == Array("own.host".utf8) && entry.forward?.isPlain == false)
    let path = "\(Self.path).route.weighted_clusters.clusters[0]"
    #expect(
      Self.problems { $0.route = Self.weighted([("", 1)]) } == ["\(path): one of name and cluster_header is required"])
    #expect(
      Self.problems {
        $0.route = Self.weighted([("c", 1)]) { $0.clusters[0].clusterHeader = "h" }
      } == ["\(path): only one of name and cluster_header may be given"])
    #expect(
      Self.problems {
        $0.route = Self.weighted([("c", 1)]) { $0.clusters[0].hostRewriteLiteral = "a b" }
      } == ["\(path).host_rewrite_literal: 'a b' is not a host"])
    #expect(
      Self.problems { $0.route = Self.weighted([("c", 1)]) { $0.headerName = "" } } == [
        "\(Self.path).route.weighted_clusters.header_name: is required"
      ])
  }

  @Test func nonForwarding() throws {
    let entry = try Self.entry { $0.nonForwardingAction = .init() }
    guard case .nonForwarding = entry.action else {
      Issue.record("not that action")
      return
    }
  }

  // MARK: Rewrites

  static func rewrite(_ path: String, _ configure: (inout RouteAction) -> Void) throws -> String? {
    try entry(TestRequest(path)) {
      $0.route.cluster = "c"
      configure(&$0.route)
    }.forward?.rewritten(path)
  }

  @Test func pathRewrites() throws {
    func regex(_ path: String, _ pattern: String, _ text: String) throws -> String? {
      try Self.rewrite(path) {
        $0.regexRewrite.pattern.regex = pattern
        $0.regexRewrite.substitution = text
      }
    }
    #expect(try regex("/ac/sub?q=1", "^/([a-z]+)/(.*)$", "/\\2/\\1") == "/sub/ac?q=1")
    #expect(try regex("/s/s?s=s", "s", "TT") == "/TT/TT?s=s")
    #expect(try regex("/a", "zzz", "y") == "/a")
    #expect(try regex("/a?q", "q", "x") == "/a?q")
    #expect(try regex("/a", ".*", "") == nil)
    #expect(try regex("/a/b?c", "^/", "") == "/a/b?c")
    #expect(try Self.rewrite("/x?q=1") { $0.pathRewrite = "/new" } == "/new?q=1")
    #expect(try Self.rewrite("/x?q=1") { $0.pathRewrite = "%made%" } == "/made?q=1")
    let whole = try Self.entry(TestRequest("/r;x?s")) {
      $0.match.safeRegex.regex = "/r.*"
      $0.route.cluster = "c"
      $0.route.prefixRewrite = "/N"
    }
    #expect(whole.forward?.rewritten("/r;x?s") == "/N?s")
  }

  @Test func hostRewrites() throws {
    func host(_ configure: (inout RouteAction) -> Void) throws -> String? {
      let request = TestRequest("/aj/sub?q", headers: [("x-host", "from.header")])
      let action = try #require(
        try Self.entry(request) {
          $0.route.cluster = "c"
          configure(&$0.route)
        }.forward)
      let host = action.hostRewrite?.apply(path: request.path, header: { request.header($0) }) { format, buffer in
        if let format = format as? HeaderCopy { buffer += Array(format.name.utf8) }
      }
      return host.map { String(decoding: $0, as: UTF8.self) }
    }
    #expect(try host { _ in } == nil)
    #expect(try host { $0.hostRewriteLiteral = "a.example:80" } == "a.example:80")
    #expect(try host { $0.hostRewriteHeader = "X-Host" } == "from.header")
    #expect(try host { $0.hostRewriteHeader = "x-none" } == "")
    #expect(try host { $0.hostRewrite = "%made%" } == "made")
    #expect(try host { $0.hostRewrite = "a%%b" } == "a%b")
    #expect(
      try host {
        $0.hostRewritePathRegex.pattern.regex = "^/([a-z]+)/(.*)$"
        $0.hostRewritePathRegex.substitution = "\\1.\\2"
      } == "aj.sub")
    #expect(
      try host {
        $0.hostRewritePathRegex.pattern.regex = "zzz"
        $0.hostRewritePathRegex.substitution = "y"
      } == "")
    #expect(try host { $0.autoHostRewrite.value = true } == "")
    #expect(try host { $0.autoHostRewrite.value = false } == nil)
    #expect(
      try Self.entry {
        $0.route = .with {
          $0.cluster = "c"; $0.autoHostRewrite.value = true
        }
      }.forward?.takesEndpointHost == true)
  }

  @Test func rewriteProblems() {
    func problems(_ configure: (inout RouteAction) -> Void) -> [String] {
      Self.problems {
        $0.route.cluster = "c"
        configure(&$0.route)
      }
    }
    let path = "\(Self.path).route"
    #expect(
      problems {
        $0.prefixRewrite = "/x"
        $0.regexRewrite.pattern.regex = "a"
      } == ["\(path).regex_rewrite: must not be combined with prefix_rewrite"])
    #expect(
      problems {
        $0.prefixRewrite = "/x"
        $0.pathRewrite = "/y"
      } == ["\(path).path_rewrite: must not be combined with prefix_rewrite"])
    #expect(
      problems {
        $0.regexRewrite.pattern.regex = "a"
        $0.regexRewrite.substitution = "\\1"
      }.first?.hasPrefix("\(path).regex_rewrite.substitution: '\\1': ") == true)
    #expect(
      problems {
        $0.regexRewrite.pattern.regex = "a"
        $0.regexRewrite.substitution = "a\r\nb"
      } == ["\(path).regex_rewrite.substitution: holds a control character"])
    #expect(
      problems { $0.regexRewrite.substitution = "x" } == ["\(path).regex_rewrite.pattern.regex: must not be empty"])
    #expect(problems { $0.hostRewriteLiteral = "a/b" } == ["\(path).host_rewrite_literal: 'a/b' is not a host"])
    #expect(
      problems { $0.pathRewrite = "%X%" } == [
        "\(path).path_rewrite: '%X%': operators are not available here ('%%' is a percent sign)"
      ])
    #expect(
      problems { $0.hostRewriteHeader = "a b" } == [
        "\(path).host_rewrite_header: 'a b' is not a header name (RFC 9110 §5.6.2)"
      ])
  }

  // MARK: Requests that must come over TLS

  @Test func requireTLS() throws {
    func target(_ kind: VirtualHost.TlsRequirementType, _ headers: [(String, String)], host: String = "h") throws
      -> String?
    {
      var virtual = virtualHost("v", ["*"], [route("r") { $0.prefix = "/only" }])
      virtual.requireTls = kind
      let table = try #require(RouteTable.build(configuration([virtual])).table)
      let request = TestRequest("/only?a=1", host: host, headers: headers)
      let entry = try #require(table.match(request, random: 0))
      let explanation = table.explain(request, random: 0)
      #expect(explanation.entry === entry && explanation.isSentToTLS == (entry.routeIndex == -1))
      guard case .redirect(let redirect) = entry.action else { return nil }
      #expect(redirect.status == 301)
      return String(decoding: redirect.location(for: request) { _, _ in }, as: UTF8.self)
    }
    #expect(try target(.none, []) == nil)
    #expect(try target(.all, []) == "https://h/only?a=1")
    // The port stays, whatever it is.
    #expect(try target(.all, [], host: "h:80") == "https://h:80/only?a=1")
    #expect(try target(.all, [("x-forwarded-proto", "https")]) == nil)
    #expect(try target(.all, [("x-forwarded-proto", "http")]) == "https://h/only?a=1")
    #expect(try target(.all, [("x-envoy-internal", "true")]) != nil)
    #expect(try target(.externalOnly, []) != nil)
    #expect(try target(.externalOnly, [("x-envoy-internal", "true")]) == nil)
    #expect(try target(.externalOnly, [("x-envoy-internal", "1")]) != nil)
  }

  @Test func attemptCounts() throws {
    var virtual = virtualHost("v", ["*"], [route("r") { $0.prefix = "/" }])
    virtual.includeRequestAttemptCount = true
    #expect(RouteTable.build(configuration([virtual])).table?.entries[0].attemptCount == [.inRequest])
    #expect(RouteTable.build(configuration([virtual])).table?.entries[0].changesResponse == false)
    virtual.includeAttemptCountInResponse = true
    #expect(RouteTable.build(configuration([virtual])).table?.entries[0].attemptCount == [.inRequest, .inResponse])
    #expect(RouteTable.build(configuration([virtual])).table?.entries[0].changesResponse == true)
    virtual.routes[0].directResponse.status = 200
    #expect(RouteTable.build(configuration([virtual])).table?.entries[0].attemptCount == [])
  }

  @Test func bodiesOfDirectResponses() throws {
    var route = Route()
    route.match.prefix = "/"
    route.directResponse.status = 200
    route.directResponse.body.inlineString = String(repeating: "x", count: 5_000)
    var config = configuration([route])
    #expect(RouteTable.build(config).problems.count == 1)
    config.maxDirectResponseBodySizeBytes.value = 5_000
    #expect(RouteTable.build(config).table?.entries[0].direct?.body.count == 5_000)
    config.maxDirectResponseBodySizeBytes.value = 0
    #expect(
      RouteTable.build(config).problems.map(\.message) == [
        "has 5000 bytes; at most 0 are allowed (max_direct_response_body_size_bytes)"
      ])
  }
}
