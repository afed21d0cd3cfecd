import Glibc
import MeshTesting

/// Clients that never stop asking, and take note of every request that is not answered as it must be. Half a connection's
/// life is the server's to decide: a client that is told `connection: close` connects anew.
final class Load: Sendable {
  struct Tally: Sendable {
    var onEstablished = 0
    var onNew = 0
    /// Answers by the value of the field that `mark` names.
    var marks: [String: (established: Int, new: Int)] = [:]
    var failures: [String] = []
    var running = 0
    var isStopping = false

    var answered: Int { onEstablished + onNew }

    mutating func fail(_ text: String) { if failures.count < 20 { failures.append(text) } }
  }

  private let tally: Monitor<Tally>
  private let port: UInt16
  private let host: String
  private let mark: String
  private let backends: [String]
  private let directAnswer: String?
  private let check: @Sendable (RawResponse) -> String?

  /// - Parameters:
  ///   - keepAlive: clients with many requests on a connection.
  ///   - new: clients with a connection for each request.
  ///   - backends: the names of those who may answer.
  ///   - answeredBy: the text with which the proxy itself answers everything, instead of backends.
  ///   - mark: a response header by whose value answers are counted.
  ///   - check: what is wrong with a response, beyond its status and body.
  init(
    port: UInt16, host: String = "127.0.0.1", keepAlive: Int, new: Int, backends: [String] = ["echo"],
    answeredBy directAnswer: String? = nil,
    mark: String = "x-mark",
    check: @escaping @Sendable (RawResponse) -> String? = { _ in nil }
  ) {
    self.port = port
    self.host = host
    self.backends = backends
    self.mark = mark
    self.check = check
    self.directAnswer = directAnswer
    tally = Monitor(Tally(running: keepAlive + new))
    for number in 0..<keepAlive { startThread { self.run("keep-alive \(number)", number, reuses: true) } }
    for number in 0..<new { startThread { self.run("new \(number)", number, reuses: false) } }
  }

  /// What has happened so far.
  var now: Tally { tally.read { $0 } }

  /// Waits until the tally is as wanted. A failed request ends the wait too: the test shall not go on without knowing.
  func wait(
    _ what: String, within deadline: Deadline = Deadline(.seconds(60)), _ condition: @escaping @Sendable (Tally) -> Bool
  ) async throws {
    let met = try await blocking {
      self.tally.wait(deadline) { condition($0) ? true : $0.failures.isEmpty ? nil : false }
    }
    if met != true { throw TestFailure("\(what): \(met == nil ? "deadline passed" : "requests failed"): \(now)") }
  }

  /// Waits for `count` more answers, half of them on established connections and half on new ones.
  func waitForMore(_ count: Int) async throws {
    let before = now
    try await wait("\(count) more answers") {
      $0.onEstablished >= before.onEstablished + count / 2 && $0.onNew >= before.onNew + count / 2
    }
  }

  /// Ends the clients, each after its request.
  func stop() async throws -> Tally {
    tally.change { $0.isStopping = true }
    let over = try await blocking { self.tally.wait(Deadline(.seconds(60))) { $0.running == 0 ? true : nil } }
    if over == nil { throw TestFailure("clients do not end: \(now)") }
    return now
  }

  // MARK: A client

  private func run(_ client: String, _ number: Int, reuses: Bool) {
    var random = SeededRandom(seed: UInt64(number) << 1 | (reuses ? 1 : 0))
    var connection: RawConnection?
    var requests = 0
    while !tally.read({ $0.isStopping }) {
      let isNew = connection == nil
      do {
        let current = try connection ?? RawConnection(port: port, host: host, within: Deadline(.seconds(20)))
        requests += 1
        let response = try ask(
          current, "\(reuses ? "k" : "n")\(number)-\(requests)", random.next(below: 8), closes: !reuses)
        if let problem = check(response) { throw TestFailure(problem) }
        let value = response.value(mark) ?? ""
        tally.change { tally in
          if isNew { tally.onNew += 1 } else { tally.onEstablished += 1 }
          if isNew {
            tally.marks[value, default: (0, 0)].new += 1
          } else {
            tally.marks[value, default: (0, 0)].established += 1
          }
        }
        let isOver = response.value("connection") == "close"
        if isOver, try !current.receiveToEnd(within: Deadline(.seconds(20))).isEmpty || current.receiveError != nil {
          throw TestFailure("something after the last response (\(current.receiveError ?? 0))")
        }
        if isOver { current.close() }
        connection = isOver ? nil : current
      } catch {
        tally.change {
          $0.fail("\(client), request \(requests) on \(isNew ? "a new" : "an established") connection: \(error)")
        }
        connection = nil
        break
      }
    }
    tally.change { $0.running -= 1 }
  }

  private func ask(_ connection: RawConnection, _ identity: String, _ kind: UInt64, closes: Bool) throws -> RawResponse
  {
    let end = "host: load\r\n\(closes ? "connection: close\r\n" : "")"
    let target = kind == 0 ? "/large/\(identity)" : "/small/\(identity)"
    var method = "GET"
    var length = 0
    switch kind {
    case 1:
      (method, length) = ("POST", 5000)
      try connection.send("POST \(target) HTTP/1.1\r\n\(end)content-length: 5000\r\n\r\n" + filler(5000))
    case 2:
      (method, length) = ("POST", 3000)
      try connection.send(
        "POST \(target) HTTP/1.1\r\n\(end)transfer-encoding: chunked\r\n\r\n3e8\r\n\(filler(1000))\r\n")
      try connection.send("7d0\r\n\(filler(2000))\r\n0\r\n\r\n")
    default:
      try connection.send("GET \(target) HTTP/1.1\r\n\(end)\r\n")
    }
    let response = try connection.receiveResponse(within: Deadline(.seconds(30)))
    guard response.status == 200 else { throw TestFailure("\(method) \(target): \(response)") }
    if let directAnswer {
      guard response.text == directAnswer else { throw TestFailure("\(method) \(target): \(response)") }
    } else if !backends.contains(where: { EchoBackend.answer($0, method, target, length) == response.body }) {
      throw TestFailure("\(method) \(target) was answered with another's body: \(response)")
    }
    return response
  }

  private func filler(_ count: Int) -> String { String(repeating: "x", count: count) }
}
