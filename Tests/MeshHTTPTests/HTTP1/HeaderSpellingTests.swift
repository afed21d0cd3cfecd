import MeshPrimitives
import Testing

@testable import MeshHTTP

@Suite("Spelling of names")
struct HeaderSpellingTests {
  private func style(_ names: HeaderNameStyle) -> HTTP1HeadStyle {
    var style = HTTP1HeadStyle()
    style.names = names
    return style
  }

  /// A request as its codec would hand it on: parsed, with its spelling.
  private func parsed(_ text: String, _ rules: HeaderSpelling.Rules = .init()) -> HeaderMap {
    var parser = HTTP1RequestParser()
    let map = HeaderMap()
    var head = HTTP1RequestHead()
    withExactBytes(wire(text)) {
      #expect(parser.parse($0, into: map, head: &head) == .complete)
      map.spelling = HeaderSpelling(head: $0.slice(0, head.headLength), rules)
    }
    return map
  }

  private func request(_ map: HeaderMap, _ framing: BodyFraming = .none, _ names: HeaderNameStyle = .lowercase)
    -> String
  {
    encoded { HTTP1Encoder.requestHead(map, framing: framing, style: style(names), into: &$0, pool: $1) }
  }

  @Test("every word begins with a capital; a word ends where no letter or digit is")
  func properCase() {
    let map = HeaderMap()
    for name in ["x-foo-bar", "x_foo", "etag", "content-md5", "x--y", "a.b", "x-1abc-2def", "te2t", "!a"] {
      Array("Value-x".utf8).withUnsafeBufferPointer { map.add(HeaderName(name), $0) }
    }
    let head = encoded {
      HTTP1Encoder.responseHead(
        status: 200, map, framing: .length(3), close: true, style: style(.properCase), into: &$0, pool: $1)
    }
    let names = head.split(separator: "\r\n").dropFirst().map { $0.prefix { $0 != ":" } }
    #expect(
      names == [
        "X-Foo-Bar", "X_Foo", "Etag", "Content-Md5", "X--Y", "A.B", "X-1abc-2def", "Te2t", "!A", "Content-Length",
        "Connection",
      ])
    #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n"))
    #expect(!head.contains("Value-X"))
  }

  @Test("names go out as they came in, those that were added in lower case")
  func preserved() {
    let map = parsed(
      "POST / HTTP/1.1\r\nHOST: h\r\nX-Dup: 1\r\nETag: a: B\r\nx-DUP: 2\r\nTransfer-ENCODING: chunked\r\n\r\n")
    map.set(.xRequestID, "id")
    #expect(
      request(map, .chunked)
        == "POST / HTTP/1.1\r\nHOST: h\r\nX-Dup: 1\r\nETag: a: B\r\nx-DUP: 2\r\nx-request-id: id\r\n"
        + "Transfer-ENCODING: chunked\r\n\r\n")
    // The spelling of the message counts more than the connection's style.
    #expect(request(map, .chunked, .properCase).contains("\r\nx-request-id: id\r\n"))
  }

  @Test("names that were added get capitals if that is wanted")
  func preservedWithCapitals() {
    let map = parsed("GET / HTTP/1.1\r\nhost: h\r\nx_Y: 1\r\n\r\n", .init(capitalizesOtherNames: true))
    map.set(.xRequestID, "id")
    #expect(request(map) == "GET / HTTP/1.1\r\nhost: h\r\nx_Y: 1\r\nX-Request-Id: id\r\n\r\n")
  }

  @Test("fields that were removed or moved do not confuse the others")
  func removed() {
    let map = parsed("\r\nGET / HTTP/1.1\r\nHost: h\r\nA-A: 1\r\nB-B: 2\r\nC-C: 3\r\nD-D: 4\r\n\r\n")
    map.remove(HeaderName("b-b"))
    Array("a longer value than before".utf8).withUnsafeBufferPointer { map.set(HeaderName("a-a"), $0) }
    map.add(HeaderName("b-b"), Bytes("again"))
    #expect(
      request(map)
        == "GET / HTTP/1.1\r\nHost: h\r\nA-A: a longer value than before\r\nC-C: 3\r\nD-D: 4\r\nB-B: again\r\n\r\n")
  }

  @Test("a reason phrase is sent on if that is wanted")
  func reasonPhrase() {
    for (line, keeps, expected) in [
      ("HTTP/1.1 200 Very OK", true, "HTTP/1.1 200 Very OK"), ("HTTP/1.1 200 Very OK", false, "HTTP/1.1 200 OK"),
      ("HTTP/1.1 200 ", true, "HTTP/1.1 200 OK"), ("HTTP/1.1 200", true, "HTTP/1.1 200 OK"),
      (
        "HTTP/1.1 404 \(String(repeating: "x", count: 5000))", true,
        "HTTP/1.1 404 \(String(repeating: "x", count: 5000))"
      ),
    ] {
      let map = HeaderMap()
      map.set(.server, "s")
      withExactBytes(wire(line + "\r\nServer: s\r\n\r\n")) {
        map.spelling = HeaderSpelling(head: $0, .init(keepsReasonPhrase: keeps))
      }
      let status = line.hasPrefix("HTTP/1.1 404") ? 404 : 200
      let head = encoded {
        HTTP1Encoder.responseHead(status: status, map, framing: .none, close: false, into: &$0, pool: $1)
      }
      #expect(head == expected + "\r\nServer: s\r\n\r\n")
    }
  }

  @Test("a map that is emptied forgets, a copy remembers")
  func lifetime() {
    let map = parsed("GET / HTTP/1.1\r\nHoSt: h\r\n\r\n")
    let copy = HeaderMap()
    copy.copy(from: map)
    map.removeAll()
    #expect(map.spelling == nil)
    #expect(request(copy) == "GET / HTTP/1.1\r\nHoSt: h\r\n\r\n")
  }

  @Test("the target of a request may be a whole URL")
  func absoluteTarget() {
    var style = HTTP1HeadStyle()
    style.sendsAbsoluteTarget = true
    for (scheme, forwarded, path, target) in [
      (nil, nil, "/p?q", "http://h:8/p?q"), (nil, "https", "/", "https://h:8/"), (nil, "ftp", "/", "http://h:8/"),
      ("https", "http", "/", "https://h:8/"), (nil, nil, "*", "*"),
    ] as [(String?, String?, String, String)] {
      let map = HeaderMap()
      map.set(.method, "GET")
      wire(path).withUnsafeBufferPointer { map.set(.path, $0) }
      map.set(.host, "h:8")
      if let scheme { wire(scheme).withUnsafeBufferPointer { map.set(.scheme, $0) } }
      if let forwarded { wire(forwarded).withUnsafeBufferPointer { map.set(.xForwardedProto, $0) } }
      let head = encoded { HTTP1Encoder.requestHead(map, framing: .none, style: style, into: &$0, pool: $1) }
      #expect(head.hasPrefix("GET \(target) HTTP/1.1\r\nhost: h:8\r\n"))
    }
  }
}
