import MeshIO
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

@Suite("Watching names", .timeLimit(.minutes(1)))
struct NameWatchTests {
  private final class Listener: NameWatch.Listener {
    var begun = 0
    var ended: [String] = []
    var isComplete = false

    func lookupBegan() { begun += 1 }

    func lookupEnded(_ name: String, _ outcome: NameWatch.Outcome, isComplete: Bool) {
      let word =
        switch outcome {
        case .addresses: "addresses"
        case .nothing: "nothing"
        case .failure: "failure"
        }
      ended.append("\(name) \(word)")
      self.isComplete = isComplete
    }
  }

  private static func watch(
    _ names: Set<String>, maximumPending: Int = 1024, known: [String: [IPAddress]] = [:],
    _ script: @escaping @Sendable (ScriptedNameServer.Question) -> ScriptedNameServer.Answer
  ) throws -> (listener: Listener, watch: NameWatch) {
    let server = try ScriptedNameServer(script)
    var settings = DNSSettings()
    settings.family = .v4Only
    settings.refreshRate = .seconds(600)
    settings.resolver.servers = [SocketAddress(.loopbackV4, port: server.port)]
    settings.resolver.maximumPending = maximumPending
    settings.resolver.ignoresSearchDomains = true
    settings.resolver.tries = 1
    let loop = try EventLoop()
    let listener = Listener()
    let watch = NameWatch(
      listener, names: names, settings: settings, resolvers: Resolvers(loop), loop: loop, known: known)
    var random = Random(seed: 1)
    watch.start(&random)
    let deadline = Deadline()
    while !listener.isComplete, !deadline.hasPassed { loop.turn(upTo: .milliseconds(20)) }
    return (listener, watch)
  }

  @Test("each name is told of as it is answered; the last one completes them")
  func answers() async throws {
    try await blocking {
      let (listener, watch) = try Self.watch(
        ["a.test", "b.test", "c.test"], known: ["c.test": [.loopbackV4], "x": []]
      ) {
        switch $0.name {
        case "a.test": .addresses([(bytes: [127, 0, 0, 5], ttl: 1)], alias: nil)
        case "b.test": .failure(3)
        default: .failure(2)
        }
      }
      #expect(listener.isComplete && listener.begun == 3)
      #expect(listener.ended.sorted() == ["a.test addresses", "b.test nothing", "c.test failure"])
      // What could not be asked for is as it was; what is not asked for is forgotten.
      #expect(watch.addresses == ["a.test": [IPAddress(v4: 0x7f00_0005)], "c.test": [.loopbackV4]])
    }
  }

  @Test("names that find no room to be asked for are asked for later, and have not failed")
  func overload() async throws {
    try await blocking {
      let names = Set((0..<20).map { "n\($0).test" })
      let (listener, watch) = try Self.watch(names, maximumPending: 2) { _ in
        .addresses([(bytes: [127, 0, 0, 5], ttl: 1)], alias: nil)
      }
      #expect(listener.ended.allSatisfy { $0.hasSuffix("addresses") })
      #expect(listener.begun == 20 && watch.addresses.count == 20)
    }
  }
}
