import MeshPrimitives

/// What routing asks of a request. The table is generic over it and is specialised where the request type is known, so
/// that a look-up makes no dynamic call.
public protocol RouteRequest: ~Copyable {
  /// The value of `host` or `:authority`, port included; empty if there is none.
  var host: Bytes { get }
  /// The value of `:path`, query included.
  var path: Bytes { get }
  var method: Bytes { get }
  /// `http` or `https`: what the client speaks, as far as is known.
  var scheme: Bytes { get }
  /// What is known of the client's certificate.
  var peerCertificate: PeerCertificateState { get }
  /// The value of the first field line of this name; nil if there is none.
  func header(_ name: HeaderName) -> Bytes?
  /// Calls `body` with the value of every field line of this name, in order, until it returns false.
  func forEachHeader(_ name: HeaderName, _ body: (Bytes) -> Bool)
}

extension RouteRequest where Self: ~Copyable {
  /// For requests in which no field occurs twice.
  @inlinable
  public func forEachHeader(_ name: HeaderName, _ body: (Bytes) -> Bool) {
    if let value = header(name) { _ = body(value) }
  }

  /// Of a request without a connection.
  @inlinable
  public var peerCertificate: PeerCertificateState { [] }

  /// What `x-forwarded-proto` says, if it says `https`; otherwise `http`.
  @inlinable
  public var scheme: Bytes {
    if let value = header(forwardedProtocol), value.equals("https") { return Bytes("https") }
    return Bytes("http")
  }
}

@usableFromInline let forwardedProtocol = HeaderName("x-forwarded-proto")
