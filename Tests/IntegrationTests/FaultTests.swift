import Glibc
import MeshTesting
import Testing

/// Upstreams that die, and clients that hang on: no response is taken for complete that is not, nothing spins.
@Suite("Faults", .timeLimit(.minutes(2)))
struct FaultTests {
  /// A server in a process of its own, killed again and again while it sends.
  @Test func backendsAreKilledWhileTheyRespond() async throws {
    let socket = try ListenSocket()
    var configuration = ProxyConfiguration(backend: socket.port)
    configuration.listeners[0].fields = ["per_connection_buffer_limit_bytes: 65536"]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let script = """
      import os, socket, threading
      listener = socket.socket(fileno=3)
      block = b"x" * 65536
      def serve(connection):
          while connection.recv(65536):
              connection.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 1073741824\\r\\n\\r\\n")
              for _ in range(16384): connection.sendall(block)
      while True:
          threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
      """
    for round in 0..<5 {
      let backend = try RunningProgram("python3", ["-c", script], listenSockets: [socket.descriptor])
      let clients = try await blocking {
        try (0..<8).map { number in
          let client = try RawConnection(port: port)
          try client.send("GET /\(round)/\(number) HTTP/1.1\r\nhost: test\r\n\r\n")
          try client.receive(through: "\r\n\r\n", within: Deadline(.seconds(30)))
          return client
        }
      }
      try await backend.killAndWait()
      try await blocking {
        for client in clients {
          var bytes = 0
          while true {
            do {
              try client.discard(count: 65536)
              bytes += 65536
            } catch { break }
          }
          guard bytes < 1 << 30 else { throw TestFailure("a response was completed by nobody") }
        }
      }
    }
    try await eventually("no request is left") { try await proxy.stat("http.main.downstream_rq_active") == 0 }
    #expect(try await proxy.stat("cluster.backend.upstream_cx_active") == 0)
    try await expectIdle(proxy)
  }

  /// States in which a peer has done a part and does no more. Each could make an event loop spin.
  @Test(arguments: ["half-closed", "paused download", "paused upload", "unread after close", "head", "lame duck"])
  func waitingCostsNothing(_ state: String) async throws {
    let gate = Gate()
    let backend = try ScriptedServer { connection, _ in
      if state == "paused upload" {
        try connection.receive(through: "\r\n\r\n")
        return try gate.wait()
      }
      _ = try connection.receiveRequest()
      if state == "paused download" {
        try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        let block = [UInt8](repeating: 0, count: 1 << 20)
        for _ in 0..<90 { try connection.send(block, within: Deadline(.seconds(60))) }
      }
      try gate.wait()
    }
    let proxy = try await RunningProxy.start(ProxyConfiguration(backend: backend.port), lameDuck: 600, drain: 600)
    let client = try RawConnection(port: proxy.port())
    let start = "host: test\r\n\r\n"
    switch state {
    case "half-closed":
      try client.send("GET / HTTP/1.1\r\n" + start)
      client.halfClose()
    case "paused download":
      try client.send("GET / HTTP/1.1\r\n" + start)
      try await eventually("the upstream has to wait") {
        try await proxy.stat("cluster.backend.upstream_flow_control_paused_reading_total") > 0
      }
    case "paused upload":
      try client.send("POST / HTTP/1.1\r\ncontent-length: 100000000\r\n" + start)
      let sending = Task {
        try await blocking {
          try client.send([UInt8](repeating: 0, count: 100_000_000), within: Deadline(.seconds(60)))
        }
      }
      defer { sending.cancel() }
      try await eventually("the client has to wait") {
        try await proxy.stat("http.main.downstream_flow_control_paused_reading_total") > 0
      }
    case "unread after close":
      // Refused; the client neither reads nor closes, and goes on to send for a while.
      try client.send("GET / HTTP/0.9\r\n" + start)
      try client.send([UInt8](repeating: 0x41, count: 100_000))
    case "head": try client.send("GET / HTTP/1.1\r\n")
    default:
      proxy.program.signal(SIGTERM)
      try await proxy.waitForLog("draining")
    }
    try await expectIdle(proxy)
    gate.open()
    if state == "paused upload" { client.reset() }
  }
}
