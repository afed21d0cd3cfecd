import Glibc
import MeshTesting

/// Clients that do not behave: each way once, on connections of their own.
enum Rude: CaseIterable {
  case leavesInHead, leavesInBody, resetsBeforeResponse, resetsInResponse, leavesWithoutReading, sendsGarbage
  case pipelinesAndLeaves, halfCloses, breaksChunks, saysNothing

  func act(_ port: UInt16, _ random: inout SeededRandom) throws {
    let connection = try RawConnection(port: port, within: Deadline(.seconds(30)))
    switch self {
    case .leavesInHead:
      try connection.send("GET /small HTTP/1.1\r\nhos")
    case .leavesInBody:
      try connection.send(
        "POST /small HTTP/1.1\r\nhost: rude\r\ncontent-length: 100000\r\n\r\n" + String(repeating: "x", count: 9000))
    case .resetsBeforeResponse:
      try connection.send("GET /small HTTP/1.1\r\nhost: rude\r\n\r\n")
      return connection.reset()
    case .resetsInResponse:
      try connection.send("GET /large HTTP/1.1\r\nhost: rude\r\n\r\n")
      try connection.receive(count: 100)
      return connection.reset()
    case .leavesWithoutReading:
      try connection.send("GET /large HTTP/1.1\r\nhost: rude\r\n\r\n")
    case .sendsGarbage:
      try connection.send((0..<random.next(below: 300)).map { _ in UInt8(truncatingIfNeeded: random.next()) })
      connection.halfClose()
      _ = try connection.receiveToEnd(within: Deadline(.seconds(30)))
    case .pipelinesAndLeaves:
      try connection.send(String(repeating: "GET /small HTTP/1.1\r\nhost: rude\r\n\r\n", count: 5))
      if random.next(below: 2) == 0 { _ = try connection.receiveResponse() }
    case .halfCloses:
      try connection.send("GET /small HTTP/1.1\r\nhost: rude\r\n\r\n")
      connection.halfClose()
      _ = try connection.receiveToEnd(within: Deadline(.seconds(30)))
    case .breaksChunks:
      try connection.send(
        "POST /small HTTP/1.1\r\nhost: rude\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
      _ = try connection.receiveToEnd(within: Deadline(.seconds(30)))
    case .saysNothing: break
    }
  }
}
