import MeshHTTP
import MeshPrimitives

/// How the client of a request is found when it may be behind other proxies, and which clients are our own. Immutable.
struct ClientAddressRules: Sendable {
  /// One way to find the client in the headers (`original_ip_detection_extensions`).
  enum Detector: Sendable {
    /// The address so many places before the end of `x-forwarded-for`.
    case hops(UInt32, appends: Bool)
    /// The last address in `x-forwarded-for` that is none of these; asked only if the peer is one of them.
    case trustedProxies([AddressRange], appends: Bool)
    /// The value of a header. With a rejection, a request without an address there is answered with this status.
    case header(HeaderName, isTrusted: Bool, rejection: Int?)
  }

  /// What is known of a request's client.
  struct Detection {
    /// nil: whoever is at the other end of the connection.
    var address: IPAddress?
    /// Whether the address may be that of an internal client.
    var isTrusted = false
    /// Whether the peer's address is to be appended to `x-forwarded-for`.
    var appends = false
    /// The status with which the request is to be refused.
    var rejection: Int?
  }

  /// Trust the connection, not the headers (`use_remote_address`): the proxy stands at the edge.
  var usesRemoteAddress = false
  /// `xff_num_trusted_hops`, at the edge.
  var trustedHops: UInt32 = 0
  /// `skip_xff_append`, at the edge.
  var appendsForwardedFor = true
  /// Elsewhere than at the edge; the first that finds an address decides.
  var detectors: [Detector] = [.hops(0, appends: false)]
  /// Whether there is something to do for a request without `x-forwarded-for`, too.
  var alwaysDetects = false
  /// `internal_address_config.cidr_ranges`; empty: no IP address is internal.
  var internalRanges: [AddressRange] = []
  /// `internal_address_config.unix_sockets`.
  var unixSocketsAreInternal = false

  /// Whether, at the edge, the client may be somebody else than the peer, or one of our own.
  private(set) var looksFurther = false

  /// To be called when all rules are set.
  mutating func seal() { looksFurther = trustedHops > 0 || unixSocketsAreInternal || !internalRanges.isEmpty }

  /// The ranges of an `internal_address_config` that names none.
  static let privateRanges = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.1/32", "fd00::/8", "::1/128"]
    .compactMap { AddressRange($0) }

  func isInternal(_ address: SocketAddress) -> Bool {
    address.isUnix ? unixSocketsAreInternal : isInternal(address.ip)
  }

  func isInternal(_ address: IPAddress) -> Bool { internalRanges.contains { $0.contains(address) } }

  /// Asks the detectors.
  @inline(never)
  func detect(_ headers: HeaderMap, peer: SocketAddress) -> Detection {
    var result = Detection()
    for detector in detectors {
      let found: ForwardedFor.Client?
      switch detector {
      case .hops(let hops, let appends):
        result.appends = result.appends || appends
        found = Self.forwardedFor(headers).flatMap { ForwardedFor.client($0, skipping: hops) }
      case .trustedProxies(let trusted, let appends):
        let isTrusted = !peer.isUnix && trusted.contains { $0.contains(peer.ip) }
        result.appends = result.appends || appends || !isTrusted
        found =
          isTrusted ? Self.forwardedFor(headers).flatMap { ForwardedFor.client($0, trusted: trusted) } : nil
      case .header(let name, let isTrusted, let rejection):
        let address = headers.value(name).flatMap { ForwardedFor.address($0) }
        if address == nil, let rejection {
          result.rejection = rejection
          return result
        }
        found = address.map { .init(address: $0, isAlone: isTrusted) }
      }
      if let found {
        result.address = found.address
        result.isTrusted = found.isAlone
        break
      }
    }
    return result
  }

  /// The client that trusted proxies before the edge have named in `x-forwarded-for`; nil if they have not.
  @inline(never)
  func clientBeforeEdge(_ headers: HeaderMap) -> IPAddress? {
    guard trustedHops > 0 else { return nil }
    return Self.forwardedFor(headers).flatMap { ForwardedFor.client($0, skipping: trustedHops - 1)?.address }
  }

  /// The value of `x-forwarded-for`, several lines being one (RFC 9110 §5.3).
  private static func forwardedFor(_ headers: HeaderMap) -> Bytes? {
    if headers.isRepeated(.xForwardedFor) { headers.combine(.xForwardedFor, ",") }
    return headers.value(.xForwardedFor)
  }
}
