import MeshPrimitives

@testable import MeshHTTP

/// A stream that writes down what it hears.
final class RecordedStream: HTTP2Stream {
  private let end: SessionEnd
  var trailers: [Field] = []

  init(_ end: SessionEnd) {
    self.end = end
    super.init(session: end.session)
    isClosed = false
  }

  override func take(head: HeaderMap, start: RequestStart?, status: Int, endStream: Bool) {
    end.note(self, "head \(start.map { "\($0.method) \($0.tunnel)" } ?? "\(status)") \(head.fields)", endStream)
    end.lastHead = head
  }

  override func take(_ bytes: Bytes, endStream: Bool) {
    end.received[identifier, default: []] += Array(bytes)
    if endStream { end.note(self, "end", false) }
  }

  override func take(trailers: HeaderMap) { end.note(self, "trailers \(trailers.fields)", false) }

  override func refuse(_ map: HeaderMap, _ error: HTTP2MessageError) {
    end.note(self, "refused \(error)", false)
    if error.status == nil { session.fail(self, error) }
  }

  override func ended(_ code: HTTP2ErrorCode, isRemote: Bool) {
    end.note(self, "ended \(code.rawValue)\(isRemote ? " by the peer" : "")", false)
  }

  override func outputDrained() { end.note(self, "drained", false) }
  override func outputComplete() { end.note(self, "sent", false) }
}

/// One end of a connection without a socket.
final class SessionEnd: HTTP2SessionOwner {
  let pool = BufferPool()
  let session: HTTP2Session
  var streams: [Int32: RecordedStream] = [:]
  /// What streams heard, in order.
  var log: [String] = []
  var received: [Int32: [UInt8]] = [:]
  var counts: [HTTP2Event: Int] = [:]
  var lastHead: HeaderMap?
  var goAways: [HTTP2ErrorCode] = []
  var pongs = 0

  init(
    isServer: Bool, options: HTTP2Options = HTTP2Options(), limits: HTTP1Limits = HTTP1Limits(), watermark: Int = 65536
  ) {
    session = HTTP2Session(
      isServer: isServer, options: options, limits: limits, watermark: watermark, pool: pool,
      headerMaps: HeaderMapPool())
    session.owner = self
    session.start()
  }

  func note(_ stream: HTTP2Stream, _ text: String, _ endStream: Bool) {
    log.append("\(stream.identifier) \(text)\(endStream ? " end" : "")")
  }

  /// What this end wants to send now.
  func take() -> [UInt8] {
    session.resumeStreams()
    session.pull(upTo: .max)
    let bytes = Array(session.output.bytes)
    session.output.clear(pool)
    return bytes
  }

  @discardableResult
  func give(_ bytes: [UInt8]) -> Bool {
    let goesOn = bytes.withUnsafeBufferPointer { session.receive($0) }
    session.resumeStreams()
    return goesOn
  }

  /// Sends a request.
  func request(_ fields: [(String, String)], endStream: Bool = true) -> RecordedStream {
    let map = Self.map(fields)
    let stream = RecordedStream(self)
    _ = session.send(request: map, of: stream, scheme: "http", endStream: endStream)
    streams[stream.identifier] = stream
    return stream
  }

  static func map(_ fields: [(String, String)]) -> HeaderMap {
    let map = HeaderMap()
    for (name, value) in fields {
      wire(name).withUnsafeBufferPointer { name in wire(value).withUnsafeBufferPointer { map.add(lowercased: name, $0) }
      }
    }
    return map
  }

  // MARK: HTTP2SessionOwner

  func makeStream() -> HTTP2Stream? {
    let stream = RecordedStream(self)
    made.append(stream)
    return stream
  }
  private var made: [RecordedStream] = []

  /// The stream with this number, of those that the peer has begun.
  func stream(_ identifier: Int32) -> RecordedStream? { made.last { $0.identifier == identifier } }

  func streamEnded(_ stream: HTTP2Stream) {}
  func receivedGoAway(lastStream: Int32, _ code: HTTP2ErrorCode) { goAways.append(code) }
  func receivedSettings() {}
  func receivedPong() { pongs += 1 }
  func headBegan() {}
  func headEnded() {}
  func sessionWantsFlush() {}
  func count(_ event: HTTP2Event, _ amount: Int) { counts[event, default: 0] += amount }
}

/// Lets two ends talk until neither has more to say.
func exchange(_ one: SessionEnd, _ other: SessionEnd, piece: Int = .max) {
  while true {
    let there = one.take()
    for start in stride(from: 0, to: there.count, by: min(piece, max(there.count, 1))) {
      other.give(Array(there[start..<min(start + min(piece, there.count), there.count)]))
    }
    let back = other.take()
    for start in stride(from: 0, to: back.count, by: min(piece, max(back.count, 1))) {
      one.give(Array(back[start..<min(start + min(piece, back.count), back.count)]))
    }
    if there.isEmpty, back.isEmpty { return }
  }
}

/// A frame of our own making.
func rawFrame(_ type: UInt8, _ flags: UInt8 = 0, _ stream: UInt32, _ payload: [UInt8] = []) -> [UInt8] {
  let n = payload.count
  return [UInt8(n >> 16), UInt8(n >> 8 & 255), UInt8(n & 255), type, flags]
    + [UInt8(stream >> 24), UInt8(stream >> 16 & 255), UInt8(stream >> 8 & 255), UInt8(stream & 255)] + payload
}

/// A header block without a dynamic table or Huffman codes: names and values as they are.
func rawBlock(_ fields: [(String, String)]) -> [UInt8] {
  func text(_ text: String) -> [UInt8] {
    let bytes = Array(text.utf8)
    guard bytes.count >= 127 else { return [UInt8(bytes.count)] + bytes }
    var rest = bytes.count - 127
    var length: [UInt8] = [127]
    while rest >= 128 {
      length.append(UInt8(rest & 127 | 128))
      rest >>= 7
    }
    return length + [UInt8(rest)] + bytes
  }
  return fields.flatMap { [0] + text($0.0) + text($0.1) }
}

let http2Preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
let plainGet: [(String, String)] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
