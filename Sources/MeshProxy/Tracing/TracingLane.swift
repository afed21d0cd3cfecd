import MeshHTTP
import MeshPrimitives

/// One connection manager's part in tracing on one worker: where its spans are written, and what was written before and is
/// the same again. Confined to the worker.
final class TracingLane {
  let configuration: TracingConfiguration
  let tracer: Tracer
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
    stats = configuration.stats.lane(worker.index)
    buffer = worker.spanBuffer(configuration.tracer)
    outcomes = Array(repeating: (SpanOutcome(), []), count: 8)
  }

  /// What an attempt's span says of its cluster.
  func tags(of cluster: ActiveCluster) -> [UInt8] { tracer.format.encoded(Self.tags(of: cluster)) }

  private static func tags(of cluster: ActiveCluster) -> [(key: [UInt8], value: [UInt8])] {
    [
      (Array("upstream_cluster".utf8), Array(cluster.configuration.name.utf8)),
      (Array("upstream_cluster.name".utf8), Array(cluster.configuration.statName.utf8)),
    ]
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
    var tags: [(key: [UInt8], value: [UInt8])] = []
    func add(_ key: StaticString, _ value: some Sequence<UInt8>) { tags.append((Array(Bytes(key)), Array(value))) }
    add("http.method", outcome.method == .other ? Bytes("_OTHER") : Bytes(outcome.method.name))
    add("http.protocol", Bytes(outcome.version.text))
    if !outcome.hasCaller { add("downstream_cluster", "-".utf8) }
    if outcome.isPlain { add("request_size", "0".utf8) }
    add("http.status_code", "\(outcome.status)".utf8)
    add("response_flags", Self.text(of: outcome.flags))
    if outcome.isError { add("error", "true".utf8) }
    if let cluster { tags += Self.tags(of: cluster) }
    return tracer.format.encoded(tags)
  }

  /// The short names with commas between them.
  static func text(of flags: ResponseFlags) -> [UInt8] {
    if flags.isEmpty { return Array("-".utf8) }
    let names = ResponseFlags.names.filter { flags.contains($0.flag) }.map(\.short.description)
    return Array(names.joined(separator: ",").utf8)
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
