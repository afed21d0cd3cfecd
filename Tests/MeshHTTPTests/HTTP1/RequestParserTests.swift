import MeshPrimitives
import Testing

@testable import MeshHTTP

/// A request that is accepted, and what is made of it.
struct AcceptedRequest: Sendable, CustomTestStringConvertible {
  var text: String
  var fields: [Field]
  var change: @Sendable (inout HTTP1RequestHead) -> Void

  /// The head is what `change` makes of that of a GET without anything.
  init(
    _ text: String, _ fields: [(String, String)],
    _ change: @escaping @Sendable (inout HTTP1RequestHead) -> Void = { _ in }
  ) {
    self.text = text
    self.fields = fields.map { Field($0.0, $0.1) }
    self.change = change
  }

  var testDescription: String { "\(text.debugDescription.prefix(100))" }
}

@Suite struct RequestParserTests {
  static let accepted: [AcceptedRequest] = [
    .init("GET / HTTP/1.1\r\nHost: a\r\n\r\n", [(":method", "GET"), (":path", "/"), ("host", "a")]),
    .init(
      "\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", [(":method", "GET"), (":path", "/"), ("host", "a")]),
    .init(
      "HEAD /a/b?c=d&e=%20;f HTTP/1.1\r\nhost:a\r\n\r\n",
      [(":method", "HEAD"), (":path", "/a/b?c=d&e=%20;f"), ("host", "a")]
    ) { $0.method = .head },
    .init(
      "GET /\"<>\\^`{|}~[] HTTP/1.1\r\nHost: a\r\n\r\n",
      [(":method", "GET"), (":path", "/\"<>\\^`{|}~[]"), ("host", "a")]),
    .init("get / HTTP/1.1\r\nHost: a\r\n\r\n", [(":method", "get"), (":path", "/"), ("host", "a")]) {
      $0.method = .other
    },
    .init(
      "!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\nHost: a\r\n\r\n",
      [(":method", "!#$%&'*+-.^_`|~09azAZ"), (":path", "/"), ("host", "a")]
    ) { $0.method = .other },
    .init("X / HTTP/1.1\r\nHost: a\r\n\r\n", [(":method", "X"), (":path", "/"), ("host", "a")]) {
      $0.method = .other
    },
    .init("PUT / HTTP/1.1\r\nHost: a\r\n\r\n", [(":method", "PUT"), (":path", "/"), ("host", "a")]) {
      $0.method = .put
    },
    .init("PATCH / HTTP/1.1\r\nHost: a\r\n\r\n", [(":method", "PATCH"), (":path", "/"), ("host", "a")]) {
      $0.method = .patch
    },
    .init("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", [(":method", "TRACE"), (":path", "/"), ("host", "a")]) {
      $0.method = .trace
    },
    .init("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", [(":method", "DELETE"), (":path", "/"), ("host", "a")]) {
      $0.method = .delete
    },
    .init("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", [(":method", "OPTIONS"), (":path", "*"), ("host", "a")]) {
      $0.method = .options
      $0.targetForm = .asterisk
    },
    // Absolute-form (RFC 9112 §3.2.2): the target's authority counts.
    .init(
      "GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\nX: z\r\n\r\n",
      [(":method", "GET"), (":scheme", "http"), (":path", "/x?y"), ("host", "b:81"), ("x", "z")]
    ) { $0.targetForm = .absolute },
    .init(
      "GET HTTPS://b HTTP/1.1\r\nHost: longer.example\r\n\r\n",
      [(":method", "GET"), (":scheme", "https"), (":path", "/"), ("host", "b")]
    ) { $0.targetForm = .absolute },
    .init(
      "GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n",
      [(":method", "GET"), (":scheme", "http"), (":path", "/?q"), ("host", "b")]
    ) { $0.targetForm = .absolute },
    .init(
      "OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n",
      [(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), ("host", "b")]
    ) {
      $0.method = .options
      $0.targetForm = .absolute
    },
    .init(
      "CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", [(":method", "CONNECT"), ("host", "b:443")]
    ) {
      $0.method = .connect
      $0.targetForm = .authority
      $0.tunnel = .connect
    },
    // Field syntax.
    .init(
      "GET / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Blank: \t \r\nX-Around: \t a b\t \r\nX-Tight:v\r\n\r\n",
      [
        (":method", "GET"), (":path", "/"), ("host", "a"), ("x-empty", ""), ("x-blank", ""), ("x-around", "a b"),
        ("x-tight", "v"),
      ]),
    .init(
      "GET / HTTP/1.1\r\nHOST: a\r\n!#$%&'*+-.^_`|~09AZaz: v\r\nX_Y: a\tb\r\nX: caf\u{e9}\u{ff}\u{80}\r\nX: 2\r\n\r\n",
      [
        (":method", "GET"), (":path", "/"), ("host", "a"), ("!#$%&'*+-.^_`|~09azaz", "v"), ("x_y", "a\tb"),
        ("x", "caf\u{e9}\u{ff}\u{80}"), ("x", "2"),
      ]),
    .init(
      "GET / HTTP/1.1\r\nHost: a\r\nAn-Extraordinarily-Long-Field-Name-Of-More-Than-32-Bytes: v: w\r\n\r\n",
      [
        (":method", "GET"), (":path", "/"), ("host", "a"),
        ("an-extraordinarily-long-field-name-of-more-than-32-bytes", "v: w"),
      ]),
    // Host.
    .init(
      "GET / HTTP/1.1\r\nHost: a.b-c.d:8000\r\n\r\n", [(":method", "GET"), (":path", "/"), ("host", "a.b-c.d:8000")]),
    .init("GET / HTTP/1.1\r\nHost: a:\r\n\r\n", [(":method", "GET"), (":path", "/"), ("host", "a:")]),
    .init("GET / HTTP/1.1\r\nHost: a:65535\r\n\r\n", [(":method", "GET"), (":path", "/"), ("host", "a:65535")]),
    .init(
      "GET / HTTP/1.1\r\nHost: a_b!$&'()*+,;=~%2d\r\n\r\n",
      [(":method", "GET"), (":path", "/"), ("host", "a_b!$&'()*+,;=~%2d")]),
    .init("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", [(":method", "GET"), (":path", "/"), ("host", "[::1]:80")]),
    .init(
      "GET / HTTP/1.1\r\nHost: [1:2:3:4:5:6:7:8]\r\n\r\n",
      [(":method", "GET"), (":path", "/"), ("host", "[1:2:3:4:5:6:7:8]")]),
    .init(
      "GET / HTTP/1.1\r\nHost: [::ffff:127.0.0.1]\r\n\r\n",
      [(":method", "GET"), (":path", "/"), ("host", "[::ffff:127.0.0.1]")]),
    // Framing.
    .init(
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
      [(":method", "POST"), (":path", "/"), ("host", "a"), ("content-length", "0")]
    ) {
      $0.method = .post
      $0.framing = .length(0)
    },
    .init(
      "POST / HTTP/1.1\r\nContent-Length: 0042\r\nHost: a\r\n\r\n",
      [(":method", "POST"), (":path", "/"), ("content-length", "42"), ("host", "a")]
    ) {
      $0.method = .post
      $0.framing = .length(42)
    },
    .init(
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n",
      [(":method", "POST"), (":path", "/"), ("host", "a"), ("content-length", "9223372036854775807")]
    ) {
      $0.method = .post
      $0.framing = .length(UInt64(Int64.max))
    },
    .init(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED \r\nTrailer: X\r\n\r\n",
      [(":method", "POST"), (":path", "/"), ("host", "a"), ("trailer", "X")]
    ) {
      $0.method = .post
      $0.framing = .chunked
    },
    // Connection (RFC 9110 §7.6.1).
    .init(
      "GET / HTTP/1.1\r\nConnection: close\r\nHost: a\r\n\r\n", [(":method", "GET"), (":path", "/"), ("host", "a")]
    ) { $0.keepAlive = false },
    .init(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\n\r\n",
      [(":method", "GET"), (":path", "/"), ("host", "a")]),
    .init(
      "GET / HTTP/1.1\r\nHost: a\r\nX-Gone: 1\r\nx-stays: 2\r\nx-gone: 3\r\nConnection: ,, X-Gone ,\tCLOSE,\r\n\r\n",
      [(":method", "GET"), (":path", "/"), ("host", "a"), ("x-stays", "2")]
    ) { $0.keepAlive = false },
    .init(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: a,b,c,d,e,f,g\r\nConnection: via, x-request-id\r\n"
        + "Via: v\r\nX-Request-Id: r\r\nA: 1\r\nG: 7\r\nH: 8\r\n\r\n",
      [(":method", "GET"), (":path", "/"), ("host", "a"), ("h", "8")]),
    .init(
      "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te, transfer-encoding, connection\r\n\r\n",
      [(":method", "GET"), (":path", "/"), ("host", "a"), ("te", "trailers")]),
    .init(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n",
      [(":method", "GET"), (":path", "/"), ("host", "a")]),
    .init(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, UPGRADE\r\nUpgrade: WebSocket\r\nContent-Length: 0\r\n\r\n",
      [(":method", "GET"), (":path", "/"), ("host", "a"), ("upgrade", "WebSocket")]
    ) { $0.tunnel = .upgrade },
    .init(
      "CONNECT b:443 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
      [(":method", "CONNECT"), ("host", "b:443")]
    ) {
      $0.method = .connect
      $0.targetForm = .authority
      $0.tunnel = .connect
    },
    .init(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\r\n", [(":method", "GET"), (":path", "/"), ("host", "a")]),
    .init(
      "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", [(":method", "GET"), (":path", "/"), ("host", "a")]),
    // Expect (RFC 9110 §10.1.1).
    .init(
      "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n",
      [(":method", "POST"), (":path", "/"), ("host", "a"), ("content-length", "3")]
    ) {
      $0.method = .post
      $0.framing = .length(3)
      $0.expectsContinue = true
    },
    .init(
      "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", [(":method", "GET"), (":path", "/"), ("host", "a")]),
  ]

  @Test(arguments: accepted)
  func accepts(_ request: AcceptedRequest) {
    let bytes = wire(request.text)
    var head = HTTP1RequestHead()
    head.method = .get
    request.change(&head)
    head.headLength = bytes.count
    head.fieldBytes = fieldBytes(bytes)
    let whole = parseRequest(bytes)
    #expect(whole == .complete(head, request.fields))
    var parser = HTTP1RequestParser()
    let map = HeaderMap()
    checkSplits(bytes, whole: whole) { parseRequest($0, &parser, map) }
    // What follows is not touched, and does not matter.
    for tail in ["\r\n", "G", "\u{00}", String(repeating: "x", count: 100)] {
      #expect(parseRequest(bytes + wire(tail)) == whole)
    }
    // In two pieces, wherever they meet.
    for count in 1..<bytes.count {
      #expect(parseRequest(bytes[..<count], &parser, map) == .incomplete)
      #expect(parseRequest(bytes, &parser, map) == whole)
    }
  }

  @Test func pipelinedHeads() {
    let first = wire("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    let second = wire("POST /2 HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\n")
    var rest = first + second + wire("abc") + first
    var parser = HTTP1RequestParser()
    let map = HeaderMap()
    var paths: [String] = []
    while !rest.isEmpty {
      guard case .complete(let head, let fields) = parseRequest(rest, &parser, map) else {
        Issue.record("not complete")
        return
      }
      paths.append(fields[1].value)
      rest.removeFirst(head.headLength)
      if case .length(let length) = head.framing { rest.removeFirst(Int(length)) }
    }
    #expect(paths == ["/1", "/2", "/1"])
  }

  @Test func resetForgetsAnIncompleteHead() {
    var parser = HTTP1RequestParser()
    let map = HeaderMap()
    let head = wire("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(parseRequest(head[..<20], &parser, map) == .incomplete)
    parser.reset()
    #expect(parseRequest(head, &parser, map) == parseRequest(head))
    #expect(parseRequest([], &parser, map) == .incomplete)
  }

  // MARK: Limits

  @Test func headLimit() {
    var limits = HTTP1Limits()
    let head = wire("GET / HTTP/1.1\r\nHost: a\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n\r\n")
    limits.maxHeadBytes = head.count
    #expect(parseRequest(head, limits: limits) == parseRequest(head))
    #expect(parseRequest(wire("\r\n\r\n") + head, limits: limits).error == nil)
    limits.maxHeadBytes = head.count - 1
    #expect(parseRequest(head, limits: limits) == .invalid(.headTooLarge))
    // As soon as it is passed, not at the end of the head.
    limits.maxHeadBytes = 40
    var parser = HTTP1RequestParser(limits: limits)
    let map = HeaderMap()
    for count in 1...40 { #expect(parseRequest(head[..<count], &parser, map) == .incomplete) }
    #expect(parseRequest(head[..<41], &parser, map) == .invalid(.headTooLarge))
  }

  @Test func defaultHeadLimit() {
    func head(_ size: Int) -> [UInt8] {
      let start = "GET / HTTP/1.1\r\nHost: a\r\nX: "
      return wire(start + String(repeating: "y", count: size - start.utf8.count - 4) + "\r\n\r\n")
    }
    #expect(parseRequest(head(60 * 1024)).error == nil)
    #expect(parseRequest(head(60 * 1024)) != .incomplete)
    #expect(parseRequest(head(60 * 1024 + 1)) == .invalid(.headTooLarge))
  }

  @Test func fieldLimit() {
    func head(_ count: Int) -> String {
      "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: y\r\n", count: count - 1) + "\r\n"
    }
    #expect(parseRequest(head(100)).error == nil)
    for count in [101, 102, 110, 200] { #expect(parseRequest(head(count)) == .invalid(.tooManyFields)) }
    var limits = HTTP1Limits()
    limits.maxFields = 2
    #expect(parseRequest(head(2), limits: limits).error == nil)
    #expect(parseRequest(head(3), limits: limits) == .invalid(.tooManyFields))
    limits.maxFields = 1000
    #expect(parseRequest(head(1000), limits: limits).error == nil)
  }

  @Test func targetLimit() {
    func head(_ count: Int) -> String {
      "GET " + "/" + String(repeating: "a", count: count - 1) + " HTTP/1.1\r\nHost: a\r\n\r\n"
    }
    #expect(parseRequest(head(16 * 1024)).error == nil)
    #expect(parseRequest(head(16 * 1024 + 1)) == .invalid(.targetTooLong))
    // Before its end is there.
    #expect(parseRequest("GET /" + String(repeating: "a", count: 16 * 1024)) == .invalid(.targetTooLong))
    var limits = HTTP1Limits()
    limits.maxTargetBytes = 3
    #expect(parseRequest(head(3), limits: limits).error == nil)
    #expect(parseRequest(head(4), limits: limits) == .invalid(.targetTooLong))
    #expect(parseRequest("G /abcd", limits: limits) == .invalid(.targetTooLong))
  }

  @Test func methodLimit() {
    #expect(parseRequest(String(repeating: "A", count: 32) + " / HTTP/1.1\r\nHost: a\r\n\r\n").error == nil)
    #expect(parseRequest(String(repeating: "A", count: 33)) == .invalid(.methodTooLong))
    var limits = HTTP1Limits()
    limits.maxMethodBytes = 4
    #expect(parseRequest("HEADX", limits: limits) == .invalid(.methodTooLong))
    #expect(parseRequest("HEAD /", limits: limits) == .incomplete)
  }

  @Test func emptyLineLimit() {
    var limits = HTTP1Limits()
    limits.maxEmptyLines = 0
    #expect(parseRequest("\r", limits: limits) == .invalid(.tooManyEmptyLines))
    limits.maxEmptyLines = 1
    #expect(parseRequest("\r\n", limits: limits) == .incomplete)
    #expect(parseRequest("\r\n\r", limits: limits) == .invalid(.tooManyEmptyLines))
  }

  // MARK: Early refusal and work

  @Test(arguments: ["\u{16}", "\u{00}", "(", "<?xml", "SSH-2.0-x\r", "GET /\u{01}", "GET / FTP", "\n"])
  func nonsenseFailsAtOnce(_ text: String) { #expect(parseRequest(text).error != nil) }

  /// A sender of one byte at a time makes us look at each byte a few times, not at all of them each time.
  @Test(arguments: [1, 7]) func workIsLinear(step: Int) {
    var text = "GET / HTTP/1.1\r\nHost: a\r\n"
    while text.utf8.count < 50_000 { text += "X: " + String(repeating: "y", count: 1000) + "\r\n" }
    let bytes = wire(text + "\r\n")
    var parser = HTTP1RequestParser()
    let map = HeaderMap()
    var head = HTTP1RequestHead()
    withExactBytes(bytes) { whole in
      for count in stride(from: 1, to: whole.count, by: step) {
        #expect(parser.parse(whole.slice(0, count), into: map, head: &head) == .incomplete)
      }
      #expect(parser.parse(whole, into: map, head: &head) == .complete)
    }
    #expect(parser.bytesExamined < UInt64(bytes.count * 8))
  }

  /// Also when every line is as short as can be, and ends make the parser hope.
  @Test func workIsLinearForShortLines() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "a:\r\n", count: 900)
    var limits = HTTP1Limits()
    limits.maxFields = 1000
    let bytes = wire(text + "\r\n")
    var parser = HTTP1RequestParser(limits: limits)
    let map = HeaderMap()
    var head = HTTP1RequestHead()
    withExactBytes(bytes) { whole in
      for count in 1..<whole.count {
        #expect(parser.parse(whole.slice(0, count), into: map, head: &head) == .incomplete)
      }
      #expect(parser.parse(whole, into: map, head: &head) == .complete)
    }
    #expect(parser.bytesExamined < UInt64(bytes.count * 10))
  }

  @Test func methodsOfEachKind() {
    #expect(HTTPMethod(Bytes("GETX")) == .other)
    #expect(HTTPMethod(Bytes("CONNECT")) == .connect)
    #expect([HTTPMethod.get, .head, .options, .trace].allSatisfy { $0.isSafe && $0.isIdempotent })
    #expect([HTTPMethod.put, .delete].allSatisfy { !$0.isSafe && $0.isIdempotent })
    #expect([HTTPMethod.post, .patch, .connect, .other].allSatisfy { !$0.isSafe && !$0.isIdempotent })
  }
}
