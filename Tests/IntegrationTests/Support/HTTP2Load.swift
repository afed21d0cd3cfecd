import MeshTesting

/// Clients of HTTP/2 that never stop asking, several requests at a time on each connection. A request that the server had
/// promised to serve, by not telling of an earlier last stream, and that was not answered well is a failure.
final class HTTP2Load: Sendable {
  struct Tally: Sendable {
    var answered = 0
    var connections = 0
    var running = 0
    var isStopping = false
    var failures: [String] = []
  }

  private let tally: Monitor<Tally>

  /// - Parameter endsWhenRefused: nobody listens any more: the client's end, and no failure.
  init(port: UInt16, clients: Int = 4, endsWhenRefused: Bool = false) {
    tally = Monitor(Tally(running: clients))
    for number in 0..<clients { startThread { self.run(number, port, endsWhenRefused) } }
  }

  var now: Tally { tally.read { $0 } }

  func waitForMore(_ count: Int) async throws {
    let wanted = now.answered + count
    try await eventually("\(count) more answers", within: Deadline(.seconds(60))) {
      self.now.answered >= wanted || !self.now.failures.isEmpty
    }
  }

  func waitForEnd() async throws -> Tally {
    try await eventually("the clients end", within: Deadline(.seconds(60))) { self.now.running == 0 }
    return now
  }

  func stop() async throws -> Tally {
    tally.change { $0.isStopping = true }
    return try await waitForEnd()
  }

  private func run(_ number: Int, _ port: UInt16, _ endsWhenRefused: Bool) {
    defer { tally.change { $0.running -= 1 } }
    while !tally.read({ $0.isStopping }) {
      guard let client = try? HTTP2Client(port: port) else {
        if !endsWhenRefused { tally.change { $0.failures.append("client \(number): no connection") } }
        return
      }
      tally.change { $0.connections += 1 }
      do {
        while client.lastStream == nil, !tally.read({ $0.isStopping }) {
          let streams = try (0..<6).map { try client.request($0 == 0 ? "/large" : "/x\($0)") }
          for stream in streams {
            let response = try client.wait(for: stream)
            if response.status == 200, response.isComplete {
              tally.change { $0.answered += 1 }
            } else if let last = client.lastStream, stream > last {
              continue
            } else if client.responses.values.allSatisfy({ $0.status == nil }), endsWhenRefused {
              // Accepted by the kernel when nobody was there any more to take it.
              return
            } else {
              tally.change { $0.failures.append("client \(number), stream \(stream): \(response)") }
              return
            }
          }
        }
        client.connection.close()
      } catch {
        if endsWhenRefused, client.responses.values.allSatisfy({ $0.status == nil }) { return }
        return tally.change { $0.failures.append("client \(number): \(error)") }
      }
    }
  }
}
