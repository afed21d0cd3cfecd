import MeshPrimitives
import MeshRouting

/// What the spans of some requests are called and say: the connection manager's rules, or those with a route's over them.
/// Immutable.
struct SpanRules: Sendable {
  /// A tag whose value the request decides.
  struct Tag: Sendable {
    enum Value: Sendable {
      case header(HeaderName)
      case format(SubstitutionFormat)
    }

    let name: [UInt8]
    let value: Value
    /// Where there is no value; empty: there is no tag then.
    var fallback: [UInt8]
  }

  /// A custom tag, compiled.
  enum CompiledTag: Sendable {
    case constant(name: [UInt8], value: [UInt8])
    case dynamic(Tag)

    var name: [UInt8] {
      switch self {
      case .constant(let name, _): name
      case .dynamic(let tag): tag.name
      }
    }
  }

  /// `operation`; nil: not said.
  var operation: SubstitutionFormat?
  /// `upstream_operation`; nil: not said.
  var upstreamOperation: SubstitutionFormat?
  /// The tags that are the same in each span, in the tracer's form: those of a request's span.
  let constants: [UInt8]
  /// The same for the span of an attempt.
  let upstreamConstants: [UInt8]
  let tags: [Tag]
  /// The names of the span's own tags that these take the place of; most often none.
  let replaced: Set<[UInt8]>

  private static let ownTags = Set(
    [
      "guid:x-request-id", "guid:x-client-trace-id", "http.url", "http.method", "http.protocol", "http.status_code",
      "downstream_cluster", "user_agent", "peer.address", "request_size", "response_size", "response_flags",
      "upstream_cluster", "upstream_cluster.name", "error", "grpc.path", "grpc.authority", "grpc.content_type",
      "grpc.timeout", "grpc.status_code", "grpc.message",
    ].map { Array($0.utf8) })

  /// - Parameter node: what a request's span says of this proxy.
  init(
    operation: SubstitutionFormat?, upstreamOperation: SubstitutionFormat?, tags: [CompiledTag],
    node: [(key: [UInt8], value: [UInt8])], format: Tracer.Format
  ) {
    self.operation = operation
    self.upstreamOperation = upstreamOperation
    var shared: [(key: [UInt8], value: [UInt8])] = [(Array("component".utf8), Array("proxy".utf8))]
    var dynamic: [Tag] = []
    for tag in tags {
      switch tag {
      case .constant(let name, let value): shared.append((name, value))
      case .dynamic(var tag):
        // Where there is no value the span's own stays.
        if tag.fallback.isEmpty, let own = (node + shared).first(where: { $0.key == tag.name }) {
          tag.fallback = own.value
        }
        dynamic.append(tag)
      }
    }
    self.tags = dynamic
    replaced = Set(tags.map(\.name)).intersection(Self.ownTags)
    let names = Set(tags.map(\.name))
    shared = shared.enumerated().filter { $0.offset > 0 || !names.contains($0.element.key) }.map(\.element)
    constants = format.encoded(node.filter { !names.contains($0.key) } + shared)
    upstreamConstants = format.encoded(shared)
  }
}

extension Tracer.Format {
  /// Tags that are the same in each span, as its writer takes them.
  func encoded(_ tags: [(key: [UInt8], value: [UInt8])]) -> [UInt8] {
    switch self {
    case .otlp: OTLPSpanWriter.encoded(tags)
    case .zipkin: ZipkinSpanWriter.encoded(tags)
    case .zipkinProtobuf: ZipkinProtobufSpanWriter.encoded(tags)
    }
  }
}
