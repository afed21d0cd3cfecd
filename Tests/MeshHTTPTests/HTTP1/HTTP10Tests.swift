import MeshPrimitives
import Testing

@testable import MeshHTTP

@Suite("HTTP/1.0")
struct HTTP10Tests {
  private func parse(_ bytes: some Collection<UInt8>) -> RequestOutcome {
    var parser = HTTP1RequestParser(acceptsHTTP10: true)
    return parseRequest(bytes, &parser, HeaderMap())
  }

  static let accepted: [AcceptedRequest] = [
    .init("GET / HTTP/1.0\r\n\r\n", [(":method", "GET"), (":path", "/")]),
    .init("X / HTTP/1.0\r\n\r\n", [(":method", "X"), (":path", "/")]) { $0.method = .other },
    .init("GET / HTTP/1.0\r\nHost: a\r\n\r\n", [(":method", "GET"), (":path", "/"), ("host", "a")]),
    .init(
      "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n",
      [(":method", "GET"), (":path", "/"), ("host", "a")]
    ) { $0.keepAlive = true },
    .init(
      "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n",
      [(":method", "GET"), (":path", "/"), ("host", "a")]),
    .init(
      "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
      [(":method", "POST"), (":path", "/"), ("host", "a"), ("content-length", "3")]
    ) {
      $0.method = .post
      $0.framing = .length(3)
    },
    .init("GET http://b/x HTTP/1.0\r\n\r\n", [(":method", "GET"), (":scheme", "http"), (":path", "/x"), ("host", "b")])
    {
      $0.targetForm = .absolute
    },
    .init(
      "GET http://b/x HTTP/1.0\r\nHost: c\r\n\r\n",
      [(":method", "GET"), (":scheme", "http"), (":path", "/x"), ("host", "b")]
    ) { $0.targetForm = .absolute },
    // HTTP/1.0 has neither expectations nor upgrades (RFC 9110 §7.8, §10.1.1).
    .init(
      "POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
      [(":method", "POST"), (":path", "/"), ("host", "a"), ("content-length", "1")]
    ) {
      $0.method = .post
      $0.framing = .length(1)
    },
    .init(
      "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade, keep-alive\r\nUpgrade: x\r\n\r\n",
      [(":method", "GET"), (":path", "/"), ("host", "a")]
    ) { $0.keepAlive = true },
  ]

  @Test("requests that are accepted, in one piece and byte by byte", arguments: accepted)
  func accepts(_ request: AcceptedRequest) {
    var head = HTTP1RequestHead()
    head.method = .get
    head.minorVersion = 0
    head.keepAlive = false
    head.headLength = request.text.utf8.count
    head.fieldBytes = fieldBytes(Array(request.text.utf8))
    request.change(&head)
    let expected = RequestOutcome.complete(head, request.fields)
    #expect(parse(wire(request.text)) == expected)
    checkSplits(wire(request.text), whole: expected) { parse($0) }
  }

  @Test(
    "requests that are refused",
    arguments: [
      ("GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP1Error.transferEncodingInHTTP10),
      ("GET / HTTP/1.0\r\nHost: \r\n\r\n", .invalidHost),
      ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", .duplicateHost),
      ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", .unsupportedVersion),
      ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", .unsupportedVersion),
      ("GET /\r\n\r\n\r\n\r\n\r\n", .malformedVersion), ("GET / HTTP/1.1\r\nX: y\r\n\r\n", .missingHost),
      ("GET / HTTP/1.0\nHost: a\r\n\r\n", .bareLF),
    ])
  func refuses(_ text: String, _ error: HTTP1Error) {
    let expected = RequestOutcome.invalid(error)
    #expect(parse(wire(text)) == expected)
    checkSplits(wire(text), whole: expected) { parse($0) }
  }

  @Test("responses are HTTP/1.0 and say what becomes of the connection")
  func responses() {
    var style = HTTP1HeadStyle()
    style.isHTTP10 = true
    let map = HeaderMap()
    map.set(.server, "s")
    func head(_ status: Int, _ framing: BodyFraming, close: Bool) -> String {
      encoded {
        HTTP1Encoder.responseHead(
          status: status, map, framing: framing, close: close, style: style, into: &$0, pool: $1)
      }
    }
    #expect(
      head(200, .length(2), close: false)
        == "HTTP/1.0 200 OK\r\nserver: s\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\n")
    #expect(head(404, .untilClose, close: true) == "HTTP/1.0 404 Not Found\r\nserver: s\r\nconnection: close\r\n\r\n")
    map.set(.connection, "foo")
    #expect(
      head(200, .length(2), close: false)
        == "HTTP/1.0 200 OK\r\nserver: s\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\n")
  }
}
