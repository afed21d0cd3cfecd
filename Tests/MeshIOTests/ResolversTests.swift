import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshIO

@Suite("Resolvers", .timeLimit(.minutes(1)))
struct ResolversTests {
  private static func server(_ last: UInt8) throws -> ScriptedNameServer {
    try ScriptedNameServer { _ in .addresses([(bytes: [127, 0, 0, last], ttl: 7)], alias: nil) }
  }

  private static func options(_ server: ScriptedNameServer) -> ResolverOptions {
    var options = ResolverOptions()
    options.servers = [SocketAddress(.loopbackV4, port: server.port)]
    options.timeout = .milliseconds(500)
    options.tries = 1
    options.ignoresSearchDomains = true
    return options
  }

  private static func ask(
    _ loop: EventLoop, _ resolver: Resolver, _ name: String = "name.test"
  ) throws -> Result<ResolvedAddresses, ResolveError> {
    var answer: Result<ResolvedAddresses, ResolveError>?
    resolver.resolve(name, family: .v4Only) { answer = $0 }
    let deadline = Deadline()
    while answer == nil, !deadline.hasPassed { loop.turn(upTo: .milliseconds(50)) }
    return try #require(answer)
  }

  @Test("each way of resolving has a resolver of its own, and only one")
  func shared() async throws {
    try await blocking {
      let loop = try EventLoop()
      let resolvers = Resolvers(loop)
      let (one, two) = (try Self.server(1), try Self.server(2))
      let first = try resolvers.resolver(Self.options(one))
      #expect(try resolvers.resolver(Self.options(one)) === first)
      let second = try resolvers.resolver(Self.options(two))
      #expect(second !== first)
      #expect(try Self.ask(loop, first).get().addresses == [IPAddress(v4: 0x7f00_0001)])
      #expect(try Self.ask(loop, second).get().addresses == [IPAddress(v4: 0x7f00_0002)])
      #expect(try Self.ask(loop, second).get().timeToLive == .seconds(7))
    }
  }

  @Test("when the system's configuration changes there are new resolvers; the old ones still answer")
  func changes() async throws {
    try await blocking {
      let directory = try TemporaryDirectory()
      let path = try directory.write("resolv.conf", "nameserver 127.0.0.1\n")
      let loop = try EventLoop()
      let resolvers = Resolvers(loop, systemConfiguration: path)
      let silent = try ScriptedNameServer { _ in .silence }
      let old = try resolvers.resolver(Self.options(silent))
      var answer: Result<ResolvedAddresses, ResolveError>?
      old.resolve("name.test", family: .v4Only) { answer = $0 }
      try directory.write("resolv.conf", "nameserver 127.0.0.2\nsearch test\n")
      let deadline = Deadline()
      var new = old
      while new === old, !deadline.hasPassed {
        loop.turn(upTo: .milliseconds(20))
        new = try resolvers.resolver(Self.options(silent))
      }
      #expect(new !== old)
      while answer == nil, !deadline.hasPassed { loop.turn(upTo: .milliseconds(50)) }
      #expect(throws: ResolveError.self) { try #require(answer).get() }
    }
  }

  @Test("servers as a fallback are asked only if the system names none")
  func fallback() async throws {
    try await blocking {
      let directory = try TemporaryDirectory()
      let loop = try EventLoop()
      let server = try Self.server(3)
      var options = Self.options(server)
      options.serversAreFallback = true
      let empty = Resolvers(loop, systemConfiguration: try directory.write("empty", "search test\n"))
      #expect(try Self.ask(loop, empty.resolver(options)).get().addresses.count == 1)
      // Nobody answers at this address.
      let named = Resolvers(loop, systemConfiguration: try directory.write("named", " nameserver 127.255.0.1\n"))
      #expect(throws: ResolveError.self) { try Self.ask(loop, named.resolver(options)).get() }
      #expect(server.asked.count == 1)
    }
  }

  @Test("over TCP, nothing is asked over UDP")
  func tcp() async throws {
    try await blocking {
      let loop = try EventLoop()
      let server = try Self.server(4)
      var options = Self.options(server)
      options.usesTCP = true
      #expect(throws: ResolveError.self) { try Self.ask(loop, Resolvers(loop).resolver(options)).get() }
      #expect(server.asked.isEmpty)
    }
  }

  @Test("search domains are tried, unless names are to be taken as they are")
  func searchDomains() async throws {
    try await blocking {
      let directory = try TemporaryDirectory()
      let path = try directory.write("resolv.conf", "search mesh.test\n")
      let loop = try EventLoop()
      let server = try ScriptedNameServer { question in
        question.name == "a.mesh.test" ? .addresses([(bytes: [127, 0, 0, 9], ttl: 1)], alias: nil) : .failure(3)
      }
      var options = Self.options(server)
      let resolvers = Resolvers(loop, systemConfiguration: path)
      #expect(throws: ResolveError.self) { try Self.ask(loop, resolvers.resolver(options), "a").get() }
      options.ignoresSearchDomains = false
      #expect(try Self.ask(loop, resolvers.resolver(options), "a").get().addresses.count == 1)
    }
  }

  @Test("a name without one family's addresses is not gone while the other cannot be asked for")
  func oneFamilyFails() async throws {
    try await blocking {
      let loop = try EventLoop()
      // No IPv4 addresses; IPv6 fails.
      let server = try ScriptedNameServer { $0.type == 28 ? .failure(2) : .addresses([], alias: nil) }
      let resolver = try Resolvers(loop).resolver(Self.options(server))
      var answer: Result<ResolvedAddresses, ResolveError>?
      resolver.resolve("name.test", family: .auto) { answer = $0 }
      let deadline = Deadline()
      while answer == nil, !deadline.hasPassed { loop.turn(upTo: .milliseconds(50)) }
      guard case .failure(let error)? = answer else {
        Issue.record("\(String(describing: answer))")
        return
      }
      #expect(error.kind != .notFound)
    }
  }
}
