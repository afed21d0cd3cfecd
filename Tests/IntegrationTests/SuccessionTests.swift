import Glibc
import MeshTesting
import Testing

/// A process is told to end while its successor, which was given the same listening socket, serves already.
@Suite("Succession", .serialized, .timeLimit(.minutes(5)))
struct SuccessionTests {
  static let rounds = 20

  /// Two descriptors of one socket, as a manager hands them over with FileDescriptorStoreMax or two FDs of one unit: one
  /// for each worker.
  private func start(_ generation: Int, _ socket: ListenSocket, _ backend: EchoBackend) async throws -> RunningProxy {
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].port = socket.port
    configuration.listeners[0].routes = [
      "{match: {prefix: /}, route: {cluster: backend, timeout: 60s}, response_headers_to_add: "
        + "[{header: {key: x-mark, value: \"\(generation)\"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]}"
    ]
    let directory = try TemporaryDirectory()
    try directory.write("proxy.yaml", configuration.yaml)
    let sockets = generation % 2 == 0 ? [socket.descriptor] : [socket.descriptor, socket.descriptor]
    let names = sockets.map { _ in "front" }.joined(separator: ":")
    let proxy = try RunningProxy(
      directory, lameDuck: generation % 4 == 1 ? 1 : 0, environment: ["LISTEN_FDNAMES": names], listenSockets: sockets)
    try await proxy.waitUntilReady()
    return proxy
  }

  @Test func noRequestIsLostWhenTheSuccessorInheritedTheSocket() async throws {
    let backend = try EchoBackend()
    let socket = try ListenSocket()
    var current = try await start(0, socket, backend)
    let load = Load(port: socket.port, keepAlive: 3, new: 2)
    try await load.waitForMore(20)
    for generation in 1...Self.rounds {
      let next = try await start(generation, socket, backend)
      current.program.signal(SIGTERM)
      let ending = try await current.program.waitForEnd(within: Deadline(.seconds(30)))
      #expect(ending == .exited(0), "generation \(generation - 1)\n\(current.program.logs)")
      #expect(current.count("] drained") == 1, "generation \(generation - 1)\n\(current.program.logs)")
      // From here on there is nobody but the successor; both kinds of clients have come over to it.
      try await load.wait("answers of generation \(generation)") {
        let mine = $0.marks["\(generation)", default: (0, 0)]
        return mine.established >= 10 && mine.new >= 10
      }
      current = next
    }
    let tally = try await load.stop()
    #expect(tally.failures.isEmpty)
    #expect(backend.failures.isEmpty)
    print(
      "succession: \(Self.rounds) rounds, \(tally.onEstablished) + \(tally.onNew) requests on established + new connections"
    )
    current.program.signal(SIGTERM)
    #expect(try await current.program.waitForEnd(within: Deadline(.seconds(30))) == .exited(0))
  }
}
