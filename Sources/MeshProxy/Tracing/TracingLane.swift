import MeshHTTP
import MeshPrimitives

/// One connection manager's part in tracing on one worker: where its spans are written, and what was written before and is
/// the same again. Confined to the worker.
final class TracingLane {
  let configuration: TracingConfiguration
  let tracer: Tracer
  /// As the configuration says.
  let tellsNames: Bool
  let stats: StatLane<TracingStat>
  let buffer: SpanBuffer
  /// What is put together for a tag.
  let scratch = SpanOutput(capacity: 512)
  /// The tags of the outcomes that came last, by a few bits of them.
  private var outcomes: [(outcome: SpanOutcome, tags: [UInt8])]
  /// The tag of the client that came last.
  private var client: (address: IPAddress, tag: [UInt8])?

  init(_ configuration: TracingConfiguration, _ worker: Worker) {
    self.configuration = configuration
    tracer = configuration.tracer
    tellsNames = configuration.tellsNames
    stats = configuration.stats.lane(worker.index)
    buffer = worker.spanBuffer(configuration.tracer)
    outcomes = Array(repeating: (SpanOutcome(), []), count: 8)
  }

  /// What a request's span says of how it went.
  @inline(__always)
  func tags(of outcome: SpanOutcome, _ cluster: ActiveCluster?) -> [UInt8] {
    let place = outcome.place
    if outcomes[place].outcome != outcome { outcomes[place] = (outcome, write(outcome, cluster)) }
    return outcomes[place].tags
  }

  @inline(never)
  private func write(_ outcome: SpanOutcome, _ cluster: ActiveCluster?) -> [UInt8] {
    tracer.format.encoded(Self.tags(of: outcome, cluster))
  }

  /// The same, one by one.
  static func tags(of outcome: SpanOutcome, _ cluster: ActiveCluster?) -> [(key: [UInt8], value: [UInt8])] {
    var tags: [(key: [UInt8], value: [UInt8])] = []
    func add(_ key: StaticString, _ value: some Sequence<UInt8>) { tags.append((Array(Bytes(key)), Array(value))) }
    // Another method is written by whoever knows it.
    if outcome.method != .other { add("http.method", Bytes(outcome.method.name)) }
    add("http.protocol", Bytes(outcome.version.text))
    if !outcome.hasCaller { add("downstream_cluster", "-".utf8) }
    if outcome.isPlain { add("request_size", "0".utf8) }
    add("http.status_code", "\(outcome.status)".utf8)
    add("response_flags", outcome.flags.shortNames)
    if outcome.isError { add("error", "true".utf8) }
    if let cluster {
      add("upstream_cluster", cluster.configuration.name.utf8)
      add("upstream_cluster.name", cluster.configuration.statName.utf8)
    }
    return tags
  }

  /// `peer.address`.
  @inline(__always)
  func tag(ofClient address: SocketAddress) -> [UInt8] {
    if let client, !address.isUnix, client.address == address.ip { return client.tag }
    return write(address)
  }

  @inline(never)
  private func write(_ address: SocketAddress) -> [UInt8] {
    let text = address.isUnix ? address.description : address.ip.description
    let tag = tracer.format.encoded([(Array("peer.address".utf8), Array(text.utf8))])
    if !address.isUnix { client = (address.ip, tag) }
    return tag
  }
}

/// How a request went, as far as most requests go alike: what their spans say of it is written once.
struct SpanOutcome: Equatable {
  var method = HTTPMethod.other
  var version = HTTPVersion.http10
  /// The caller has said who it is (`x-envoy-downstream-service-cluster`).
  var hasCaller = false
  /// There was no body.
  var isPlain = false
  var isError = false
  /// -1: no outcome.
  var status = -1
  var flags = ResponseFlags()
  var cluster: ObjectIdentifier?

  @inline(__always)
  fileprivate var place: Int { (status &+ Int(method.rawValue) &+ (isPlain ? 0 : 3)) & 7 }
}
