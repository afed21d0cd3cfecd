import Glibc
import MeshHTTP
import MeshIO
import MeshPrimitives

/// A connection of HTTP/2 that serves whatever comes: nothing may stop it but its own rules, every request is one that
/// HTTP/1.1 could carry, every stream ends once, and what is sent is frames.
///
/// The input: a byte that says how requests are answered, one that says in which pieces the rest arrives, and what a
/// client sends behind its preface and its SETTINGS.
@Sendable func checkHTTP2Server(_ bytes: [UInt8]) -> Violation? {
  guard bytes.count > 2 else { return nil }
  guard let site = try? FuzzedSite(answer: bytes[0]) else { return "no connection" }
  let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
  site.play(preface + bytes[2...], piece: bytes[1] == 0 ? .max : Int(bytes[1]))
  return site.violation
}

/// A connection over a pair of sockets, and who takes its requests.
private final class FuzzedSite: ServerConnectionHandler {
  enum Answer: UInt8, CaseIterable { case atOnce, atEnd, echo, never, paused, reset, empty, trailers }

  let answer: Answer
  let loop: EventLoop
  private let headerMaps = HeaderMapPool()
  private var connection: HTTP2ServerConnection?
  private let client: Int32
  private(set) var violation: Violation?
  private var streams = 0
  private var ends = 0
  private var sent: [UInt8] = []
  private var requests: [FuzzedRequest] = []

  init(answer: UInt8) throws {
    self.answer = Answer.allCases[Int(answer) % Answer.allCases.count]
    loop = try EventLoop()
    var pair: [Int32] = [-1, -1]
    _ = socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0, &pair)
    client = pair[1]
    var settings = ServerConnectionSettings()
    settings.limits = tightLimits
    settings.highWatermark = 4096
    settings.delayedCloseTimeout = nil
    settings.http2.maximumStreams = 8
    settings.http2.streamWindow = 65535
    settings.http2.connectionWindow = 65535
    settings.http2.allowsExtendedConnect = true
    settings.http2.endsStreamOnly = answer & 0x80 != 0
    let address = SocketAddress(IPAddress(v4: 0x7f00_0001), port: 1)
    connection = HTTP2ServerConnection(
      loop: loop, transport: Transport(descriptor: pair[0], isWritable: true), settings: settings,
      headerMaps: headerMaps, handler: self,
      info: ConnectionInfo(remoteAddress: address, localAddress: address, identifier: 1))
    try connection?.start()
  }

  func fail(_ text: Violation) { if violation == nil { violation = text } }

  func play(_ bytes: [UInt8], piece: Int) {
    var rest = bytes[...]
    while !rest.isEmpty, let connection, !connection.isClosed {
      let part = Array(rest.prefix(piece))
      let count = write(client, part, part.count)
      if count > 0 { rest = rest.dropFirst(count) }
      turn()
      if count <= 0 { break }
    }
    for request in requests { request.resume() }
    for _ in 0..<3 { turn() }
    if let connection, !connection.isClosed { connection.close(.local) }
    for _ in 0..<2 { turn() }
    close(client)
    if ends != 1 { fail("the connection has ended \(ends) times") }
    if streams != 0 { fail("\(streams) streams are left") }
    for request in requests where !request.isOver { fail("a request has not ended") }
    checkFrames()
    connection = nil
  }

  private func turn() {
    loop.turn()
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = read(client, &buffer, buffer.count)
      guard count > 0 else { break }
      sent += buffer[..<count]
    }
    loop.turn()
  }

  /// What the client gets is frames of the sizes that it allows.
  private func checkFrames() {
    var rest = sent[...]
    while rest.count >= 9 {
      let header = Array(rest.prefix(9))
      let length = Int(header[0]) << 16 | Int(header[1]) << 8 | Int(header[2])
      if length > 16384 { return fail("a frame of \(length) bytes") }
      if header[3] > 9 { return fail("a frame of type \(header[3])") }
      rest = rest.dropFirst(9 + length)
    }
  }

  // MARK: ServerConnectionHandler

  func openStream(
    _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, _ start: RequestStart
  ) {
    if let text = check(headers, start) { fail(text) }
    let request = FuzzedRequest(self, sender)
    requests.append(request)
    sender.attach(request)
    request.begin(start)
    headerMaps.recycle(headers)
  }

  /// Sent on by HTTP/1.1 it is one request, and this one.
  private func check(_ headers: HeaderMap, _ start: RequestStart) -> Violation? {
    if let text = headers.violation(mayUpgrade: start.tunnel == .upgrade) { return text }
    let length = headers.contentLength.map { BodyFraming.length($0) }
    let framing: BodyFraming = start.endStream ? .none : length ?? .chunked
    let sent = encoded {
      if start.tunnel == .none {
        HTTP1Encoder.requestHead(headers, framing: framing, into: &$0, pool: $1)
      } else {
        HTTP1Encoder.tunnelRequestHead(headers, start.tunnel, into: &$0, pool: $1)
      }
    }
    var limits = HTTP1Limits()
    limits.maxFields = 200
    var parser = HTTP1RequestParser(limits: limits)
    var head = HTTP1RequestHead()
    let map = HeaderMap()
    guard case .complete = withExactBytes(sent, { parser.parse($0, into: map, head: &head) }) else {
      return "HTTP/1.1 refuses \(String(decoding: sent, as: UTF8.self))"
    }
    if head.headLength != sent.count { return "two requests: \(String(decoding: sent, as: UTF8.self))" }
    if head.method != start.method { return "method \(head.method) from \(start.method)" }
    if head.tunnel != start.tunnel { return "\(head.tunnel) from \(start.tunnel)" }
    return nil
  }

  func refuse(
    _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, status: Int,
    _ details: StaticString
  ) {
    headers.removeAll()
    headers.set(.contentLength, number: 0)
    sender.sendHeaders(status: status, headers, endStream: true)
    headerMaps.recycle(headers)
  }

  func fail(
    _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, _ details: StaticString
  ) { headerMaps.recycle(headers) }

  func headersTimedOut(_ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap) {
    headerMaps.recycle(headers)
  }

  func streamsChanged(by change: Int) {
    streams += change
    if streams < 0 || streams > 8 { fail("\(streams) streams at once") }
  }

  func connectionClosed(_ connection: any ServerConnection, _ reason: ServerCloseReason) { ends += 1 }
  func reached(_ limit: ServerConnectionLimit) {}
  func connectionTransferred(received: Int, sent: Int) {}
}

/// One request: checks that calls come in order, and answers.
private final class FuzzedRequest: RequestReceiver {
  private unowned let site: FuzzedSite
  private let sender: any ResponseSender
  private var isEnded = false
  private var isAnswered = false
  private var isReset = false
  private var isPaused = false
  private var isBlocked = false
  private var hasHead = false
  private var isTunnel = false

  /// Nothing more may be heard.
  var isOver: Bool { isReset || (isAnswered && (isEnded || !isTunnel)) || site.answer == .never }

  init(_ site: FuzzedSite, _ sender: any ResponseSender) {
    self.site = site
    self.sender = sender
  }

  func begin(_ start: RequestStart) {
    if start.endStream { isEnded = true }
    isTunnel = start.tunnel == .connect
    switch site.answer {
    case .atOnce: respond(Array(repeating: 0x61, count: 3000))
    case .empty: respond([])
    case .paused:
      isPaused = true
      sender.pauseRequest(true)
    case .reset:
      isAnswered = true
      sender.resetStream()
    case .echo: head(endStream: false)
    default: break
    }
    if start.endStream { complete() }
  }

  /// The end of a pause, and of waiting.
  func resume() {
    guard isPaused else { return }
    isPaused = false
    if !isReset, !isAnswered { sender.pauseRequest(false) }
  }

  private func head(endStream: Bool) {
    guard !hasHead else { return }
    hasHead = true
    let headers = HeaderMap()
    headers.set(.contentType, "text/plain")
    sender.sendHeaders(status: 200, headers, endStream: endStream)
  }

  private func respond(_ body: [UInt8]) {
    guard !isAnswered, !isReset else { return }
    isAnswered = true
    head(endStream: body.isEmpty)
    if !body.isEmpty { body.withUnsafeBufferPointer { sender.sendData($0, endStream: true) } }
  }

  private func complete() {
    isEnded = true
    switch site.answer {
    case .never: break
    case .trailers:
      guard !isAnswered, !isReset else { return }
      head(endStream: false)
      isAnswered = true
      let trailers = HeaderMap()
      trailers.set(.via, "1.1 a")
      sender.sendTrailers(trailers)
    default:
      guard !isAnswered, !isReset else { return }
      head(endStream: false)
      isAnswered = true
      sender.sendData(Bytes(start: nil, count: 0), endStream: true)
    }
  }

  private func hear(_ what: String) {
    if isReset { site.fail("\(what) after a reset") }
    if isEnded { site.fail("\(what) after the end") }
    if isPaused { site.fail("\(what) in a pause") }
  }

  func receiveData(_ bytes: Bytes, endStream: Bool) {
    hear("data")
    if site.answer == .echo, !isAnswered, bytes.count > 0 { sender.sendData(bytes, endStream: false) }
    if endStream { complete() }
  }

  func receiveTrailers(_ trailers: HeaderMap) {
    hear("trailers")
    for field in trailers.fields where field.name.first == 0x3a || [.host, .contentLength].contains(field.id) {
      site.fail("\(field.id) is a trailer")
    }
    complete()
  }

  func requestMalformed(status: Int, _ details: StaticString) {
    isReset = true
    sender.resetStream()
  }

  func requestReset(_ reason: StreamResetReason) {
    if isReset { site.fail("two resets") }
    // A tunnel's other direction may go on.
    if isAnswered, isEnded || !isTunnel { site.fail("a reset after the answer") }
    isReset = true
  }

  func responseBlocked() {
    if isBlocked { site.fail("blocked twice") }
    isBlocked = true
  }

  func responseUnblocked() {
    if !isBlocked { site.fail("unblocked twice") }
    isBlocked = false
  }
}
