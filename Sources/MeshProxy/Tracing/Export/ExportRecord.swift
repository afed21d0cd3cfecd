import MeshAPI
import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// What formats in an export's headers are told: time, host, environment; nothing of a request.
final class ExportRecord: SubstitutionSource {
  var info = StreamInfo()
  let requestHeaders: HeaderMap

  private init(_ headers: HeaderMap, _ loop: EventLoop) {
    requestHeaders = headers
    info.startedAt = loop.now
    info.startedAtWallClock = loop.wallClock
  }

  /// Makes the changes.
  static func change(_ headers: HeaderMap, _ mutations: HeaderMutations, _ worker: Worker) {
    var target = Target(headers: headers, source: ExportRecord(headers, worker.loop))
    mutations.apply(to: &target)
  }

  private struct Target: HeaderMutationTarget {
    let headers: HeaderMap
    let source: ExportRecord

    func contains(_ name: HeaderName) -> Bool { headers.value(name) != nil }
    func remove(_ name: HeaderName) { headers.remove(name) }
    func append(_ name: HeaderName, _ value: Bytes) { headers.add(name, value) }
    func set(_ name: HeaderName, _ value: Bytes) { headers.set(name, value) }
    func write(_ format: any HeaderValueFormat, into buffer: inout [UInt8]) {
      HeaderFormat.write(format, of: source, into: &buffer)
    }
  }

  var responseHeaders: HeaderMap? { nil }
  var responseTrailers: HeaderMap? { nil }
  var downstreamWire: WireBytes { WireBytes() }
  var downstreamRoundTrip: Nanoseconds? { nil }
  var localReplyBody: [UInt8] { [] }
  var listenerName: String { "" }
  var filterChainName: String { "" }
  var virtualClusterName: String { "" }
  func randomBits() -> (UInt64, UInt64) { (.random(in: .min ... .max), .random(in: .min ... .max)) }
  func metadata(_ source: SubstitutionMetadataSource) -> Metadata? { nil }
}
