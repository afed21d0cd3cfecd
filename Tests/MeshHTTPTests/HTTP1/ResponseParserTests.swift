import MeshPrimitives
import Testing

@testable import MeshHTTP

/// A response that is refused.
struct ResponseRefusal: Sendable, CustomTestStringConvertible {
  var error: HTTP1Error
  var text: String

  init(_ error: HTTP1Error, _ text: String) {
    self.error = error
    self.text = text
  }

  var testDescription: String { "\(error): \(text.debugDescription.prefix(80))" }
}

/// A response that is accepted, and what is made of it.
struct AcceptedResponse: Sendable, CustomTestStringConvertible {
  var text: String
  var method: HTTPMethod
  var fields: [Field]
  var change: @Sendable (inout HTTP1ResponseHead) -> Void

  /// The head is what `change` makes of a 200 with neither body nor anything else.
  init(
    _ text: String, to method: HTTPMethod = .get, _ fields: [(String, String)],
    _ change: @escaping @Sendable (inout HTTP1ResponseHead) -> Void
  ) {
    self.text = text
    self.method = method
    self.fields = fields.map { Field($0.0, $0.1) }
    self.change = change
  }

  var testDescription: String { "\(text.debugDescription.prefix(100))" }
}

private let ok = "HTTP/1.1 200 OK\r\n"

@Suite struct ResponseParserTests {
  static let refusals: [ResponseRefusal] = [
    // RFC 9112 §4
    .init(.invalidStatusLine, "\r\nHTTP/1.1 200 OK\r\n\r\n"),
    .init(.invalidStatusLine, "http/1.1 200 OK\r\n\r\n"),
    .init(.invalidStatusLine, "HTTP/1.2 200 OK\r\n\r\n"),
    .init(.invalidStatusLine, "HTTP/2 200 OK\r\n\r\n"),
    .init(.invalidStatusLine, "HTTP/2.0 200 OK\r\n\r\n"),
    .init(.invalidStatusLine, "HTTP/1.1\t200 OK\r\n\r\n"),
    .init(.invalidStatusLine, "HTTP/1.1  200 OK\r\n\r\n"),
    .init(.invalidStatusLine, "HTTP/1.1 20 OK\r\n\r\n"),
    .init(.invalidStatusLine, "HTTP/1.1 2000 OK\r\n\r\n"),
    .init(.invalidStatusLine, "HTTP/1.1 200x\r\n\r\n"),
    .init(.invalidStatusLine, "HTTP/1.1 +20 OK\r\n\r\n"),
    .init(.invalidStatusLine, "HTTP/1.1 200 O\u{00}K\r\n\r\n"),
    .init(.invalidStatusLine, "HTTP/1.1 200 O\u{7f}K\r\n\r\n"),
    .init(.invalidStatusLine, "<html>hello</html>"),
    .init(.invalidStatusLine, "ICY 200 OK\r\n\r\n"),
    .init(.invalidStatus, "HTTP/1.1 000 Zero\r\n\r\n"),
    .init(.invalidStatus, "HTTP/1.1 099 Low\r\n\r\n"),
    .init(.invalidStatus, "HTTP/1.1 600 High\r\n\r\n"),
    .init(.invalidStatus, "HTTP/1.1 999 Highest\r\n\r\n"),
    .init(.bareLF, "HTTP/1.1 200 OK\n\r\n"),
    .init(.bareCR, "HTTP/1.1 200 OK\rX\r\n\r\n"),
    .init(.bareCR, "HTTP/1.1 200\rOK\r\n\r\n"),
    // Fields: the same reader as for requests.
    .init(.bareLF, ok + "X: a\n\r\n"),
    .init(.bareLF, ok + "X: a\r\n\n"),
    .init(.bareCR, ok + "X: a\rb\r\n\r\n"),
    .init(.whitespaceBeforeFirstField, ok + " X: a\r\n\r\n"),
    .init(.obsoleteLineFolding, ok + "X: a\r\n b\r\n\r\n"),
    .init(.emptyFieldName, ok + ": a\r\n\r\n"),
    .init(.invalidFieldName, ok + "X[: a\r\n\r\n"),
    .init(.spaceBeforeColon, ok + "Content-Length : 5\r\n\r\n"),
    .init(.missingColon, ok + "Nonsense\r\n\r\n"),
    .init(.invalidFieldValue, ok + "X: a\u{00}\r\n\r\n"),
    // RFC 9112 §6.3
    .init(.contentLengthAndTransferEncoding, ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    .init(.duplicateContentLength, ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    .init(.invalidContentLength, ok + "Content-Length: 5, 5\r\n\r\n"),
    .init(.invalidContentLength, ok + "Content-Length: -1\r\n\r\n"),
    .init(.contentLengthTooLarge, ok + "Content-Length: 9223372036854775808\r\n\r\n"),
    .init(.duplicateTransferEncoding, ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    .init(.invalidTransferEncoding, ok + "Transfer-Encoding: gzip\r\n\r\n"),
    .init(.invalidTransferEncoding, ok + "Transfer-Encoding: identity\r\n\r\n"),
    .init(.unsupportedTransferEncoding, ok + "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    .init(.transferEncodingInHTTP10, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    .init(.informationalWithBody, "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n"),
    .init(.informationalWithBody, "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n"),
    .init(.informationalWithBody, "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 1\r\n\r\n"),
    // RFC 9110 §7.6.1
    .init(.invalidConnection, ok + "Connection: a b\r\n\r\n"),
    .init(.tooManyConnectionOptions, ok + "Connection: a,b,c,d,e,f,g,h,i,j\r\n\r\n"),
  ]

  @Test(arguments: refusals)
  func refuses(_ refusal: ResponseRefusal) {
    let bytes = wire(refusal.text)
    let whole = parseResponse(bytes)
    #expect(whole == .invalid(refusal.error))
    var parser = HTTP1ResponseParser()
    let map = HeaderMap()
    checkSplits(bytes, whole: whole) { parseResponse($0, to: .get, &parser, map) }
  }

  static let accepted: [AcceptedResponse] = [
    .init("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", [(":status", "200"), ("content-length", "0")]) {
      $0.framing = .length(0)
    },
    .init("HTTP/1.1 200\r\nContent-Length: 01\r\n\r\n", [(":status", "200"), ("content-length", "1")]) {
      $0.framing = .length(1)
    },
    .init("HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n", [(":status", "200"), ("content-length", "5")]) {
      $0.framing = .length(5)
    },
    .init(
      "HTTP/1.1 404 Nicht\tgefunden \u{e9}\r\nTransfer-Encoding: Chunked\r\nX-Y: z\r\n\r\n",
      [(":status", "404"), ("x-y", "z")]
    ) {
      $0.status = 404
      $0.framing = .chunked
    },
    // Until close.
    .init("HTTP/1.1 200 OK\r\n\r\n", [(":status", "200")]) {
      $0.framing = .untilClose
      $0.keepAlive = false
    },
    .init("HTTP/1.1 599 X\r\nConnection: keep-alive\r\n\r\n", [(":status", "599")]) {
      $0.status = 599
      $0.framing = .untilClose
      $0.keepAlive = false
    },
    .init("HTTP/1.0 200 OK\r\n\r\n", [(":status", "200")]) {
      $0.minorVersion = 0
      $0.framing = .untilClose
      $0.keepAlive = false
    },
    // Persistence (RFC 9112 §9.3).
    .init("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", [(":status", "200"), ("content-length", "5")]) {
      $0.minorVersion = 0
      $0.framing = .length(5)
      $0.keepAlive = false
    },
    .init(
      "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive\r\nKeep-Alive: timeout=15, max=100\r\n\r\n",
      [(":status", "200"), ("content-length", "5")]
    ) {
      $0.minorVersion = 0
      $0.framing = .length(5)
      $0.keepAliveTimeout = 15
    },
    .init(
      "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive, close\r\n\r\n",
      [(":status", "200"), ("content-length", "5")]
    ) {
      $0.minorVersion = 0
      $0.framing = .length(5)
      $0.keepAlive = false
    },
    .init(
      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n",
      [(":status", "200"), ("content-length", "5")]
    ) {
      $0.framing = .length(5)
      $0.keepAlive = false
    },
    .init(
      "HTTP/1.1 200 OK\r\nKeep-Alive: max=5, Timeout=99999999999999999999\r\nContent-Length: 5\r\n\r\n",
      [(":status", "200"), ("content-length", "5")]
    ) {
      $0.framing = .length(5)
      $0.keepAliveTimeout = Int(Int32.max)
    },
    .init(
      "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=-1\r\nContent-Length: 5\r\n\r\n",
      [(":status", "200"), ("content-length", "5")]
    ) { $0.framing = .length(5) },
    // Hop-by-hop fields; Content-Length cannot be nominated away.
    .init(
      "HTTP/1.1 200 OK\r\nConnection: Set-Cookie, X, content-length\r\nSet-Cookie: a\r\nX: b\r\nContent-Length: 5\r\n"
        + "Proxy-Connection: x\r\nUpgrade: h2\r\nTE: x\r\nServer: s\r\n\r\n",
      [(":status", "200"), ("content-length", "5"), ("server", "s")]
    ) { $0.framing = .length(5) },
    // The answer to an upgrade (RFC 9110 §7.8); elsewhere the field is the server's own affair.
    .init(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX: y\r\n\r\n",
      [(":status", "101"), ("upgrade", "websocket"), ("x", "y")]
    ) {
      $0.status = 101
      $0.upgrade = true
    },
    .init("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", [(":status", "101")]) { $0.status = 101 },
    .init(
      "HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: h2, websocket\r\nContent-Length: 5\r\n\r\n",
      [(":status", "200"), ("content-length", "5")]
    ) { $0.framing = .length(5) },
    // Without a body, whatever they say (RFC 9112 §6.3).
    .init("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", to: .head, [(":status", "200"), ("content-length", "5")]) {
      _ in
    },
    .init("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", to: .head, [(":status", "200")]) { _ in },
    .init("HTTP/1.1 200 OK\r\n\r\n", to: .head, [(":status", "200")]) { _ in },
    .init("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", [(":status", "304"), ("content-length", "5")]) {
      $0.status = 304
    },
    .init("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", [(":status", "304")]) { $0.status = 304 },
    .init("HTTP/1.1 204 No Content\r\n\r\n", [(":status", "204")]) { $0.status = 204 },
    .init("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", [(":status", "204")]) { $0.status = 204 },
    .init("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", [(":status", "204")]) {
      $0.status = 204
      $0.keepAlive = false
    },
    .init("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", [(":status", "204")]) {
      $0.status = 204
      $0.keepAlive = false
    },
    .init("HTTP/1.1 100 Continue\r\n\r\n", [(":status", "100")]) { $0.status = 100 },
    .init(
      "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 0\r\n\r\n", [(":status", "103"), ("link", "</x>")]
    ) {
      $0.status = 103
    },
    .init("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", to: .connect, [(":status", "200")]) { _ in },
    .init("HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", to: .connect, [(":status", "304"), ("content-length", "5")]) {
      $0.status = 304
    },
    .init("HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\n", to: .connect, [(":status", "403"), ("content-length", "5")]) {
      $0.status = 403
      $0.framing = .length(5)
    },
  ]

  @Test(arguments: accepted)
  func accepts(_ response: AcceptedResponse) {
    let bytes = wire(response.text)
    var head = HTTP1ResponseHead()
    head.status = 200
    response.change(&head)
    head.headLength = bytes.count
    head.fieldBytes = fieldBytes(bytes)
    let whole = parseResponse(bytes, to: response.method)
    #expect(whole == .complete(head, response.fields))
    var parser = HTTP1ResponseParser()
    let map = HeaderMap()
    checkSplits(bytes, whole: whole) { parseResponse($0, to: response.method, &parser, map) }
    #expect(parseResponse(bytes + wire("HTTP/1.1 200 OK\r\n\r\n"), to: response.method) == whole)
  }

  @Test func limits() {
    func head(_ size: Int) -> [UInt8] {
      let start = "HTTP/1.1 200 OK\r\nX: "
      return wire(start + String(repeating: "y", count: size - start.utf8.count - 4) + "\r\n\r\n")
    }
    #expect(parseResponse(head(80 * 1024)).error == nil)
    #expect(parseResponse(head(80 * 1024 + 1)) == .invalid(.headTooLarge))
    #expect(parseResponse(ok + String(repeating: "X: y\r\n", count: 100) + "\r\n").error == nil)
    #expect(parseResponse(ok + String(repeating: "X: y\r\n", count: 101) + "\r\n") == .invalid(.tooManyFields))
    // A status line without end is a head without end.
    #expect(parseResponse("HTTP/1.1 200 " + String(repeating: "x", count: 80 * 1024)) == .invalid(.headTooLarge))
  }

  @Test func workIsLinear() {
    var text = ok
    while text.utf8.count < 50_000 { text += "X: " + String(repeating: "y", count: 1000) + "\r\n" }
    let bytes = wire(text + "\r\n")
    var parser = HTTP1ResponseParser()
    let map = HeaderMap()
    var head = HTTP1ResponseHead()
    withExactBytes(bytes) { whole in
      for count in 1..<whole.count {
        #expect(parser.parse(whole.slice(0, count), requestMethod: .get, into: map, head: &head) == .incomplete)
      }
      #expect(parser.parse(whole, requestMethod: .get, into: map, head: &head) == .complete)
    }
    #expect(parser.bytesExamined < UInt64(bytes.count * 8))
  }
}
