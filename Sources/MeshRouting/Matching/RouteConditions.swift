import MeshPrimitives

/// What a route asks for beyond the beginning of the path; all of it must hold. Immutable; shared by all threads.
@usableFromInline
final class RouteConditions: Sendable {
  /// `safe_regex`: matches the whole path.
  @usableFromInline let path: RegularExpression?
  @usableFromInline let headers: [HeaderCondition]
  @usableFromInline let query: [QueryCondition]
  @usableFromInline let cookies: [CookieCondition]
  @usableFromInline let fraction: RuntimeFraction?
  /// Only calls of gRPC.
  @usableFromInline let isForGRPC: Bool
  /// What has to be known of the client's certificate, and what must not be (`tls_context`).
  @usableFromInline let certificate: CertificateCondition?

  /// `presented` and `validated`, as far as they are asked for.
  @usableFromInline
  struct CertificateCondition: Equatable, Sendable {
    @usableFromInline let asked: PeerCertificateState
    @usableFromInline let wanted: PeerCertificateState

    init(asked: PeerCertificateState, wanted: PeerCertificateState) {
      self.asked = asked
      self.wanted = wanted
    }

    @inlinable
    func holds(_ state: PeerCertificateState) -> Bool { state.intersection(asked) == wanted }
  }

  init(
    path: RegularExpression? = nil, headers: [HeaderCondition] = [], query: [QueryCondition] = [],
    cookies: [CookieCondition] = [], fraction: RuntimeFraction? = nil, isForGRPC: Bool = false,
    certificate: CertificateCondition? = nil
  ) {
    self.path = path
    self.headers = headers
    self.query = query
    self.cookies = cookies
    self.fraction = fraction
    self.isForGRPC = isForGRPC
    self.certificate = certificate
  }

  var isEmpty: Bool {
    path == nil && headers.isEmpty && query.isEmpty && cookies.isEmpty && fraction == nil && !isForGRPC
      && certificate == nil
  }

  /// What does not hold.
  @usableFromInline
  enum Failure: Equatable {
    case path
    case fraction
    case grpc
    case certificate
    case header(Int)
    case query(Int)
    case cookie(Int)
  }

  /// The first condition that does not hold; nil if all do.
  /// - Parameter path: what path rules look at: without query.
  @inlinable
  func failure<R: RouteRequest & ~Copyable>(_ request: borrowing R, path: Bytes, random: UInt64) -> Failure? {
    if let fraction, !fraction.includes(Self.fractionRandom(random)) { return .fraction }
    if isForGRPC, !(request.header(contentType).map(isGRPC) ?? false) { return .grpc }
    if let certificate, !certificate.holds(request.peerCertificate) { return .certificate }
    for index in headers.indices where !headers[index].holds(request) { return .header(index) }
    for index in query.indices where !query[index].holds(request.path) { return .query(index) }
    for index in cookies.indices where !cookies[index].holds(request) { return .cookie(index) }
    if let expression = self.path, !expression.matches(path) { return .path }
    return nil
  }

  /// Whether a content type is that of calls of gRPC: not that of gRPC-Web.
  @usableFromInline
  func isGRPC(_ type: Bytes) -> Bool {
    type.starts(with: Bytes("application/grpc")) && (type.count == 16 || type[16] == UInt8(ascii: "+"))
  }

  /// The number by which fractions are judged: from the request's one, so that all fractions judge by the same, yet
  /// independent of the choice among weighted clusters, which is made by the request's own.
  @usableFromInline
  static func fractionRandom(_ random: UInt64) -> UInt64 {
    var mixed = random ^ (random >> 32)
    mixed = mixed &* 0x9e37_79b9_7f4a_7c15
    return mixed ^ (mixed >> 29)
  }
}

@usableFromInline let contentType = HeaderName("content-type")
