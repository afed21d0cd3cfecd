import MeshPrimitives

/// What of a request its hash is made of (Envoy's `hash_policy`): by it consistent hashing chooses an endpoint. The numbers
/// are Envoy's. Immutable; shared by all threads.
public struct HashPolicies: Sendable {
  /// A cookie that a request's hash is made of.
  public struct Cookie: Sendable {
    public let name: [UInt8]
    /// What stands behind name and value in `set-cookie` when it is made (`; Max-Age=…`); nil: none is made.
    public let attributes: [UInt8]?
  }

  enum Source: Sendable {
    case header(HeaderName, rewrite: Substitution?)
    case cookie(Cookie)
    case address
    case parameter([UInt8])
    /// Nothing is wanted of the connection.
    case nothing
  }

  struct Policy: Sendable {
    let source: Source
    /// What follows does not count if there is a hash by now.
    let isTerminal: Bool
  }

  let policies: [Policy]

  /// The hash of a request; nil if no policy finds anything in it.
  /// - Parameters:
  ///   - address: writes the client's IP address as text, and says how long it is; 0 if there is none.
  ///   - make: makes a cookie that the request does not have, and gives back its value.
  public func hash<R: RouteRequest & ~Copyable>(
    _ request: borrowing R, address: (UnsafeMutablePointer<UInt8>) -> Int, make: (Cookie) -> [UInt8]
  ) -> UInt64? {
    var hash: UInt64?
    for policy in policies {
      let found: UInt64? =
        switch policy.source {
        case .header(let name, let rewrite): Self.header(name, rewrite, request)
        case .cookie(let cookie): Self.cookie(cookie, request, make)
        case .address:
          withUnsafeTemporaryAllocation(of: UInt8.self, capacity: IPAddress.maximumText) { text in
            guard let start = text.baseAddress else { return nil }
            let length = address(start)
            return length > 0 ? XXHash64.hash(Bytes(start: start, count: length)) : nil
          }
        case .parameter(let name):
          name.withUnsafeBufferPointer { QueryCondition.value(of: $0, in: request.path) }.map { XXHash64.hash($0) }
        case .nothing: nil
        }
      // Turned, so that two policies that find the same do not cancel each other out.
      if let found { hash = hash.map { ($0 << 1 | $0 >> 63) ^ found } ?? found }
      if policy.isTerminal, hash != nil { break }
    }
    return hash
  }

  private static func header<R: RouteRequest & ~Copyable>(
    _ name: HeaderName, _ rewrite: Substitution?, _ request: borrowing R
  ) -> UInt64? {
    var values: [[UInt8]] = []
    request.forEachHeader(name) { value in
      values.append(rewrite.flatMap { $0.apply(to: value) } ?? Array(value))
      return true
    }
    guard !values.isEmpty else { return nil }
    // In whichever order they come.
    values.sort { $0.lexicographicallyPrecedes($1) }
    return values.reduce(0) { seed, value in value.withUnsafeBufferPointer { XXHash64.hash($0, seed: seed) } }
  }

  private static func cookie<R: RouteRequest & ~Copyable>(
    _ cookie: Cookie, _ request: borrowing R, _ make: (Cookie) -> [UInt8]
  ) -> UInt64? {
    var hash: UInt64?
    cookie.name.withUnsafeBufferPointer { name in
      request.forEachHeader(CookieCondition.header) { line in
        guard let value = CookieCondition.value(of: name, in: line) else { return true }
        if value.count > 0 { hash = XXHash64.hash(value) }
        return false
      }
    }
    guard hash == nil, cookie.attributes != nil else { return hash }
    return make(cookie).withUnsafeBufferPointer { XXHash64.hash($0) }
  }
}
