import MeshPrimitives
import Testing

@testable import MeshHTTP

@Suite struct HTTP2SessionTests {
  private func pair(
    server: HTTP2Options = HTTP2Options(), client: HTTP2Options = HTTP2Options()
  ) -> (server: SessionEnd, client: SessionEnd) {
    let ends = (SessionEnd(isServer: true, options: server), SessionEnd(isServer: false, options: client))
    exchange(ends.0, ends.1)
    return ends
  }

  private static let bytes = [UInt8]((0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7) })

  private func write(_ stream: HTTP2Stream, _ bytes: [UInt8], end: Bool) -> Bool {
    bytes.withUnsafeBufferPointer { stream.write($0, endStream: end) }
  }

  @Test(arguments: [Int.max, 1, 7, 1000])
  func anExchange(piece: Int) throws {
    let (server, client) = pair()
    let request = client.request(plainGet + [("x-a", "b")], endStream: false)
    _ = write(request, Array("body".utf8), end: true)
    exchange(client, server, piece: piece)
    let stream = try #require(server.stream(1))
    #expect(server.log == ["1 head get none [:method: GET, :scheme: http, :path: /, host: a, x-a: b]", "1 end"])
    #expect(server.received[1] == Array("body".utf8))

    server.session.send(informational: 103, SessionEnd.map([("link", "x")]), of: stream)
    server.session.send(status: 200, SessionEnd.map([("x-c", "d")]), of: stream, endStream: false)
    _ = write(stream, Self.bytes, end: false)
    stream.write(trailers: SessionEnd.map([("grpc-status", "0")]))
    exchange(client, server, piece: piece)
    #expect(
      client.log == [
        "1 sent", "1 head 103 [link: x]", "1 head 200 [x-c: d]",
        "1 trailers [grpc-status: 0]", "1 ended 0 by the peer",
      ])
    #expect(client.received[1] == Self.bytes)
    #expect(server.session.streams.isEmpty)
    #expect(client.session.streams.isEmpty)
    #expect(server.session.waitingOutput == 0)
  }

  @Test func whatIsNotTakenOnIsNotGranted() throws {
    var options = HTTP2Options()
    options.streamWindow = 65535
    options.connectionWindow = 1 << 20
    let (server, client) = pair(server: options)
    let request = client.request(plainGet, endStream: false)
    exchange(client, server)
    let stream = try #require(server.stream(1))
    stream.pause(true)
    _ = write(request, Self.bytes, end: true)
    exchange(client, server)
    #expect(server.received[1] == nil)
    #expect(request.output.count == Self.bytes.count - 65535)
    // Another stream is not held up by it.
    let other = client.request(plainGet, endStream: false)
    _ = write(other, Array(Self.bytes.prefix(30000)), end: true)
    exchange(client, server)
    #expect(server.received[3]?.count == 30000)

    stream.pause(false)
    exchange(client, server)
    #expect(server.received[1] == Self.bytes)
    #expect(server.log.contains("1 end"))
  }

  @Test func allStreamsTogetherHoldWhatTheConnectionMay() throws {
    var options = HTTP2Options()
    options.streamWindow = 65535
    options.connectionWindow = 65535
    let (server, client) = pair(server: options)
    for _ in 0..<4 {
      let request = client.request(plainGet, endStream: false)
      exchange(client, server)
      server.stream(request.identifier)?.pause(true)
      _ = write(request, Array(Self.bytes.prefix(60000)), end: true)
    }
    exchange(client, server)
    let taken = 4 * 60000 - client.streams.values.reduce(0) { $0 + $1.output.count }
    #expect(taken == 2 * 65535)
    for stream in [1, 3, 5, 7] { server.stream(Int32(stream))?.pause(false) }
    exchange(client, server)
    #expect(server.received.values.allSatisfy { $0.count == 60000 })
    #expect(server.received.count == 4)
  }

  @Test func aResponseThatHasArrivedIsDeliveredWhole() throws {
    let (server, client) = pair()
    let request = client.request(plainGet)
    request.pause(true)
    exchange(client, server)
    let stream = try #require(server.stream(1))
    server.session.send(status: 200, HeaderMap(), of: stream, endStream: false)
    _ = write(stream, Self.bytes, end: true)
    exchange(client, server)
    #expect(server.session.streams.isEmpty)
    #expect(client.received[1] == nil)
    #expect(!client.log.contains { $0.contains("ended") })
    request.pause(false)
    exchange(client, server)
    #expect(client.received[1] == Self.bytes)
    #expect(Array(client.log.suffix(2)) == ["1 end", "1 ended 0"])
  }

  @Test func writersAreStopped() throws {
    var options = HTTP2Options()
    options.streamWindow = 65535
    let (server, client) = pair(client: options)
    let request = client.request(plainGet)
    request.pause(true)
    exchange(client, server)
    let stream = try #require(server.stream(1))
    server.session.send(status: 200, HeaderMap(), of: stream, endStream: false)
    #expect(!write(stream, Array(Self.bytes.prefix(65535)), end: false))
    exchange(client, server)
    #expect(write(stream, Self.bytes, end: false))
    exchange(client, server)
    #expect(!server.log.contains("1 drained"))
    request.pause(false)
    exchange(client, server)
    #expect(server.log.contains("1 drained"))
  }

  @Test func resetsSayWhose() throws {
    let (server, client) = pair()
    let request = client.request(plainGet)
    exchange(client, server)
    client.session.reset(request, .cancel)
    exchange(client, server)
    #expect(server.log.last == "1 ended 8 by the peer")
    #expect(client.log.last == "1 ended 8")
    #expect(server.counts[.receivedReset] == 1)
    #expect(client.counts[.sentReset] == 1)
  }

  @Test func aRequestTooManyIsRefused() {
    var options = HTTP2Options()
    options.maximumStreams = 1
    let (server, client) = pair(server: options)
    #expect(client.session.peerMaximumStreams == 1)
    _ = client.request(plainGet)
    exchange(client, server)
    #expect(server.log.count == 1)
  }

  @Test func goAwayEndsWhatWasNotBegun() throws {
    let (server, client) = pair()
    _ = client.request(plainGet)
    exchange(client, server)
    server.session.announceShutdown()
    exchange(client, server)
    #expect(client.goAways == [.noError])
    #expect(!client.session.allowsRequests)
    server.session.goAway()
    exchange(client, server)
    let stream = try #require(server.stream(1))
    server.session.send(status: 200, HeaderMap(), of: stream, endStream: true)
    exchange(client, server)
    #expect(client.log.contains("1 head 200 [] end"))
    #expect(!client.session.wantsRead)
  }

  @Test func pings() {
    let (server, client) = pair()
    server.session.ping()
    exchange(client, server)
    #expect(server.pongs == 1)
  }

  // MARK: Raw bytes

  private func server(_ bytes: [UInt8], cuts: [Int] = [], options: HTTP2Options = HTTP2Options()) -> SessionEnd {
    let end = SessionEnd(isServer: true, options: options)
    var start = 0
    for cut in cuts + [bytes.count] where cut > start {
      guard end.give(Array(bytes[start..<cut])) else { break }
      start = cut
    }
    _ = end.take()
    return end
  }

  @Test func theVerdictDoesNotDependOnCuts() {
    let bytes =
      http2Preface + rawFrame(4, 0, 0) + rawFrame(1, 0, 1, Array(rawBlock(plainGet).prefix(10)))
      + rawFrame(9, 4, 1, Array(rawBlock(plainGet + [("x-a", "b"), ("content-length", "3")]).dropFirst(10)))
      + rawFrame(0, 0, 1, [1, 2]) + rawFrame(1, 5, 3, rawBlock(plainGet)) + rawFrame(0, 8, 1, [2, 3, 0, 0])
      + rawFrame(1, 5, 1, rawBlock([("x-trailer", "1")])) + rawFrame(3, 0, 3, [0, 0, 0, 8])
      + rawFrame(1, 5, 5, rawBlock([("X", "y")]))
    let whole = server(bytes)
    #expect(
      whole.log == [
        "1 head get none [:method: GET, :scheme: http, :path: /, host: a, x-a: b, content-length: 3]",
        "3 head get none [:method: GET, :scheme: http, :path: /, host: a] end", "1 trailers [x-trailer: 1]",
        "3 ended 8 by the peer", "5 refused invalidName", "5 ended 1",
      ])
    #expect(whole.received[1] == [1, 2, 3])
    for cut in 1..<bytes.count {
      let cut = server(bytes, cuts: [cut])
      #expect(cut.log == whole.log)
      #expect(cut.received == whole.received)
    }
    #expect(server(bytes, cuts: Array(1..<bytes.count)).log == whole.log)
  }

  private static let broken: [(bytes: [UInt8], says: String, isLength: Bool)] = {
    func head(_ fields: [(String, String)], end: Bool = false) -> [UInt8] {
      rawFrame(1, end ? 5 : 4, 1, rawBlock(fields))
    }
    var cases: [(bytes: [UInt8], says: String, isLength: Bool)] = []
    cases.append((head(plainGet + [("content-length", "3")]) + rawFrame(0, 1, 1, [1, 2]), "1 ended 1", true))
    cases.append((head(plainGet + [("content-length", "1")]) + rawFrame(0, 0, 1, [1, 2]), "1 ended 1", true))
    cases.append((head(plainGet + [("content-length", "1")], end: true), "1 refused contentLengthMismatch", true))
    cases.append((head(plainGet) + head([("x", "y")]), "1 refused invalidSequence", false))
    cases.append((head(plainGet) + head([(":path", "y")], end: true), "1 refused unknownPseudoHeader", false))
    return cases
  }()

  @Test(arguments: broken)
  private func brokenMessages(bytes: [UInt8], says: String, isLength: Bool) {
    var options = HTTP2Options()
    let strict = server(http2Preface + rawFrame(4, 0, 0) + bytes, options: options)
    #expect(strict.log.contains(says))
    // A body of another length concerns nobody else.
    #expect((strict.session.failure != nil) == !isLength)
    options.endsStreamOnly = true
    let lenient = server(http2Preface + rawFrame(4, 0, 0) + bytes, options: options)
    #expect(lenient.log.contains(says))
    #expect(lenient.session.failure == nil)
    #expect(lenient.session.wantsRead)
    #expect(lenient.counts[.sentReset] == 1)
  }

  private struct Flood: CustomStringConvertible {
    var description: String
    var event: HTTP2Event?
    var bytes: [UInt8]

    init(_ description: String, _ event: HTTP2Event?, _ frame: [UInt8], times: Int) {
      self.description = description
      self.event = event
      bytes = http2Preface + rawFrame(4, 0, 0)
      for _ in 0..<times { bytes += frame }
    }
  }

  private static let floods: [Flood] = [
    Flood("empty DATA", .emptyFramesFlood, rawFrame(0, 0, 1), times: 3),
    Flood("PRIORITY", .priorityFlood, rawFrame(2, 0, 1, [0, 0, 0, 0, 1]), times: 101),
    Flood("WINDOW_UPDATE", .windowUpdateFlood, rawFrame(8, 0, 0, [0, 0, 0, 1]), times: 9),
    Flood("PING", .outboundControlFlood, rawFrame(6, 0, 0, [0, 0, 0, 0, 0, 0, 0, 0]), times: 5000),
    Flood("SETTINGS", .outboundControlFlood, rawFrame(4, 0, 0), times: 5000),
    Flood(
      "CONTINUATION", .continuationFlood,
      rawFrame(1, 0, 1, rawBlock(plainGet)) + Array([[UInt8]](repeating: rawFrame(9, 0, 1, [0x88]), count: 9).joined()),
      times: 1),
    Flood("an unknown frame in the middle of a head", nil, rawFrame(1, 0, 1) + rawFrame(77, 0, 1), times: 1),
  ]

  @Test(arguments: floods)
  private func floodsEndTheConnection(_ flood: Flood) {
    let bytes = flood.bytes
    let end = SessionEnd(isServer: true)
    var goesOn = true
    for start in stride(from: 0, to: bytes.count, by: 16384) where goesOn {
      goesOn = end.give(Array(bytes[start..<min(start + 16384, bytes.count)]))
    }
    _ = end.take()
    #expect(!end.session.wantsRead)
    if let event = flood.event { #expect(end.counts[event] == 1) }
  }

  @Test func framesThatNobodyReadsAreBounded() {
    var options = HTTP2Options()
    options.maximumOutboundFrames = 100
    let end = SessionEnd(isServer: true, options: options)
    end.give(http2Preface + rawFrame(4, 0, 0))
    for stream in 0..<101 {
      end.give(rawFrame(1, 5, UInt32(stream * 2 + 1), rawBlock(plainGet)))
      if let stream = end.stream(Int32(stream * 2 + 1)) {
        end.session.send(status: 204, HeaderMap(), of: stream, endStream: true)
      }
    }
    #expect(end.session.failure == nil)
    end.session.outputBlocked()
    #expect(end.session.failure != nil)
    #expect(end.counts[.outboundFlood] == 1)
  }

  @Test func smallHeadsThatGrowAreBounded() {
    // One entry of 4000 bytes in the table, then references of one byte each.
    let large = [UInt8(0x40)] + rawBlock([("x", String(repeating: "v", count: 3900))]).dropFirst()
    var bytes = rawFrame(1, 0, 1, rawBlock(plainGet) + large)
    bytes += rawFrame(9, 4, 1, [UInt8](repeating: 0xbe, count: 16000))
    let end = server(http2Preface + rawFrame(4, 0, 0) + bytes)
    #expect(end.log == ["1 refused tooManyFields"] || end.log == ["1 refused headTooLarge"])
    #expect(end.counts[.headerOverflow] == 1)
    #expect(end.session.failure == nil)
  }
}
