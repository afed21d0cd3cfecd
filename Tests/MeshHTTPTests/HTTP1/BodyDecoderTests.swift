import MeshPrimitives
import Testing

@testable import MeshHTTP

/// What came out of a decoder.
struct DecodedBody: Equatable {
  var data: [UInt8] = []
  var trailers: [Field]?
  var end = End.needMore
  /// Bytes not consumed.
  var rest = 0

  enum End: Equatable {
    case needMore, end
    case invalid(HTTP1Error)
  }
}

/// Feeds `pieces` to a decoder.
func decode(
  _ pieces: [ArraySlice<UInt8>], framing: BodyFraming, limits: HTTP1Limits = HTTP1Limits()
) -> DecodedBody {
  var decoder = HTTP1BodyDecoder(framing: framing, limits: limits)
  let map = HeaderMap()
  map.set(.host, "left over from the last message")
  var body = DecodedBody()
  for (index, piece) in pieces.enumerated() {
    withExactBytes(piece) { bytes in
      var input = bytes
      var events = 0
      while true {
        let before = input.count
        events += 1
        #expect(events <= before * 2 + 16, "a decoder that never ends")
        switch decoder.next(&input, trailers: { map }) {
        case .data(let data):
          #expect(data.count > 0)
          body.data += Array(data)
          continue
        case .needMore:
          #expect(input.count == 0)
          #expect(!decoder.isDone)
        case .end:
          #expect(decoder.isDone)
          body.end = .end
        case .trailers:
          #expect(decoder.isDone)
          body.end = .end
          body.trailers = map.fields
        case .invalid(let error): body.end = .invalid(error)
        }
        break
      }
      body.rest = input.count
    }
    if body.end != .needMore {
      body.rest += pieces[(index + 1)...].reduce(0) { $0 + $1.count }
      break
    }
  }
  return body
}

func decode(_ text: String, framing: BodyFraming = .chunked, limits: HTTP1Limits = HTTP1Limits()) -> DecodedBody {
  decode([wire(text)[...]], framing: framing, limits: limits)
}

@Suite struct BodyDecoderTests {
  @Test func withoutBody() {
    for framing in [BodyFraming.none, .length(0)] {
      #expect(decode("GET / HTTP/1.1", framing: framing) == DecodedBody(end: .end, rest: 14))
      var decoder = HTTP1BodyDecoder(framing: framing)
      #expect(decoder.isDone)
      #expect(decoder.connectionClosed() == .complete)
    }
  }

  @Test func length() {
    #expect(decode("hello", framing: .length(5)) == DecodedBody(data: wire("hello"), end: .end))
    #expect(decode("helloGET", framing: .length(5)) == DecodedBody(data: wire("hello"), end: .end, rest: 3))
    #expect(decode("hell", framing: .length(5)) == DecodedBody(data: wire("hell")))
    let bytes = wire("hello+")
    #expect(decode(bytes.indices.map { bytes[$0...$0] }, framing: .length(5)).data == wire("hello"))
    #expect(decode("hello", framing: .length(UInt64(Int64.max))) == DecodedBody(data: wire("hello")))
  }

  @Test func lengthIsOverWithItsLastByte() {
    var decoder = HTTP1BodyDecoder(framing: .length(2))
    let bytes = wire("ab")
    withExactBytes(bytes) { bytes in
      var input = bytes.slice(0, 1)
      guard case .data = decoder.next(&input, trailers: HeaderMap.init) else {
        Issue.record("no data")
        return
      }
      #expect(!decoder.isDone)
      #expect(decoder.connectionClosed() == .truncated)
      input = bytes.slice(1, 1)
      guard case .data = decoder.next(&input, trailers: HeaderMap.init) else {
        Issue.record("no data")
        return
      }
      #expect(decoder.isDone)
      #expect(decoder.connectionClosed() == .complete)
    }
  }

  @Test func untilClose() {
    #expect(decode("hello", framing: .untilClose) == DecodedBody(data: wire("hello")))
    var decoder = HTTP1BodyDecoder(framing: .untilClose)
    #expect(!decoder.isDone)
    #expect(decoder.connectionClosed() == .complete)
    #expect(decoder.isDone)
  }

  static let accepted: [(String, String, [Field]?)] = [
    ("0\r\n\r\n", "", nil),
    ("5\r\nhello\r\n0\r\n\r\n", "hello", nil),
    ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", nil),
    ("a\r\n0123456789\r\nA\r\n0123456789\r\n00\r\n\r\n", "01234567890123456789", nil),
    ("0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", "hello", nil),
    ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", nil),
    // Extensions (RFC 9112 §7.1.1).
    ("5;a\r\nhello\r\n0;b\r\n\r\n", "hello", nil),
    ("5 ; a = b\t;c=\"d;\\\"\\\\ \t\u{e9}\" ;e\r\nhello\r\n0\r\n\r\n", "hello", nil),
    // Trailers (RFC 9112 §7.1.2).
    ("5\r\nhello\r\n0\r\nX-Sum: 1\r\nY:2 \r\n\r\n", "hello", [Field("x-sum", "1"), Field("y", "2")]),
    ("0\r\nGrpc-Status: 0\r\nGrpc-Message:\r\n\r\n", "", [Field("grpc-status", "0"), Field("grpc-message", "")]),
    // Dropped (RFC 9110 §6.5.1).
    ("0\r\nContent-Type: x\r\nX: y\r\nAuthorization: z\r\nSet-Cookie: a\r\n\r\n", "", [Field("x", "y")]),
    (
      "0\r\nconnection: x\r\nx-envoy-internal: true\r\nx-forwarded-for: 1\r\nX-Forwarded-Unheard: 2\r\nTE: x\r\n\r\n",
      "",
      []
    ),
    (
      "0\r\nCache-Control: x\r\nRange: x\r\nContent-Encoding: x\r\nWWW-Authenticate: x\r\nIf-None-Match: x\r\n"
        + "Forwarded: x\r\nAge: 1\r\nVary: a\r\nMax-Forwards: 1\r\nProxy-Authorization: x\r\nETag: e\r\n\r\n",
      "", [Field("etag", "e")]
    ),
  ]

  @Test(arguments: accepted)
  func accepts(_ text: String, _ data: String, _ trailers: [Field]?) {
    let bytes = wire(text)
    let expected = DecodedBody(data: wire(data), trailers: trailers, end: .end)
    #expect(decode([bytes[...]], framing: .chunked) == expected)
    #expect(decode(bytes.indices.map { bytes[$0...$0] }, framing: .chunked) == expected)
    for count in 1..<bytes.count {
      #expect(decode([bytes[..<count], bytes[count...]], framing: .chunked) == expected)
      let truncated = decode([bytes[..<count]], framing: .chunked)
      #expect(truncated.end == .needMore)
    }
    let next = bytes + wire("GET / HTTP/1.1\r\n\r\n")
    #expect(decode([next[...]], framing: .chunked).rest == 18)
  }

  static let refusals: [(HTTP1Error, String)] = [
    (.invalidChunkSize, "\r\n"), (.invalidChunkSize, "x\r\n"), (.invalidChunkSize, "-1\r\n"),
    (.invalidChunkSize, "+1\r\n"), (.invalidChunkSize, " 5\r\n"), (.invalidChunkSize, "0x5\r\n"),
    (.invalidChunkSize, "5g\r\n"), (.invalidChunkSize, "5,\r\n"), (.invalidChunkSize, ";a\r\n"),
    (.invalidChunkSize, "5\u{00}\r\n"), (.invalidChunkSize, "\n"), (.invalidChunkSize, "5\u{0b}\r\n"),
    (.invalidChunkSize, "5\r\nhello\r\n\r\n"), (.invalidChunkSize, "1_0\r\n"), (.invalidChunkSize, "5_\r\n"),
    (.bareLF, "5\nhello"),
    (.invalidChunkEnd, "5\rhello"), (.invalidChunkEnd, "5\r\rhello"),
    (.invalidChunkEnd, "5\r\nhelloX"), (.invalidChunkEnd, "5\r\nhello\n"), (.invalidChunkEnd, "5\r\nhello\r\r"),
    (.invalidChunkEnd, "5\r\nhello0\r\n\r\n"), (.invalidChunkEnd, "5\r\nhello\rX"),
    (.chunkSizeTooLarge, "8000000000000000\r\n"), (.chunkSizeTooLarge, "ffffffffffffffff\r\n"),
    (.chunkSizeTooLarge, "00000000000000005\r\n"), (.chunkSizeTooLarge, "10000000000000000\r\n"),
    (.chunkSizeTooLarge, "fffffffffffffffff\r\n"),
    (.invalidChunkExtension, "5 \r\n"), (.invalidChunkExtension, "5\t\r\n"), (.invalidChunkExtension, "5 a\r\n"),
    (.invalidChunkExtension, "5;\r\n"), (.invalidChunkExtension, "5;;a\r\n"), (.invalidChunkExtension, "5;a=\r\n"),
    (.invalidChunkExtension, "5;a=\"b\r\n"), (.invalidChunkExtension, "5;a=\"\u{00}\"\r\n"),
    (.invalidChunkExtension, "5;a=\"\\\n"), (.invalidChunkExtension, "5;a\nhello"),
    (.invalidChunkExtension, "5;a=b c\r\n"), (.invalidChunkExtension, "5;a=\"b\"c\r\n"),
    (.invalidChunkExtension, "5;a b\r\n"), (.invalidChunkExtension, "5;\u{e9}\r\n"),
    (.invalidChunkExtension, "5;a=b=c\r\n"), (.invalidChunkExtension, "5;a\u{7f}\r\n"),
    (.invalidChunkExtension, "5;a \r\n"), (.invalidChunkExtension, "5;a=\"b\"\u{0b}\r\n"),
    (.bareLF, "0\r\n\n"), (.bareCR, "0\r\n\rX"), (.bareLF, "0\r\nX: y\n\r\n"), (.bareCR, "0\r\nX: a\rb\r\n"),
    (.whitespaceBeforeFirstField, "0\r\n X: y\r\n\r\n"), (.obsoleteLineFolding, "0\r\nX: y\r\n z\r\n\r\n"),
    (.emptyFieldName, "0\r\n: y\r\n\r\n"), (.invalidFieldName, "0\r\nX(: y\r\n\r\n"),
    (.spaceBeforeColon, "0\r\nX : y\r\n\r\n"), (.missingColon, "0\r\nX\r\n\r\n"),
    (.invalidFieldValue, "0\r\nX: \u{00}\r\n\r\n"),
    (.forbiddenTrailer, "0\r\nContent-Length: 5\r\n\r\n"),
    (.forbiddenTrailer, "0\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (.forbiddenTrailer, "0\r\nHost: a\r\n\r\n"),
    (.missingColon, "0\r\nGET / HTTP/1.1\r\n\r\n"),
  ]

  @Test(arguments: refusals)
  func refuses(_ error: HTTP1Error, _ text: String) {
    let bytes = wire(text)
    let whole = decode([bytes[...]], framing: .chunked)
    // A request line among trailers breaks whichever rule comes first.
    let expected = text.contains("GET /") ? HTTP1Error.spaceBeforeColon : error
    #expect(whole.end == .invalid(expected))
    let split = decode(bytes.indices.map { bytes[$0...$0] }, framing: .chunked)
    #expect(split.end == whole.end)
    #expect(split.data == whole.data)
  }

  @Test func refusalIsFinal() {
    var decoder = HTTP1BodyDecoder(framing: .chunked)
    withExactBytes(wire("x0\r\n\r\n")) { bytes in
      var input = bytes
      for _ in 0..<3 {
        guard case .invalid(.invalidChunkSize) = decoder.next(&input, trailers: HeaderMap.init) else {
          Issue.record("accepted")
          return
        }
      }
    }
    #expect(!decoder.isDone)
    #expect(decoder.connectionClosed() == .truncated)
  }

  @Test func extensionLimits() {
    var limits = HTTP1Limits()
    limits.maxChunkExtensionBytes = 10
    limits.maxMessageExtensionBytes = 25
    let ten = "1;" + String(repeating: "a", count: 9) + "\r\nx\r\n"
    let eleven = "1;" + String(repeating: "a", count: 10) + "\r\nx\r\n"
    #expect(decode(ten + ten + "1;abcd\r\nx\r\n0\r\n\r\n", limits: limits).end == .end)
    #expect(decode(eleven, limits: limits).end == .invalid(.chunkExtensionsTooLarge))
    #expect(decode(ten + ten + "1;abcde\r\nx\r\n0\r\n\r\n", limits: limits).end == .invalid(.chunkExtensionsTooLarge))
    let byDefault = "1;" + String(repeating: "a", count: 4095) + "\r\nx\r\n"
    #expect(decode(byDefault + byDefault + byDefault + byDefault + "0\r\n\r\n").end == .end)
    #expect(
      decode(byDefault + byDefault + byDefault + byDefault + "0;a\r\n\r\n").end == .invalid(.chunkExtensionsTooLarge))
  }

  @Test func trailerLimits() {
    var limits = HTTP1Limits()
    limits.maxTrailerBytes = 12
    limits.maxTrailerFields = 2
    #expect(decode("0\r\nA: b\r\nC: d\r\n\r\n", limits: limits).end == .end)
    #expect(decode("0\r\nA: b\r\nC: de\r\n\r\n", limits: limits).end == .invalid(.trailersTooLarge))
    #expect(decode("0\r\nA: bcdefghijk", limits: limits).end == .invalid(.trailersTooLarge))
    #expect(decode("0\r\nA:\r\nC:\r\nE:\r\n\r\n", limits: limits).end == .invalid(.tooManyTrailers))
    let many = String(repeating: "A: b\r\n", count: 100)
    #expect(decode("0\r\n" + many + "\r\n").trailers?.count == 100)
    #expect(decode("0\r\n" + many + "A: b\r\n\r\n").end == .invalid(.tooManyTrailers))
    let large = "A: " + String(repeating: "x", count: 60 * 1024 - 5) + "\r\n"
    #expect(decode("0\r\n" + large + "\r\n").trailers?.count == 1)
    #expect(decode("0\r\nB" + large + "\r\n").end == .invalid(.trailersTooLarge))
  }

  @Test func closedWithinAChunkedBody() {
    let bytes = wire("5\r\nhello\r\n0\r\nX: y\r\n\r\n")
    for count in 0...bytes.count {
      var decoder = HTTP1BodyDecoder(framing: .chunked)
      withExactBytes(bytes[..<count]) { bytes in
        var input = bytes
        let map = HeaderMap()
        while case .data = decoder.next(&input, trailers: { map }) {}
      }
      #expect(decoder.connectionClosed() == (count == bytes.count ? .complete : .truncated))
    }
  }

  /// The map is asked for only when there are trailers.
  @Test func noMapWithoutTrailers() {
    var decoder = HTTP1BodyDecoder(framing: .chunked)
    var asked = 0
    withExactBytes(wire("1\r\nx\r\n0\r\n\r\n")) { bytes in
      var input = bytes
      while case .data = decoder.next(
        &input,
        trailers: {
          asked += 1
          return HeaderMap()
        })
      {}
    }
    #expect(decoder.isDone)
    #expect(asked == 0)
  }
}
