import MeshAPI
import MeshHTTP
import MeshPrimitives
import SwiftProtobuf
import Testing

@testable import MeshProxy

/// A stream that has ended, as far as a log line goes.
final class ExampleSource: SubstitutionSource {
  var info = StreamInfo()
  let requestHeaders = HeaderMap()
  var responseHeaders: HeaderMap?
  var responseTrailers: HeaderMap?
  var downstreamWire = WireBytes()
  var downstreamRoundTrip: Nanoseconds?
  var localReplyBody: [UInt8] = []
  var localCloseReason: StaticString?
  var listenerName = ""
  var filterChainName = ""
  var virtualClusterName = ""
  var configuredMetadata: [SubstitutionMetadataSource: Metadata] = [:]

  func randomBits() -> (UInt64, UInt64) { (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210) }
  func metadata(_ source: SubstitutionMetadataSource) -> Metadata? { configuredMetadata[source] }

  init() {
    info.startedAt = MonotonicTime(nanoseconds: 1_000_000_000)
    info.startedAtWallClock = 1_795_317_001_774_987_654  // 2026-11-22T03:10:01.774987654Z
  }

  /// The request of Envoy's documentation: a route timeout behind a front proxy.
  static func example() -> ExampleSource {
    let source = ExampleSource()
    source.request(":method", "GET")
    source.request(":path", "/ptt/1")
    source.request("host", "127.0.0.1:18080")
    source.request("user-agent", "curl/7.88.1")
    source.request("x-forwarded-for", "192.0.2.2")
    source.request("x-request-id", "1e5fb6bd-debf-992c-b0d9-cd3271ad7cf9")
    source.responseHeaders = HeaderMap()
    source.info.responseCode = 504
    source.info.flags = [.upstreamRequestTimeout, .upstreamRetryLimitExceeded]
    source.info.bytesSent = 24
    source.info.endedAt = source.info.startedAt + Nanoseconds(rawValue: 418_999_999)
    source.info.endpoint = Endpoint(
      address: SocketAddress("127.0.0.1:19001")!, hostname: "upstream.test", lanes: 1)
    return source
  }

  func request(_ name: String, _ value: String) { Self.add(requestHeaders, name, Array(value.utf8)) }

  func response(_ name: String, _ value: String) {
    let headers = responseHeaders ?? HeaderMap()
    Self.add(headers, name, Array(value.utf8))
    responseHeaders = headers
  }

  static func add(_ headers: HeaderMap, _ name: String, _ value: [UInt8]) {
    value.withUnsafeBufferPointer { headers.add(HeaderName(name), $0) }
  }

  /// The line by a format, which must compile.
  func line(_ format: String, _ location: SourceLocation = #_sourceLocation) -> String {
    switch SubstitutionFormat.compile(format) {
    case .success(let compiled): return line(compiled)
    case .failure(let problem):
      Issue.record("\(problem)", sourceLocation: location)
      return ""
    }
  }

  /// The line by a JSON format, which is one member with this string.
  func json(_ format: String, omitsEmpty: Bool = false, _ location: SourceLocation = #_sourceLocation) -> String {
    var structure = Google_Protobuf_Struct()
    structure.fields["v"] = Google_Protobuf_Value(stringValue: format)
    return json(structure, omitsEmpty: omitsEmpty, location)
  }

  /// The line by a JSON format, which must compile.
  func json(
    _ structure: Google_Protobuf_Struct, omitsEmpty: Bool = false, _ location: SourceLocation = #_sourceLocation
  ) -> String {
    switch SubstitutionFormat.compile(json: structure, omitsEmpty: omitsEmpty) {
    case .success(let compiled): return line(compiled)
    case .failure(let problem):
      Issue.record("\(problem.path) \(problem)", sourceLocation: location)
      return ""
    }
  }

  func line(_ format: SubstitutionFormat) -> String {
    var output = SubstitutionOutput()
    format.write(self, into: &output)
    return output.bytes.text
  }
}
