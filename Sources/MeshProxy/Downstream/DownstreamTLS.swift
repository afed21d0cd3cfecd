import MeshIO
import MeshPrimitives

/// TLS with the clients of a filter chain (`DownstreamTlsContext`). Immutable but for the context, which changes with its
/// secrets; shared by all threads.
final class DownstreamTLS: Sendable {
  /// Our own bound where the configuration has none: a client that never finishes its handshake costs memory.
  static let usualHandshakeTimeout = Nanoseconds.seconds(10)

  let cell: TLSContextCell
  let stats: TLSStats
  /// `transport_socket_connect_timeout`; nil: no limit.
  let handshakeTimeout: Nanoseconds?
  /// What it was made from.
  private let fingerprint: [UInt8]

  init(_ cell: TLSContextCell, _ stats: TLSStats, handshakeTimeout: Nanoseconds?, fingerprint: [UInt8]) {
    self.cell = cell
    self.stats = stats
    self.handshakeTimeout = handshakeTimeout
    self.fingerprint = fingerprint
  }
}

/// The same in two configurations if both say the same of it: then connections live on.
extension DownstreamTLS: Hashable {
  static func == (a: DownstreamTLS, b: DownstreamTLS) -> Bool { a.fingerprint == b.fingerprint }
  func hash(into hasher: inout Hasher) { hasher.combine(fingerprint) }
}
