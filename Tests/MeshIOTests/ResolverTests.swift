import Glibc
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshIO

@Suite("Resolver", .timeLimit(.minutes(1)))
struct ResolverTests {
  /// The hosts file of all tests here; written and named in the environment once.
  private static let hosts: TemporaryDirectory? = {
    guard let directory = try? TemporaryDirectory() else { return nil }
    let text = """
      127.0.0.1 localhost
      # a comment
      127.1.2.3 service1 service1.mesh
      fd00::5 service1
      127.1.2.4 service2
      127.1.2.5 service2
      127.1.2.4 service2

      """
    guard let path = try? directory.write("hosts", text) else { return nil }
    setenv("CARES_HOSTS", path, 1)
    return directory
  }()

  private static func options(_ server: ScriptedNameServer) -> ResolverOptions {
    var options = ResolverOptions()
    options.servers = [SocketAddress(.loopbackV4, port: server.port)]
    options.timeout = .seconds(5)
    options.tries = 2
    return options
  }

  /// Resolves on a thread of its own, where the loop can wait.
  private static func resolve(
    _ host: String, _ family: LookupFamily = .v4Only, _ options: ResolverOptions
  ) async throws -> Result<ResolvedAddresses, ResolveError> {
    try #require(hosts != nil)
    return try await blocking {
      let loop = try EventLoop()
      let resolver = try Resolver(loop, options)
      var answer: Result<ResolvedAddresses, ResolveError>?
      resolver.resolve(host, family: family) {
        #expect(answer == nil, "answered twice")
        answer = $0
      }
      #expect(answer == nil, "answered before resolve returned")
      #expect(loop.registrations <= 2)
      let deadline = Deadline()
      while answer == nil, !deadline.hasPassed { loop.turn(upTo: .milliseconds(100)) }
      #expect(resolver.pendingCount == 0)
      guard let answer else { throw TestFailure("no answer") }
      return answer
    }
  }

  private static let noServer: ResolverOptions = {
    var options = ResolverOptions()
    options.servers = [SocketAddress(.loopbackV4, port: 9)]
    return options
  }()

  @Test("names of the hosts file, without asking a server")
  func hostsFile() async throws {
    let server = try ScriptedNameServer { _ in .failure(3) }
    let options = Self.options(server)
    func addresses(_ host: String, _ family: LookupFamily) async throws -> [String]? {
      try? await Self.resolve(host, family, options).get().addresses.map(\.description)
    }
    #expect(try await addresses("service1", .v4Only) == ["127.1.2.3"])
    #expect(try await addresses("service1.mesh", .v4Only) == ["127.1.2.3"])
    #expect(try await addresses("service1", .v6Only) == ["fd00::5"])
    #expect(try await addresses("service1", .auto) == ["fd00::5"])
    #expect(try await addresses("service1", .v4Preferred) == ["127.1.2.3"])
    #expect(try await addresses("service1", .all) == ["127.1.2.3", "fd00::5"])
    #expect(try await Set(addresses("service2", .v4Only) ?? []) == ["127.1.2.4", "127.1.2.5"])
    #expect(try await addresses("localhost", .auto) == ["127.0.0.1"])
    #expect(try await addresses("LocalHost", .auto) == ["127.0.0.1"])
    #expect(server.asked.allSatisfy { $0.type == 28 || $0.name != "service1" })
  }

  @Test("literals are their own answer")
  func literals() async throws {
    for literal in ["127.0.0.1", "::1", "fe80::1%3"] {
      let answer = try await Self.resolve(literal, .auto, Self.noServer).get()
      #expect(answer.addresses.map(\.description) == [literal])
      #expect(answer.timeToLive == .zero)
    }
  }

  @Test("answers of a server: addresses in order, the smallest time to live, aliases counted")
  func server() async throws {
    let server = try ScriptedNameServer { question in
      question.name == "many.test"
        ? .addresses([([10, 0, 0, 3], 300), ([10, 0, 0, 1], 60), ([10, 0, 0, 2], 90)], alias: nil)
        : .addresses([([10, 0, 0, 9], 300)], alias: 7)
    }
    let many = try await Self.resolve("many.test", .v4Only, Self.options(server)).get()
    #expect(many.addresses.map(\.description) == ["10.0.0.3", "10.0.0.1", "10.0.0.2"])
    #expect(many.timeToLive == .seconds(60))
    let aliased = try await Self.resolve("alias.test", .v4Only, Self.options(server)).get()
    #expect(aliased.timeToLive == .seconds(7))
  }

  @Test("auto asks for IPv6 first and falls back to IPv4; v4Preferred the other way round")
  func fallback() async throws {
    let server = try ScriptedNameServer { question in
      switch question.name {
      case "four.test": .addresses([([10, 0, 0, 4], 5)], alias: nil)
      case "six.test": .addresses([([0xfd] + Array(repeating: 0, count: 14) + [6], 5)], alias: nil)
      default: .addresses([([10, 0, 0, 4], 5), ([0xfd] + Array(repeating: 0, count: 14) + [6], 5)], alias: nil)
      }
    }
    func addresses(_ host: String, _ family: LookupFamily) async throws -> [String] {
      try await Self.resolve(host, family, Self.options(server)).get().addresses.map(\.description)
    }
    #expect(try await addresses("four.test", .auto) == ["10.0.0.4"])
    #expect(try await addresses("six.test", .auto) == ["fd00::6"])
    #expect(try await addresses("both.test", .auto) == ["fd00::6"])
    #expect(try await addresses("both.test", .v4Preferred) == ["10.0.0.4"])
    #expect(try await addresses("six.test", .v4Preferred) == ["fd00::6"])
    #expect(try await addresses("both.test", .all) == ["10.0.0.4", "fd00::6"])
  }

  @Test("what can go wrong is told apart")
  func failures() async throws {
    let server = try ScriptedNameServer { question in
      switch question.name {
      case "missing.test": .failure(3)
      case "broken.test": .failure(2)
      case "garbage.test": .garbage([0x81, 0x80, 0, 1, 255, 255, 0, 0, 0, 0, 0xc0, 0xc0])
      default: .silence
      }
    }
    func kind(_ host: String) async throws -> ResolveError.Kind? {
      var options = Self.options(server)
      if ["silent.test", "garbage.test"].contains(host) { options.timeout = .milliseconds(20) }
      guard case .failure(let error) = try await Self.resolve(host, .v4Only, options) else { return nil }
      #expect(error.description.hasPrefix(host))
      return error.kind
    }
    #expect(try await kind("missing.test") == .notFound)
    #expect(try await kind("broken.test") == .serverFailure)
    #expect(try await kind("silent.test") == .timeout)
    #expect(try await kind("garbage.test") != nil)
    #expect(try await kind("") == .badName)
    #expect(try await kind("a\0b") == .badName)
    #expect(try await kind(String(repeating: "a", count: 300)) == .badName)
    #expect(try await kind(String(repeating: "a", count: 64) + ".test") == .badName)
    guard case .failure(let refused) = try await Self.resolve("closed.test", .v4Only, Self.noServer) else {
      Issue.record("answered by nobody")
      return
    }
    #expect(refused.kind == .serverFailure)
  }

  @Test("the number of names in flight is bounded, and nothing is answered or leaked after the end")
  func bounds() async throws {
    let server = try ScriptedNameServer { _ in .silence }
    var options = Self.options(server)
    options.maximumPending = 10
    options.timeout = .seconds(30)
    let bounded = options
    try await blocking {
      let loop = try EventLoop()
      var overloaded = 0
      do {
        let resolver = try Resolver(loop, bounded)
        for number in 0..<15 {
          resolver.resolve("n\(number).test", family: .v4Only) { result in
            guard case .failure(let error) = result, error.kind == .overloaded else {
              Issue.record("\(result)")
              return
            }
            overloaded += 1
          }
        }
        #expect(resolver.pendingCount == 10)
        loop.turn()
        #expect(overloaded == 5)
        #expect(loop.registrations >= 1)
      }
      #expect(loop.registrations == 0)
      loop.turn(upTo: .milliseconds(20))
    }
  }

  @Test("an owner may let go of the resolver in a completion")
  func droppedInCompletion() async throws {
    let server = try ScriptedNameServer { _ in .addresses([([10, 0, 0, 1], 1)], alias: nil) }
    let options = Self.options(server)
    try await blocking {
      let loop = try EventLoop()
      var resolver: Resolver? = try Resolver(loop, options)
      var answered = false
      resolver?.resolve("one.test", family: .v4Only) { _ in
        answered = true
        resolver = nil
      }
      let deadline = Deadline()
      while !answered, !deadline.hasPassed { loop.turn(upTo: .milliseconds(100)) }
      #expect(answered)
      #expect(resolver == nil)
      #expect(loop.registrations == 0)
    }
  }
}
