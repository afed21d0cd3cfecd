import MeshPrimitives
import Testing

@testable import MeshHTTP

@Suite struct HTTP2HeadReaderTests {
  private func read(
    _ kind: HTTP2HeadReader.Kind, _ fields: [(String, String)], limits: HTTP1Limits = HTTP1Limits(), _ map: HeaderMap
  ) -> HTTP2HeadReader {
    var reader = HTTP2HeadReader(kind, limits: limits)
    for (name, value) in fields {
      withExactBytes(wire(name)) { name in withExactBytes(wire(value)) { reader.read(name, $0, map) } }
    }
    return reader
  }

  private func request(
    _ fields: [(String, String)], limits: HTTP1Limits = HTTP1Limits(), endStream: Bool = true
  ) -> (error: HTTP2MessageError?, start: RequestStart?, map: HeaderMap) {
    let map = HeaderMap()
    var reader = read(.request, fields, limits: limits, map)
    let start = reader.finishRequest(map, endStream: endStream, limits: limits)
    return (reader.error, start, map)
  }

  private func with(_ fields: (String, String)...) -> [(String, String)] { plainGet + fields }

  @Test func aRequestIsTheSameByEveryVersion() {
    let result = request(with(("user-agent", "t"), ("x-custom", "a\tb \u{e9}"), ("content-length", "0")))
    #expect(result.error == nil)
    #expect(result.start?.method == .get)
    #expect(result.start?.version == .http2)
    #expect(
      result.map.fields == [
        Field(":method", "GET"), Field(":scheme", "http"), Field(":path", "/"), Field("host", "a"),
        Field("user-agent", "t"), Field("x-custom", "a\tb \u{e9}"), Field("content-length", "0"),
      ])
  }

  @Test(arguments: [
    ("X-Upper", "1", HTTP2MessageError.invalidName), ("x y", "1", .invalidName), ("x:", "1", .invalidName),
    ("", "1", .invalidName), ("x-\u{e9}", "1", .invalidName), ("Host", "a", .invalidName),
    ("x", " a", .invalidValue), ("x", "a ", .invalidValue), ("x", "\ta", .invalidValue), ("x", "a\rb", .invalidValue),
    ("x", "a\nb", .invalidValue), ("x", "a\0b", .invalidValue), ("x", "a\u{7f}", .invalidValue),
    ("user-agent", "a\r\nx: y", .invalidValue),
    ("connection", "close", .connectionSpecificField), ("keep-alive", "1", .connectionSpecificField),
    ("proxy-connection", "close", .connectionSpecificField),
    ("transfer-encoding", "chunked", .connectionSpecificField), ("upgrade", "x", .connectionSpecificField),
    ("te", "gzip", .connectionSpecificField), ("te", "trailers, gzip", .connectionSpecificField),
    ("content-length", "", .invalidContentLength), ("content-length", "-1", .invalidContentLength),
    ("content-length", "1,1", .invalidContentLength), ("content-length", "9223372036854775808", .invalidContentLength),
    ("content-length", "99999999999999999999", .invalidContentLength), ("content-length", "+1", .invalidContentLength),
    (":path", "/", .latePseudoHeader), ("host", "b", .differentAuthorities), ("expect", "x", .unsupportedExpectation),
  ])
  func fieldsThatMayNotBe(name: String, value: String, error: HTTP2MessageError) {
    #expect(request(with(("x-before", "1"), (name, value))).error == error)
  }

  @Test func aLengthIsThereOnce() {
    #expect(request(with(("content-length", "1"), ("content-length", "1"))).error == .invalidContentLength)
  }

  @Test(arguments: [
    (":status", "200", HTTP2MessageError.unknownPseudoHeader), (":foo", "1", .unknownPseudoHeader),
    (":", "1", .unknownPseudoHeader), (":path", "/b", .duplicatePseudoHeader),
    (":method", "GET", .duplicatePseudoHeader),
    (":scheme", "http", .duplicatePseudoHeader), (":authority", "a", .duplicatePseudoHeader),
    (":protocol", "websocket", .missingPseudoHeader), (":Path", "/", .unknownPseudoHeader),
  ])
  func pseudoHeadersThatMayNotBe(name: String, value: String, error: HTTP2MessageError) {
    #expect(request(with((name, value))).error == error)
  }

  @Test(arguments: [
    (0, "G T", HTTP2MessageError.invalidMethod), (0, "", .invalidMethod), (1, "ftp", .invalidScheme),
    (1, "", .invalidScheme),
    (2, "", .invalidPath), (2, "a", .relativePath), (2, "/a b", .invalidPath), (2, "/a#b", .invalidPath),
    (2, "/\r\nx: y", .invalidPath), (2, "/\u{e9}", .invalidPath), (2, "*", .relativePath),
    (2, "http://a/", .relativePath),
    (3, "", .invalidAuthority), (3, "a b", .invalidAuthority), (3, "u@a", .invalidAuthority),
    (3, "a/", .invalidAuthority),
    (3, "a:x", .invalidAuthority), (3, "a\r\n", .invalidAuthority),
  ])
  func pseudoHeadersWithWrongValues(index: Int, value: String, error: HTTP2MessageError) {
    var fields = plainGet
    fields[index].1 = value
    #expect(request(fields).error == error)
  }

  @Test func whatARequestMustHave() {
    for index in 0..<3 {
      var fields = plainGet
      fields.remove(at: index)
      #expect(request(fields).error == .missingPseudoHeader)
    }
    #expect(request(Array(plainGet.dropLast())).error == .missingHost)
    #expect(request(Array(plainGet.dropLast()) + [("host", "b")]).map.text(.host) == "b")
    #expect(request(Array(plainGet.dropLast()) + [("host", "b"), ("host", "b")]).error == .differentAuthorities)
    // Said twice, it is the same.
    let both = request(with(("host", "A")))
    #expect(both.error == nil)
    #expect(both.map.text(.host) == "a")
    #expect(!both.map.isRepeated(.host))
  }

  @Test func cookiesAreJoined() {
    let result = request(with(("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")))
    #expect(result.map.text(.cookie) == "a=1; b=2; c=3")
    #expect(!result.map.isRepeated(.cookie))
    #expect(result.map.text("x") == "y")
  }

  @Test func tunnels() {
    let connect = request([(":method", "CONNECT"), (":authority", "a:443")])
    #expect(connect.start?.tunnel == .connect)
    #expect(connect.start?.endStream == false)
    #expect(request([(":method", "CONNECT"), (":authority", "a")]).error == .invalidAuthority)
    #expect(request([(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")]).error == .missingPseudoHeader)
    let extended = request([
      (":method", "CONNECT"), (":scheme", "http"), (":path", "/chat"), (":authority", "a"), (":protocol", "websocket"),
    ])
    #expect(extended.start?.tunnel == .upgrade)
    #expect(extended.start?.method == .get)
    #expect(extended.map.text(.method) == "GET")
    #expect(extended.map.text(.upgrade) == "websocket")
  }

  @Test func limits() {
    var limits = HTTP1Limits()
    limits.maxFields = 2
    limits.maxHeadBytes = 200
    limits.maxTargetBytes = 4
    #expect(request(with(("a", "1"), ("b", "2")), limits: limits).error == nil)
    #expect(request(with(("a", "1"), ("b", "2"), ("c", "3")), limits: limits).error == .tooManyFields)
    #expect(request(with(("cookie", "1"), ("cookie", "2"), ("cookie", "3")), limits: limits).error == nil)
    #expect(request(with(("a", String(repeating: "x", count: 200))), limits: limits).error == .headTooLarge)
    var long = plainGet
    long[2].1 = "/1234"
    #expect(request(long, limits: limits).error == .pathTooLong)
    var method = plainGet
    method[0].1 = String(repeating: "M", count: 33)
    #expect(request(method).error == .methodTooLong)
    // Crumbs of a cookie count as what they are.
    let crumbs = [(String, String)](repeating: ("cookie", ""), count: 50)
    #expect(request(plainGet + crumbs, limits: limits).error == .headTooLarge)
  }

  @Test func expectations() {
    let result = request(with(("expect", "100-Continue")), endStream: false)
    #expect(result.start?.expectsContinue == true)
    #expect(result.map.text(.expect) == nil)
    #expect(request(with(("expect", "100-continue"))).start?.expectsContinue == false)
  }

  @Test(
    arguments: [
      ([(":status", "200")], nil), ([(":status", "103"), ("link", "x")], nil), ([(":status", "101")], .invalidStatus),
      ([(":status", "20")], .invalidStatus), ([(":status", "2000")], .invalidStatus),
      ([(":status", "099")], .invalidStatus),
      ([(":status", "600")], .invalidStatus), ([(":status", "2x0")], .invalidStatus), ([], .missingPseudoHeader),
      ([("x", "y")], .missingPseudoHeader), ([(":status", "200"), (":status", "200")], .duplicatePseudoHeader),
      ([(":path", "/")], .unknownPseudoHeader), ([("x", "y"), (":status", "200")], .latePseudoHeader),
      ([(":status", "200"), ("connection", "close")], .connectionSpecificField),
      ([(":status", "200"), ("x", "a\nb")], .invalidValue),
    ] as [([(String, String)], HTTP2MessageError?)])
  func responses(fields: [(String, String)], error: HTTP2MessageError?) {
    let map = HeaderMap()
    var reader = read(.response, fields, map)
    #expect(reader.finishResponse() == (error == nil))
    #expect(reader.error == error)
  }

  @Test func trailers() {
    let map = HeaderMap()
    #expect(read(.trailers, [("grpc-status", "0"), ("te", "trailers"), ("x-forwarded-for", "1")], map).error == nil)
    #expect(map.fields == [Field("grpc-status", "0")])
    for field in [(":status", "200"), ("content-length", "1"), ("host", "a"), ("transfer-encoding", "chunked")] {
      #expect(read(.trailers, [field], HeaderMap()).error != nil)
    }
  }

  @Test func everyErrorSaysWhatItIs() {
    for error in HTTP2MessageError.allCases {
      #expect(error.details.description.hasPrefix("http2.") || error == .missingHost)
      if let status = error.status { #expect((400...599).contains(status)) }
    }
  }
}
