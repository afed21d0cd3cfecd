import MeshAPI
import MeshConfig
import MeshPrimitives
import Testing

@testable import MeshRouting

@Suite("What requests are counted under")
struct RateLimitRuleTests {
  private struct Subject: RateLimitSubject {
    var request: TestRequest
    var ownCluster = Array("own".utf8)
    var destinationCluster: [UInt8]? = Array("there".utf8)
    var client = IPAddress("192.0.2.77")
    var routeMetadata = Metadata()
    var notes: [String: String] = [:]

    func noted(_ path: [String]) -> String? { notes[path.joined(separator: ".")] }
    func write(_ format: any HeaderValueFormat, into buffer: inout [UInt8]) {
      if let text = (format as? Text)?.text { buffer += Array(text.utf8) }
    }
  }

  private final class Text: HeaderValueFormat {
    let text: String
    init(_ text: String) { self.text = text }
  }

  private typealias Action = RateLimitPolicy.Action

  private func rule(_ actions: [Action], _ change: (inout RateLimitPolicy) -> Void = { _ in }) throws -> RateLimitRule {
    var policy = RateLimitPolicy()
    policy.actions = actions
    change(&policy)
    let built = RateLimitRule.build([policy], path: "", takesLimit: true, runtime: Runtime()) { text in
      .success(Text(text.replacing("%", with: "")))
    }
    return try #require(try built.get().first)
  }

  private func entries(_ actions: [Action], _ subject: Subject) throws -> [String]? {
    try rule(actions).descriptor(of: subject)?.entries
      .map { "\(String(decoding: $0.key, as: UTF8.self))=\(String(decoding: $0.value, as: UTF8.self))" }
  }

  private func action(_ change: (inout Action) -> Void) -> Action {
    var action = Action()
    change(&action)
    return action
  }

  private func header(_ name: String, optional: Bool = false) -> Action {
    action {
      $0.requestHeaders.headerName = name
      $0.requestHeaders.descriptorKey = "key"
      $0.requestHeaders.skipIfAbsent = optional
    }
  }

  private func query(_ name: String) -> Action {
    action {
      $0.queryParameters.queryParameterName = name
      $0.queryParameters.descriptorKey = "key"
    }
  }

  private let constant: Action = {
    var action = Action()
    action.genericKey.descriptorValue = "v"
    return action
  }()

  @Test("names of clusters, and constants")
  func names() throws {
    let subject = Subject(request: TestRequest())
    var named = constant
    named.genericKey.descriptorKey = "k"
    let both = [action { $0.sourceCluster = .init() }, action { $0.destinationCluster = .init() }, constant, named]
    #expect(
      try entries(both, subject) == ["source_cluster=own", "destination_cluster=there", "generic_key=v", "k=v"])
    var nowhere = subject
    nowhere.destinationCluster = nil
    #expect(try entries(both, nowhere) == nil)
  }

  @Test("headers, the first of several; without one there is no descriptor")
  func headers() throws {
    let subject = Subject(request: TestRequest("/p", headers: [("x-a", "1"), ("x-a", "2"), ("x-empty", "")]))
    #expect(try entries([header("x-a"), constant], subject) == ["key=1", "generic_key=v"])
    #expect(try entries([header("X-A")], subject) == ["key=1"])
    #expect(try entries([header("x-empty")], subject) == ["key="])
    #expect(try entries([header("x-b"), constant], subject) == nil)
    #expect(try entries([header("x-b", optional: true), constant], subject) == ["generic_key=v"])
    #expect(try entries([header("x-b", optional: true)], subject) == nil)
    #expect(
      try entries([header(":path"), header(":method"), header(":authority")], subject) == [
        "key=/p", "key=GET", "key=example.com",
      ])
  }

  @Test(
    "parameters of the query, decoded",
    arguments: [
      ("/?a=1", "1"), ("/?b=2&a=1&a=3", "1"), ("/?a", ""), ("/?a=", ""), ("/?a=%20x%2f", " x/"), ("/?%61=1", "1"),
      ("/?a=1+2", "1+2"), ("/?a=%zz", "%zz"), ("/?a=1#f", "1"), ("/?&&a=1", "1"), ("/?a=b=c", "b=c"),
    ])
  func queries(_ path: String, _ value: String) throws {
    #expect(try entries([query("a")], Subject(request: TestRequest(path))) == ["key=\(value)"])
  }

  @Test("no such parameter", arguments: ["/", "/?", "/?b=1", "/?aa=1", "/a=1", "/?b=1#a=1", "/?A=1"])
  func noQuery(_ path: String) throws {
    #expect(try entries([query("a")], Subject(request: TestRequest(path))) == nil)
  }

  @Test("the client, and the range that it belongs to")
  func client() throws {
    var subject = Subject(request: TestRequest())
    func range(_ v4: UInt32, _ v6: UInt32) -> Action {
      action {
        $0.maskedRemoteAddress.v4PrefixMaskLen.value = v4
        $0.maskedRemoteAddress.v6PrefixMaskLen.value = v6
      }
    }
    let all = [action { $0.remoteAddress = .init() }, action { $0.maskedRemoteAddress = .init() }, range(24, 48)]
    #expect(
      try entries(all, subject) == [
        "remote_address=192.0.2.77", "masked_remote_address=192.0.2.77/32", "masked_remote_address=192.0.2.0/24",
      ])
    subject.client = IPAddress("2001:db8:1:2::3")
    #expect(
      try entries(all, subject) == [
        "remote_address=2001:db8:1:2::3", "masked_remote_address=2001:db8:1:2::3/128",
        "masked_remote_address=2001:db8:1::/48",
      ])
    subject.client = nil
    #expect(try entries(all, subject) == nil)
  }

  @Test("conditions on headers and on the query, and their contrary")
  func conditions() throws {
    func headers(_ wanted: Bool) -> Action {
      action {
        $0.headerValueMatch.descriptorValue = "yes"
        $0.headerValueMatch.expectMatch.value = wanted
        $0.headerValueMatch.headers = [
          .with {
            $0.name = "x-a"; $0.stringMatch.exact = "1"
          }
        ]
      }
    }
    func query(_ wanted: Bool) -> Action {
      action {
        $0.queryParameterValueMatch.descriptorValue = "yes"
        $0.queryParameterValueMatch.expectMatch.value = wanted
        $0.queryParameterValueMatch.queryParameters = [
          .with {
            $0.name = "q"; $0.stringMatch.exact = "1 2"
          }
        ]
      }
    }
    let matching = Subject(request: TestRequest("/?q=1%202", headers: [("x-a", "1")]))
    let other = Subject(request: TestRequest("/?q=1", headers: [("x-a", "2")]))
    #expect(try entries([headers(true)], matching) == ["header_match=yes"])
    #expect(try entries([headers(true)], other) == nil)
    #expect(try entries([headers(false)], matching) == nil)
    #expect(try entries([headers(false)], other) == ["header_match=yes"])
    #expect(try entries([query(true)], matching) == ["query_match=yes"])
    #expect(try entries([query(true)], other) == nil)
    #expect(try entries([query(false)], other) == ["query_match=yes"])
  }

  @Test("a limit of its own, from what was noted")
  func limit() throws {
    let rule = try rule([constant]) {
      $0.limit.dynamicMetadata.metadataKey.key = "ns"
      $0.limit.dynamicMetadata.metadataKey.path = [.with { $0.key = "limit" }]
    }
    var subject = Subject(request: TestRequest())
    #expect(rule.descriptor(of: subject)?.limit == nil)
    subject.notes = ["ns.limit.requests_per_unit": "42", "ns.limit.unit": "HOUR"]
    #expect(rule.descriptor(of: subject)?.limit == .init(requestsPerUnit: 42, unit: .hour))
    for (number, unit) in [("x", "HOUR"), ("42", "FORTNIGHT"), ("42", ""), ("4294967296", "HOUR"), ("-1", "HOUR")] {
      subject.notes = ["ns.limit.requests_per_unit": number, "ns.limit.unit": unit]
      #expect(rule.descriptor(of: subject)?.limit == nil, "\(number) \(unit)")
    }
  }

  @Test(
    "how much a request counts",
    arguments: [
      ("7", 7), ("0", 0), ("2.9", 2), ("1e3", 1000), ("1000000000", 1_000_000_000), ("1000000001", nil), ("-1", nil),
      ("", nil), ("x", nil), ("0x10", nil), ("nan", nil), ("inf", nil), ("1e400", nil), ("--1", nil),
    ] as [(String, UInt64?)])
  func hits(_ text: String, _ count: UInt64?) throws {
    let rule = try rule([constant]) { $0.hitsAddend.format = "%\(text)%" + (text.isEmpty ? "%" : "") }
    let descriptor = rule.descriptor(of: Subject(request: TestRequest()))
    #expect(descriptor?.hits == count)
    #expect((descriptor == nil) == (count == nil))
  }
}
