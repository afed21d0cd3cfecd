import MeshPrimitives

/// Which connections a filter chain is for (`envoy.config.listener.v3.FilterChainMatch`). An empty list, and nil, stand
/// for any value.
struct FilterChainRule: Hashable, Sendable {
  /// `FilterChainMatch.source_type`.
  enum SourceType: UInt8, Hashable, Sendable { case any, thisMachine, external }

  /// A name that clients ask for.
  enum ServerName: Hashable, Sendable {
    case exact(String)
    /// All names that end with this, which begins with a dot.
    case suffix(String)
  }

  var destinationPort: UInt16?
  var destinationRanges: Set<AddressRange> = []
  var serverNames: Set<ServerName> = []
  var transportProtocol = ""
  var applicationProtocols: Set<String> = []
  var directSourceRanges: Set<AddressRange> = []
  var sourceType = SourceType.any
  var sourceRanges: Set<AddressRange> = []
  var sourcePorts: Set<UInt16> = []

  /// Every connection.
  static let everything = FilterChainRule()
}
