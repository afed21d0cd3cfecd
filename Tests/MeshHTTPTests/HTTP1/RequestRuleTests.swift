import MeshPrimitives
import Testing

@testable import MeshHTTP

/// One rule of the request grammar, and bytes that break it.
struct RequestRefusal: Sendable, CustomTestStringConvertible {
  var error: HTTP1Error
  var text: String

  init(_ error: HTTP1Error, _ text: String) {
    self.error = error
    self.text = text
  }

  var testDescription: String { "\(error): \(text.debugDescription.prefix(80))" }
}

private let get = "GET / HTTP/1.1\r\nHost: a\r\n"
private let post = "POST / HTTP/1.1\r\nHost: a\r\n"

@Suite struct RequestRuleTests {
  static let refusals: [RequestRefusal] = [
    // RFC 9112 §2.2
    .init(.tooManyEmptyLines, "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.bareLF, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.bareLF, "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.bareCR, "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.bareLF, "GET / HTTP/1.1\nHost: a\r\n\r\n"),
    .init(.bareCR, "GET / HTTP/1.1\rHost: a\r\n\r\n"),
    .init(.bareCR, "GET / HTTP/1.1\r\rHost: a\r\n\r\n"),
    .init(.bareLF, "GET / HTTP/1.1\r\nHost: a\n\r\n"),
    .init(.bareCR, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
    .init(.bareCR, "GET / HTTP/1.1\r\nHost: a\r\rX: b\r\n\r\n"),
    .init(.bareLF, get + "X: a\nY: b\r\n\r\n"),
    .init(.bareLF, get + "X: a\r\n\n"),
    .init(.bareCR, get + "X: a\r\n\rY: b\r\n\r\n"),
    .init(.bareLF, get + "\n"),
    .init(.bareCR, get + "\rX\r\n\r\n"),
    .init(.whitespaceBeforeFirstField, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    .init(.whitespaceBeforeFirstField, "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"),
    // RFC 9112 §3, §3.1
    .init(.invalidMethod, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidMethod, "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidMethod, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidMethod, "GET\r\nHost: a\r\n\r\n"),
    .init(.invalidMethod, "\u{16}\u{03}\u{01}\u{02}\u{00}\u{01}\u{00}\u{01}\u{fc}\u{03}\u{03}"),
    .init(.invalidMethod, "G\u{00}T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidMethod, "G\u{c9}T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidMethod, "{\"json\": true}\r\n\r\n"),
    .init(.methodTooLong, String(repeating: "A", count: 33) + " / HTTP/1.1\r\nHost: a\r\n\r\n"),
    // RFC 9112 §3.2
    .init(.invalidTarget, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidTarget, "GET /\t HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidTarget, "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidTarget, "GET /a\u{00}b HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidTarget, "GET /a\u{7f}b HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidTarget, "GET /caf\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.malformedVersion, "GET / x HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.malformedVersion, "GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.targetTooLong, "GET /" + String(repeating: "a", count: 16 * 1024) + " HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidTargetForm, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidTargetForm, "OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidTargetForm, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidTargetForm, "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidTargetForm, "GET ://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidTargetForm, "GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidTargetForm, "GET ?x HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidTargetForm, "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidTargetForm, "CONNECT * HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidAuthority, "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidAuthority, "CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidAuthority, "CONNECT http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    // RFC 9110 §7.8, §9.3.6: what follows is the tunnel's, and nothing else.
    .init(.tunnelWithBody, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"),
    .init(.tunnelWithBody, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    .init(.tunnelWithBody, get + "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\na"),
    .init(.tunnelWithBody, get + "Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    .init(.invalidAuthority, "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidAuthority, "GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidAuthority, "GET http://user:secret@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidAuthority, "GET http://a:65536/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.invalidAuthority, "GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.unsupportedScheme, "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    .init(.unsupportedScheme, "GET ws://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    // RFC 9112 §2.3
    .init(.malformedVersion, "GET /\r\nHost: a\r\n\r\n"),
    .init(.malformedVersion, "GET /\n\n"),
    .init(.malformedVersion, "GET / \r\nHost: a\r\n\r\n"),
    .init(.malformedVersion, "GET / http/1.1\r\nHost: a\r\n\r\n"),
    .init(.malformedVersion, "GET / HTTP/1\r\nHost: a\r\n\r\n"),
    .init(.malformedVersion, "GET / HTTP/1.\r\nHost: a\r\n\r\n"),
    .init(.malformedVersion, "GET / HTTP/11.1\r\nHost: a\r\n\r\n"),
    .init(.malformedVersion, "GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    .init(.malformedVersion, "GET / HTTP/1,1\r\nHost: a\r\n\r\n"),
    .init(.malformedVersion, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    .init(.malformedVersion, "GET / HTTPS/1.1\r\nHost: a\r\n\r\n"),
    .init(.malformedVersion, "GET / HTTP/ 1.1\r\nHost: a\r\n\r\n"),
    .init(.unsupportedVersion, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    .init(.unsupportedVersion, "GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    .init(.unsupportedVersion, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    .init(.unsupportedVersion, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    .init(.http10NotAccepted, "GET / HTTP/1.0\r\n\r\n"),
    .init(.http10NotAccepted, "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"),
    // RFC 9112 §5, RFC 9110 §5
    .init(.obsoleteLineFolding, get + "X: a\r\n b\r\n\r\n"),
    .init(.obsoleteLineFolding, get + "X: a\r\n\tb\r\n\r\n"),
    .init(.obsoleteLineFolding, get + "X: a\r\n \r\n\r\n"),
    .init(.obsoleteLineFolding, get + "Transfer-Encoding:\r\n chunked\r\n\r\n"),
    .init(.emptyFieldName, get + ": a\r\n\r\n"),
    .init(.emptyFieldName, get + ":\r\n\r\n"),
    .init(.invalidFieldName, get + "X(Y): a\r\n\r\n"),
    .init(.invalidFieldName, get + "X\u{00}: a\r\n\r\n"),
    .init(.invalidFieldName, get + "X\u{7f}: a\r\n\r\n"),
    .init(.invalidFieldName, get + "\u{e9}: a\r\n\r\n"),
    .init(.invalidFieldName, get + "X\u{e9}: a\r\n\r\n"),
    .init(.invalidFieldName, get + "\"X\": a\r\n\r\n"),
    .init(.invalidFieldName, get + "X/Y: a\r\n\r\n"),
    .init(.invalidFieldName, get + "X@Y: a\r\n\r\n"),
    .init(.invalidFieldName, get + "\u{00}X: a\r\n\r\n"),
    .init(.spaceBeforeColon, get + "X : a\r\n\r\n"),
    .init(.spaceBeforeColon, get + "X\t: a\r\n\r\n"),
    .init(.spaceBeforeColon, get + "Content-Length : 5\r\n\r\n"),
    .init(.spaceBeforeColon, get + "Transfer-Encoding : chunked\r\n\r\n"),
    .init(.spaceBeforeColon, get + "X Y: a\r\n\r\n"),
    .init(.missingColon, get + "X\r\n\r\n"),
    .init(.bareLF, get + "X\n\r\n"),
    .init(.invalidFieldValue, get + "X: a\u{00}b\r\n\r\n"),
    .init(.invalidFieldValue, get + "X: a\u{01}\r\n\r\n"),
    .init(.invalidFieldValue, get + "X: \u{0b}chunked\r\n\r\n"),
    .init(.invalidFieldValue, get + "X: \u{0c}\r\n\r\n"),
    .init(.invalidFieldValue, get + "X: a\u{7f}\r\n\r\n"),
    .init(.invalidFieldValue, get + "X: a\u{1b}[2J\r\n\r\n"),
    .init(.invalidFieldValue, get + "X: \u{7f}ab\r\n\r\n"),
    .init(.invalidFieldValue, get + "X: \u{7f}\r\n\r\n"),
    .init(.invalidFieldValue, get + "X:\u{00}\r\n\r\n"),
    // RFC 9112 §3.2
    .init(.missingHost, "GET / HTTP/1.1\r\n\r\n"),
    .init(.missingHost, "GET / HTTP/1.1\r\nX: a\r\n\r\n"),
    .init(.missingHost, "GET http://a/ HTTP/1.1\r\nX: a\r\n\r\n"),
    .init(.duplicateHost, get + "Host: a\r\n\r\n"),
    .init(.duplicateHost, get + "X: y\r\nhOST: b\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: \r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: a#b\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: a:80:81\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: :80\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: a%\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: a%2\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: a%zz\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: caf\u{e9}\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: []\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: [::1%25eth0]\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: [v1.x]\r\n\r\n"),
    .init(.invalidHost, "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"),
    .init(.invalidHost, "GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n"),
    // RFC 9112 §6.3
    .init(.contentLengthAndTransferEncoding, post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    .init(.contentLengthAndTransferEncoding, post + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"),
    .init(.contentLengthAndTransferEncoding, post + "Transfer-Encoding: x\r\nContent-Length: y\r\n\r\n"),
    .init(.duplicateContentLength, post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    .init(.duplicateContentLength, post + "Content-Length: 5\r\nX: y\r\ncontent-length: 6\r\n\r\n"),
    .init(.invalidContentLength, post + "Content-Length:\r\n\r\n"),
    .init(.invalidContentLength, post + "Content-Length: +5\r\n\r\n"),
    .init(.invalidContentLength, post + "Content-Length: -5\r\n\r\n"),
    .init(.invalidContentLength, post + "Content-Length: 5, 5\r\n\r\n"),
    .init(.invalidContentLength, post + "Content-Length: 5 5\r\n\r\n"),
    .init(.invalidContentLength, post + "Content-Length: 0x5\r\n\r\n"),
    .init(.invalidContentLength, post + "Content-Length: 5a\r\n\r\n"),
    .init(.invalidContentLength, post + "Content-Length: 5.0\r\n\r\n"),
    .init(.invalidContentLength, post + "Content-Length: \"5\"\r\n\r\n"),
    .init(.invalidContentLength, post + "Content-Length: 1_000\r\n\r\n"),
    .init(.invalidContentLength, post + "Content-Length: \u{b2}\r\n\r\n"),
    .init(.invalidContentLength, post + "Content-Length: 99999999999999999999a\r\n\r\n"),
    .init(.contentLengthTooLarge, post + "Content-Length: 9223372036854775808\r\n\r\n"),
    .init(.contentLengthTooLarge, post + "Content-Length: 18446744073709551616\r\n\r\n"),
    .init(.contentLengthTooLarge, post + "Content-Length: 18446744073709551621\r\n\r\n"),
    .init(.contentLengthTooLarge, post + "Content-Length: 9999999999999999999\r\n\r\n"),
    .init(.contentLengthTooLarge, post + "Content-Length: 00000000000000000005\r\n\r\n"),
    // RFC 9112 §6.1
    .init(.duplicateTransferEncoding, post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    .init(.duplicateTransferEncoding, post + "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"),
    .init(.invalidTransferEncoding, post + "Transfer-Encoding: chunked, chunked\r\n\r\n"),
    .init(.invalidTransferEncoding, post + "Transfer-Encoding: chunked, gzip\r\n\r\n"),
    .init(.invalidTransferEncoding, post + "Transfer-Encoding: identity\r\n\r\n"),
    .init(.invalidTransferEncoding, post + "Transfer-Encoding: chunked, identity\r\n\r\n"),
    .init(.invalidTransferEncoding, post + "Transfer-Encoding: gzip\r\n\r\n"),
    .init(.invalidTransferEncoding, post + "Transfer-Encoding: xchunked\r\n\r\n"),
    .init(.invalidTransferEncoding, post + "Transfer-Encoding: chunkedx\r\n\r\n"),
    .init(.invalidTransferEncoding, post + "Transfer-Encoding: chunked;q=1\r\n\r\n"),
    .init(.invalidTransferEncoding, post + "Transfer-Encoding: \"chunked\"\r\n\r\n"),
    .init(.invalidTransferEncoding, post + "Transfer-Encoding: ,chunked\r\n\r\n"),
    .init(.invalidTransferEncoding, post + "Transfer-Encoding: chunked,\r\n\r\n"),
    .init(.invalidTransferEncoding, post + "Transfer-Encoding:\r\n\r\n"),
    .init(.invalidTransferEncoding, post + "Transfer-Encoding: chunk ed\r\n\r\n"),
    .init(.invalidTransferEncoding, post + "Transfer-Encoding: chunked\u{a0}\r\n\r\n"),
    .init(.invalidTransferEncoding, post + "Transfer-Encoding: chun\tked\r\n\r\n"),
    .init(.unsupportedTransferEncoding, post + "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    .init(.unsupportedTransferEncoding, post + "Transfer-Encoding: identity, chunked\r\n\r\n"),
    // RFC 9110 §7.6.1
    .init(.invalidConnection, get + "Connection: a b\r\n\r\n"),
    .init(.invalidConnection, get + "Connection: :path\r\n\r\n"),
    .init(.invalidConnection, get + "Connection: \"close\"\r\n\r\n"),
    .init(.tooManyConnectionOptions, get + "Connection: a,b,c,d,e,f,g,h,i,j\r\n\r\n"),
    .init(.tooManyConnectionOptions, get + "Connection: a,b,c,d,e\r\nConnection: f,g,h,i,j\r\n\r\n"),
    .init(.protectedConnectionOption, get + "Connection: host\r\n\r\n"),
    .init(.protectedConnectionOption, get + "Connection: close, Host\r\n\r\n"),
    .init(.protectedConnectionOption, post + "Content-Length: 5\r\nConnection: content-length\r\n\r\n"),
    .init(.protectedConnectionOption, get + "Connection: X-Forwarded-For\r\n\r\n"),
    .init(.protectedConnectionOption, get + "Connection: x-forwarded-client-cert\r\n\r\n"),
    .init(.protectedConnectionOption, get + "Connection: Forwarded\r\n\r\n"),
    .init(.protectedConnectionOption, get + "Connection: authorization\r\n\r\n"),
    .init(.protectedConnectionOption, get + "Connection: Cookie\r\n\r\n"),
    .init(.protectedConnectionOption, get + "Connection: x-envoy-internal\r\n\r\n"),
    .init(.protectedConnectionOption, get + "Connection: close\r\nConnection: x-envoy-unheard-of\r\n\r\n"),
    // RFC 9110 §10.1.1
    .init(.unsupportedExpectation, post + "Content-Length: 5\r\nExpect: something\r\n\r\n"),
    .init(.unsupportedExpectation, post + "Content-Length: 5\r\nExpect: 100-continue, x\r\n\r\n"),
    .init(.unsupportedExpectation, post + "Content-Length: 5\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\n"),
    .init(.unsupportedExpectation, post + "Expect:\r\n\r\n"),
  ]

  @Test(arguments: refusals)
  func refuses(_ refusal: RequestRefusal) {
    let bytes = wire(refusal.text)
    let whole = parseRequest(bytes)
    #expect(whole == .invalid(refusal.error))
    var parser = HTTP1RequestParser()
    let map = HeaderMap()
    checkSplits(bytes, whole: whole) { parseRequest($0, &parser, map) }
  }

  /// Every rule that a request can break has a case above, but for the limits and what is configured, which have tests of
  /// their own.
  @Test func everyRuleIsTried() {
    let tried = Set(Self.refusals.map(\.error))
    let elsewhere: Set<HTTP1Error> = [
      .headTooLarge, .tooManyFields, .transferEncodingInHTTP10, .invalidStatusLine, .invalidStatus,
      .informationalWithBody, .invalidChunkSize, .chunkSizeTooLarge, .invalidChunkExtension, .chunkExtensionsTooLarge,
      .invalidChunkEnd, .trailersTooLarge, .tooManyTrailers, .forbiddenTrailer, .underscoreInFieldName,
    ]
    #expect(tried.union(elsewhere) == Set(HTTP1Error.allCases))
  }

  @Test func statusesAndDetails() {
    #expect(HTTP1Error.bareLF.status == 400)
    #expect(HTTP1Error.targetTooLong.status == 414)
    #expect(HTTP1Error.http10NotAccepted.status == 426)
    #expect(HTTP1Error.headTooLarge.status == 431)
    #expect(HTTP1Error.unsupportedTransferEncoding.status == 501)
    #expect(HTTP1Error.unsupportedVersion.status == 505)
    #expect(HTTP1Error.unsupportedExpectation.status == 417)
    #expect(HTTP1Error.invalidStatusLine.status == 502)
    let details = HTTP1Error.allCases.map { $0.details.description }
    #expect(Set(details).count == details.count)
    #expect(details.allSatisfy { $0.allSatisfy { $0.isLowercase || $0.isNumber || $0 == "_" || $0 == "." } })
  }
}
