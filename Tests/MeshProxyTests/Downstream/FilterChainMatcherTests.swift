import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

@Suite("Which filter chain is for a connection")
struct FilterChainMatcherTests {
  private func facts(
    to destination: String = "10.0.0.1:443", from source: String = "192.0.2.7:40000", via direct: String? = nil,
    name: String = "", transport: String = "raw_buffer", protocols: [String] = []
  ) throws -> ConnectionFacts {
    var facts = ConnectionFacts(
      destination: try #require(SocketAddress(destination)), source: try #require(SocketAddress(source)),
      directSource: try direct.map { try #require(SocketAddress($0)) })
    facts.serverName = name
    facts.transportProtocol = transport
    facts.applicationProtocols = protocols
    return facts
  }

  private func rule(_ change: (inout FilterChainRule) -> Void) -> FilterChainRule {
    var rule = FilterChainRule()
    change(&rule)
    return rule
  }

  private func range(_ text: String) throws -> AddressRange { try #require(AddressRange(text)) }

  @Test("A name comes before the longest wildcard, that before shorter ones, and those before any")
  func serverNames() throws {
    let matcher = try FilterChainMatcher([
      rule { $0.serverNames = [.exact("a.b.example.com")] },
      rule { $0.serverNames = [.suffix(".b.example.com")] },
      rule { $0.serverNames = [.suffix(".com"), .exact("example.com")] },
      .everything,
    ])
    let expected = [
      "a.b.example.com": 0, "x.b.example.com": 1, "y.x.b.example.com": 1, "b.example.com": 2, "example.com": 2,
      "com": 3, ".com": 3, "example.org": 3, "": 3, "a.com.": 3,
    ]
    for (name, place) in expected { #expect(matcher.match(try facts(name: name)) == place, "\(name)") }
  }

  @Test("An earlier criterion decides, and nothing leads back")
  func order() throws {
    let matcher = try FilterChainMatcher([
      rule {
        $0.destinationPort = 443
        $0.serverNames = [.exact("a")]
      },
      rule { $0.serverNames = [.exact("b")] },
    ])
    #expect(matcher.match(try facts(name: "a")) == 0)
    // The port fits the first rule more closely, and there the name does not fit.
    #expect(matcher.match(try facts(name: "b")) == nil)
    #expect(matcher.match(try facts(to: "10.0.0.1:80", name: "b")) == 1)
  }

  @Test("The longest range counts; mapped addresses are IPv4; Unix sockets are in no range")
  func ranges() throws {
    let matcher = try FilterChainMatcher([
      rule { $0.sourceRanges = [try! range("192.0.0.0/8")] },
      rule { $0.sourceRanges = [try! range("192.0.2.0/24"), try! range("2001:db8::/32")] },
      .everything,
    ])
    #expect(matcher.match(try facts()) == 1)
    #expect(matcher.match(try facts(from: "192.1.2.3:1")) == 0)
    #expect(matcher.match(try facts(from: "[2001:db8::1]:1")) == 1)
    #expect(matcher.match(try facts(from: "[::ffff:192.0.2.9]:1")) == 1)
    #expect(matcher.match(try facts(from: "10.0.0.1:1")) == 2)
    var unix = try facts()
    unix.source = .unnamedUnix
    #expect(matcher.match(unix) == 2)
  }

  @Test("The first of the client's application protocols that a rule has decides")
  func applicationProtocols() throws {
    let matcher = try FilterChainMatcher([
      rule { $0.applicationProtocols = ["http/1.1"] }, rule { $0.applicationProtocols = ["h2", "h2c"] },
    ])
    #expect(matcher.match(try facts(protocols: ["x", "h2", "http/1.1"])) == 1)
    #expect(matcher.match(try facts(protocols: ["http/1.1", "h2"])) == 0)
    #expect(matcher.match(try facts(protocols: ["x"])) == nil)
  }

  @Test("A client on this machine has the address that it connects to, or the loopback address")
  func sourceType() throws {
    let matcher = try FilterChainMatcher([
      rule { $0.sourceType = .thisMachine }, rule { $0.sourceType = .external },
    ])
    #expect(matcher.match(try facts(from: "10.0.0.1:5")) == 0)
    #expect(matcher.match(try facts(from: "127.0.0.1:5")) == 0)
    #expect(matcher.match(try facts(from: "[::1]:5")) == 0)
    #expect(matcher.match(try facts(from: "127.0.0.2:5")) == 1)
    #expect(matcher.match(try facts(from: "10.0.0.2:5")) == 1)
  }

  @Test("Two rules for the same connections are refused, also where they share only some values")
  func conflicts() throws {
    #expect(throws: FilterChainMatcher.Conflict(first: 0, second: 1)) {
      try FilterChainMatcher([.everything, .everything])
    }
    #expect(throws: FilterChainMatcher.Conflict(first: 1, second: 2)) {
      try FilterChainMatcher([
        .everything, rule { $0.sourcePorts = [1, 2] }, rule { $0.sourcePorts = [2, 3] },
      ])
    }
    _ = try FilterChainMatcher([rule { $0.sourcePorts = [1] }, rule { $0.sourcePorts = [2] }])
  }

  // MARK: Against the rules as they are told

  /// Keeps, for each criterion, the rules that fit most closely; a second telling of the same rules.
  private func naive(_ rules: [FilterChainRule], _ facts: ConnectionFacts) -> Int? {
    func best(_ left: [Int], _ fit: (FilterChainRule) -> Int?) -> [Int] {
      let fits = left.compactMap { index in fit(rules[index]).map { (index, $0) } }
      let most = fits.map(\.1).max()
      return fits.filter { $0.1 == most }.map(\.0)
    }
    func inRanges(_ ranges: Set<AddressRange>, _ address: SocketAddress) -> Int? {
      ranges.isEmpty ? -1 : ranges.filter { $0.contains(address.ip) }.map(\.length).max()
    }
    var left = Array(rules.indices)
    left = best(left) { $0.destinationPort == nil ? 0 : $0.destinationPort == facts.destination.port ? 1 : nil }
    left = best(left) { inRanges($0.destinationRanges, facts.destination) }
    left = best(left) { rule in
      if rule.serverNames.isEmpty { return 0 }
      return rule.serverNames.compactMap { name -> Int? in
        switch name {
        case .exact(let name): name == facts.serverName ? 1000 : nil
        case .suffix(let suffix):
          facts.serverName.hasSuffix(suffix) && facts.serverName.count > suffix.count ? suffix.count : nil
        }
      }.max()
    }
    left = best(left) { $0.transportProtocol.isEmpty ? 0 : $0.transportProtocol == facts.transportProtocol ? 1 : nil }
    left = best(left) { rule in
      if rule.applicationProtocols.isEmpty { return -1000 }
      return facts.applicationProtocols.firstIndex { rule.applicationProtocols.contains($0) }.map { -$0 }
    }
    left = best(left) { inRanges($0.directSourceRanges, facts.directSource) }
    left = best(left) {
      $0.sourceType == .any ? 0 : ($0.sourceType == .thisMachine) == facts.isFromThisMachine ? 1 : nil
    }
    left = best(left) { inRanges($0.sourceRanges, facts.source) }
    left = best(left) { $0.sourcePorts.isEmpty ? 0 : $0.sourcePorts.contains(facts.source.port) ? 1 : nil }
    return left.first
  }

  @Test("Random rules and connections")
  func random() throws {
    var random = Random(seed: 20_26)
    let ranges = try ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "127.0.0.0/8", "2001:db8::/32"].map { try range($0) }
    let addresses = ["10.1.1.1", "10.1.2.1", "10.2.2.2", "127.0.0.1", "[2001:db8::1]", "192.0.2.1"]
    let names = ["a.example.com", "b.example.com", "example.com", "x.y.example.com", "com", ""]
    let suffixes = [".example.com", ".com", ".y.example.com"]
    let protocols = ["h2", "http/1.1", "x"]
    func one<T>(_ values: [T]) -> T { values[Int(random.next() % UInt64(values.count))] }
    func some<T>(_ values: [T]) -> [T] { random.next() % 2 == 0 ? [] : [one(values), one(values)] }
    var matched = 0
    var refused = 0
    for _ in 0..<2000 {
      let rules = (0..<Int(random.next() % 6 + 1)).map { _ in
        rule {
          $0.destinationPort = random.next() % 3 == 0 ? one([80, 443]) : nil
          $0.destinationRanges = Set(some(ranges))
          $0.serverNames = Set(
            random.next() % 2 == 0
              ? some(suffixes).map { .suffix($0) } : some(names.dropLast().map { $0 }).map { .exact($0) })
          $0.transportProtocol = one(["", "", "tls", "raw_buffer"])
          $0.applicationProtocols = Set(some(protocols))
          $0.directSourceRanges = Set(random.next() % 3 == 0 ? some(ranges) : [])
          $0.sourceType = one([.any, .any, .thisMachine, .external])
          $0.sourceRanges = Set(some(ranges))
          $0.sourcePorts = Set(random.next() % 3 == 0 ? some([1, 2, 3]) : [])
        }
      }
      guard let matcher = try? FilterChainMatcher(rules) else {
        refused += 1
        continue
      }
      for _ in 0..<50 {
        let facts = try facts(
          to: "\(one(addresses)):\(one([80, 443, 8443]))", from: "\(one(addresses)):\(one([1, 2, 9]))",
          via: "\(one(addresses)):1", name: one(names), transport: one(["tls", "raw_buffer"]),
          protocols: some(protocols))
        let place = matcher.match(facts)
        if place != nil { matched += 1 }
        #expect(place == naive(rules, facts), "\(rules) \(facts)")
      }
    }
    #expect(matched > 5000)
    #expect(refused > 0)
  }
}
