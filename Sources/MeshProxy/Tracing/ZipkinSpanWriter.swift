import MeshPrimitives

/// What every span of a Zipkin provider says of the proxy itself.
struct ZipkinSpanFormat: Sendable {
  /// `"localEndpoint":{…}`, as it is sent.
  let localEndpoint: [UInt8]
}
