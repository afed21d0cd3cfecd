import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("What collectors make of exports")
struct ExportAnswerTests {
  private typealias Fields = [(name: String, value: String)]

  private func answer(_ status: Int, _ headers: Fields = [], _ body: [UInt8] = []) -> SideCall.Outcome {
    .response(SideCall.Response(status: status, headers: headers, body: body))
  }

  @Test("any 2xx is a success", arguments: [200, 201, 202, 204, 299])
  func successes(_ status: Int) {
    #expect(ExportAnswer.of(answer(status), isOTLP: true) == .taken())
    #expect(ExportAnswer.of(answer(status), isOTLP: false) == .taken())
  }

  @Test("OTLP's retryable answers are not Zipkin's")
  func statuses() {
    for status in [429, 502, 503, 504] {
      #expect(
        ExportAnswer.of(answer(status, [("retry-after", "7")]), isOTLP: true)
          == .later("HTTP \(status)", after: .seconds(7)))
      #expect(ExportAnswer.of(answer(status), isOTLP: false) == .refused("HTTP \(status)"))
    }
    for status in [301, 400, 401, 404, 413, 500, 501] {
      #expect(ExportAnswer.of(answer(status), isOTLP: true) == .refused("HTTP \(status)"))
    }
  }

  @Test(
    "retry-after is a number of seconds or nothing",
    arguments: [
      ("0", Nanoseconds.zero), ("120", .seconds(120)), ("99999999999999999999999", .seconds(86_400)), ("", nil),
      ("-1", nil), ("1.5", nil), ("soon", nil), ("Wed, 21 Oct 2015 07:28:00 GMT", nil), ("٣", nil),
    ] as [(String, Nanoseconds?)])
  func waits(_ text: String, _ expected: Nanoseconds?) {
    #expect(ExportAnswer.retryAfter(in: [("retry-after", text)]) == expected)
    #expect(ExportAnswer.retryAfter(in: []) == nil)
  }

  @Test("who was not reached may be asked again; Zipkin not, if it may have them already")
  func silence() {
    for reason in ["no healthy upstream", "remote connection failure", "connection timeout", "overflow"] {
      #expect(ExportAnswer.of(.failure(reason), isOTLP: false) == .none(reason, mayRepeat: true))
    }
    for reason in ["timeout", "connection termination", "remote reset"] {
      #expect(ExportAnswer.of(.failure(reason), isOTLP: false) == .none(reason, mayRepeat: false))
      #expect(ExportAnswer.of(.failure(reason), isOTLP: true) == .none(reason, mayRepeat: true))
      #expect(ExportAnswer.ofCall(.failure(reason)) == .none(reason, mayRepeat: true))
    }
    #expect(ExportAnswer.of(.failure("no cluster"), isOTLP: true) == .noCluster)
    #expect(ExportAnswer.ofCall(.failure("no cluster")) == .noCluster)
    #expect(ExportAnswer.of(.failure("response too large"), isOTLP: true) == .refused("response too large"))
  }

  // MARK: Partial success

  /// ExportTraceServiceResponse{partial_success: {rejected_spans: 300, error_message: "why"}}
  private let partial: [UInt8] = [0x0a, 8, 0x08, 0xac, 0x02, 0x12, 3] + Array("why".utf8)

  @Test("a partial success tells how many spans were rejected, and why")
  func partialSuccess() {
    #expect(ExportAnswer.of(answer(200, [], partial), isOTLP: true) == .taken(rejected: 300, reason: "why"))
    #expect(ExportAnswer.taken(rejected: 300, reason: "why").complaint == "rejected 300 spans: why")
    #expect(ExportAnswer.taken().complaint == nil)
    #expect(ExportAnswer.taken(rejected: 0, reason: "old").complaint == "warns: old")
  }

  @Test("what is no such message is a success all the same")
  func junk() {
    for count in 0..<partial.count {
      #expect(ExportAnswer.partialSuccess(Array(partial.prefix(count))).isTaken)
    }
    // A negative number, one of 70 bits, a length beyond the end, text that is no UTF-8.
    let negative: [UInt8] = [0x0a, 11, 0x08] + Array(repeating: 0xff, count: 9) + [1]
    #expect(ExportAnswer.partialSuccess(negative) == .taken())
    for body: [UInt8] in [
      [0x0a, 12, 0x08] + Array(repeating: 0xff, count: 11), [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], [0xff],
      [0x0a, 3, 0x12, 1, 0xff],
      Array("<html>".utf8),
    ] { #expect(ExportAnswer.partialSuccess(body).isTaken) }
  }

  // MARK: gRPC

  private func call(status: Int, _ headers: Fields = [("content-type", "application/grpc")], _ body: [UInt8] = [])
    -> SideCall.Outcome
  {
    .response(
      SideCall.Response(
        status: 200, headers: headers, body: body,
        trailers: [("grpc-status", "\(status)"), ("grpc-message", "because")]))
  }

  @Test("gRPC's statuses, those that OTLP calls retryable among them")
  func grpc() {
    #expect(ExportAnswer.ofCall(call(status: 0, [("content-type", "application/grpc")], [0, 0, 0, 0, 0])) == .taken())
    let framed = [0, 0, 0, 0, UInt8(partial.count)] + partial
    #expect(
      ExportAnswer.ofCall(call(status: 0, [("content-type", "application/grpc")], framed))
        == .taken(rejected: 300, reason: "why"))
    for status in 1...16 {
      let isRetryable = [1, 4, 10, 11, 14, 15].contains(status)
      let text = "grpc-status \(status) (because)"
      #expect(
        ExportAnswer.ofCall(call(status: status)) == (isRetryable ? .later(text, after: nil) : .refused(text)))
    }
    #expect(ExportAnswer.ofCall(.failure("HTTP 503")) == .later("HTTP 503", after: nil))
    #expect(ExportAnswer.ofCall(.failure("HTTP 404")) == .refused("HTTP 404"))
    #expect(!ExportAnswer.ofCall(answer(200, [("content-type", "text/html")], Array("hello".utf8))).isTaken)
  }

  /// google.rpc.Status{code: 8, message: "m", details: [Any{DebugInfo}, Any{RetryInfo{retry_delay: 2.5 s}}]}
  private static func details(seconds: [UInt8] = [0x08, 2], nanos: [UInt8] = [0x10, 0x80, 0xca, 0xb5, 0xee, 0x01])
    -> [UInt8]
  {
    func field(_ number: UInt8, _ content: [UInt8]) -> [UInt8] { [number << 3 | 2, UInt8(content.count)] + content }
    let info = field(1, seconds + nanos)
    let types = ["type.googleapis.com/google.rpc.DebugInfo", "type.googleapis.com/google.rpc.RetryInfo"]
    return [0x08, 8] + field(2, [0x6d]) + field(3, field(1, Array(types[0].utf8)) + field(2, [0x0a, 0]))
      + field(3, field(1, Array(types[1].utf8)) + field(2, info))
  }

  private static func base64(_ bytes: [UInt8], padded: Bool = true) -> String {
    var encoder = Base64Stream.Encoder()
    var text: [UInt8] = []
    bytes.withUnsafeBufferPointer { encoder.encode($0, into: &text) }
    encoder.finish(into: &text)
    return String(decoding: padded ? text : text.filter { $0 != UInt8(ascii: "=") }, as: UTF8.self)
  }

  @Test("gRPC's word for when to come again, with and without padding")
  func retryInfo() {
    func delay(_ text: String) -> Nanoseconds? { ExportAnswer.retryDelay(in: [("grpc-status-details-bin", text)]) }
    for isPadded in [true, false] {
      #expect(delay(Self.base64(Self.details(), padded: isPadded)) == .milliseconds(2_500))
    }
    #expect(delay(Self.base64(Self.details(seconds: [], nanos: []))) == .zero)
    // -1 s, as ten bytes.
    let negative: [UInt8] = [0x08] + Array(repeating: 0xff, count: 9) + [1]
    #expect(delay(Self.base64(Self.details(seconds: negative, nanos: []))) == .seconds(86_399))
    #expect(ExportAnswer.retryDelay(in: []) == nil)
    for text in ["", "!", "CAg", "CAg="] { #expect(delay(text) == nil) }
    // Cut off anywhere it says nothing, or what it has said so far; never more.
    let all = Self.details()
    for count in 0..<all.count {
      #expect((delay(Self.base64(Array(all.prefix(count)))) ?? .zero) <= .milliseconds(2_500))
    }
    func exhausted(_ trailers: Fields) -> ExportAnswer {
      ExportAnswer.ofCall(
        .response(
          SideCall.Response(
            status: 200, headers: [("content-type", "application/grpc")], body: [],
            trailers: [("grpc-status", "8")] + trailers)))
    }
    #expect(exhausted([]) == .refused("grpc-status 8"))
    #expect(
      exhausted([("grpc-status-details-bin", Self.base64(all))])
        == .later("grpc-status 8", after: .milliseconds(2_500)))
  }
}
