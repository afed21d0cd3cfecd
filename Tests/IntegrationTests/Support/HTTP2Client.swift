import MeshTesting

/// A client's connection of HTTP/2, frame by frame. Used by one thread at a time.
final class HTTP2Client {
  struct Frame {
    var type: UInt8
    var flags: UInt8
    var stream: UInt32
    var payload: [UInt8]

    var endsStream: Bool { type <= 1 && flags & 1 != 0 }
    /// A number in the payload.
    func number(at offset: Int = 0) -> UInt32 { payload[offset..<(offset + 4)].reduce(0) { $0 << 8 | UInt32($1) } }
  }

  /// What a stream has got so far.
  struct Response {
    /// As HPACK's static table has it; nil before the head, 0 for a status that is not in it.
    var status: Int?
    var count = 0
    var isComplete = false
    var resetCode: UInt32?

    var isOver: Bool { isComplete || resetCode != nil }
  }

  let connection: RawConnection
  private(set) var responses: [UInt32: Response] = [:]
  /// The last stream that the server promises to serve; nil before GOAWAY.
  private(set) var lastStream: UInt32?
  private(set) var goAwayCode: UInt32?
  private var next: UInt32 = 1
  /// Whether PING is answered, and windows are opened again.
  var answersPings = true
  var opensWindows = true

  /// - Parameter window: bytes that the server may send on a stream before it has to wait.
  init(port: UInt16, window: UInt32 = 1 << 24) throws {
    connection = try RawConnection(port: port)
    try connection.send(
      Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + Self.frame(4, 0, 0, [0, 4] + Self.bytes(window))
        + Self.frame(8, 0, 0, Self.bytes(1 << 30)))
  }

  static func bytes(_ number: UInt32) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> $0) }
  }

  static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8] = []) -> [UInt8] {
    Array(bytes(UInt32(payload.count)).dropFirst()) + [type, flags] + bytes(stream) + payload
  }

  /// Begins a request. Returns its stream.
  @discardableResult
  func request(_ path: String, method: String = "GET", end: Bool = true) throws -> UInt32 {
    let stream = next
    next += 2
    let block: [UInt8] =
      [method == "GET" ? 0x82 : 0x83, 0x86, 0x01, 4] + Array("test".utf8) + [0x04, UInt8(path.utf8.count)]
      + Array(path.utf8)
    responses[stream] = Response()
    try connection.send(Self.frame(1, end ? 5 : 4, stream, block))
    return stream
  }

  func send(_ frame: [UInt8], within deadline: Deadline = Deadline(.seconds(60))) throws {
    try connection.send(frame, within: deadline)
  }

  /// The next frame; nil at the end. Answers what wants an answer.
  @discardableResult
  func receive(within deadline: Deadline = Deadline(.seconds(30))) throws -> Frame? {
    guard let head = try? connection.receive(count: 9, within: deadline) else {
      if connection.receiveError == nil || connection.receiveError == 104 { return nil }
      throw TestFailure("no frame: \(connection.receiveError ?? 0)")
    }
    let length = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
    let stream = head[5...].reduce(0) { $0 << 8 | UInt32($1) } & 0x7fff_ffff
    let payload = length == 0 ? [] : try connection.receive(count: length, within: deadline)
    let frame = Frame(type: head[3], flags: head[4], stream: stream, payload: payload)
    switch frame.type {
    case 0:
      responses[stream]?.count += length
      if opensWindows, length > 0 {
        var answer = Self.frame(8, 0, 0, Self.bytes(UInt32(length)))
        if !frame.endsStream { answer += Self.frame(8, 0, stream, Self.bytes(UInt32(length))) }
        try? connection.send(answer, within: deadline)
      }
    case 1: if responses[stream]?.status == nil { responses[stream]?.status = Self.status(payload) }
    case 3: responses[stream]?.resetCode = frame.number()
    case 4: if frame.flags & 1 == 0 { try? connection.send(Self.frame(4, 1, 0)) }
    case 6: if frame.flags & 1 == 0, answersPings { try? connection.send(Self.frame(6, 1, 0, payload)) }
    case 7:
      lastStream = frame.number() & 0x7fff_ffff
      goAwayCode = frame.number(at: 4)
    default: break
    }
    if frame.endsStream { responses[stream]?.isComplete = true }
    return frame
  }

  private static func status(_ block: [UInt8]) -> Int {
    // A smaller table may be said first.
    let first = block.first { $0 & 0xe0 != 0x20 } ?? 0
    let known = [200, 204, 206, 304, 400, 404, 500]
    return first >= 0x88 && first <= 0x8e ? known[Int(first) - 0x88] : 0
  }

  /// Receives until the stream is over, or the connection.
  @discardableResult
  func wait(for stream: UInt32, within deadline: Deadline = Deadline(.seconds(60))) throws -> Response {
    while responses[stream]?.isOver == false, try receive(within: deadline) != nil {}
    return responses[stream] ?? Response()
  }

  /// Receives until the connection's end.
  func waitForEnd(within deadline: Deadline = Deadline(.seconds(30))) throws {
    while try receive(within: deadline) != nil {}
  }
}
