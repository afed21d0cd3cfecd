import MeshPrimitives

/// Why a request takes the route it takes: for people and their tools, not for the way of a request.
public struct RouteExplanation: Sendable {
  /// How a domain came to serve a host.
  public enum DomainKind: Sendable { case exact, suffix, prefix, any }

  /// The virtual host that serves the request's host.
  public struct Host: Sendable {
    public let index: Int
    public let name: String
    /// The domain that decided, as it is configured.
    public let domain: String
    public let kind: DomainKind
  }

  /// Why a route was not taken, or that it was.
  public enum Verdict: Equatable, Sendable {
    case taken
    /// `prefix`, `path` or `path_separated_prefix` does not match, or the expression cannot.
    case pathDiffers
    /// `safe_regex` does not match.
    case expressionDiffers
    /// The request does not belong to the share of `runtime_fraction`.
    case outsideFraction
    /// The request is no call of gRPC.
    case notGRPC
    /// `tls_context` asks for another certificate of the client, or for none.
    case certificateDiffers
    /// The condition at this place in `headers` does not hold.
    case header(Int)
    /// The condition at this place in `query_parameters` does not hold.
    case query(Int)
    /// The condition at this place in `cookies` does not hold.
    case cookie(Int)
  }

  /// A route that was tried.
  public struct Attempt: Sendable {
    /// `virtual_hosts[…].routes[routeIndex]`.
    public let routeIndex: Int
    /// `Route.name`; often empty.
    public let name: String
    public let verdict: Verdict
  }

  /// Nil: no domain serves the request's host.
  public let host: Host?
  /// The request must come over TLS: it is redirected, and no route is tried.
  public let isSentToTLS: Bool
  /// The routes in their order, up to the one that is taken.
  public let attempts: [Attempt]
  /// What becomes of the request; nil: nothing, the answer is 404.
  public let entry: RouteEntry?
}

extension RouteTable {
  /// The virtual host that serves a host, and how many routes it has; nil if none does. As fast as `match`.
  public func virtualHost(serving host: Bytes) -> (name: String, routes: Int)? {
    let number = virtualHost(host)
    guard number >= 0 else { return nil }
    return (hostNames[number], hosts[number].rows.count)
  }

  /// Finds a request's route as `match` does, the slow way, and says why.
  /// - Parameter random: as for `match`.
  public func explain<R: RouteRequest & ~Copyable>(_ request: borrowing R, random: UInt64) -> RouteExplanation {
    guard let host = host(for: request.host) else {
      return RouteExplanation(host: nil, isSentToTLS: false, attempts: [], entry: nil)
    }
    let routes = request.method.equals("CONNECT") ? connectHosts[host.index] : hosts[host.index]
    if let redirect = routes.tlsRedirect, routes.mustComeOverTLS(request) {
      return RouteExplanation(host: host, isSentToTLS: true, attempts: [], entry: redirect)
    }
    var path = Array(PathRule.withoutQuery(request.path))
    if routes.ignoresPathParameters { path = Self.withoutParameters(path) }
    var attempts: [RouteExplanation.Attempt] = []
    for number in routes.rows.indices {
      let first = routes.entries[routes.rows[number].firstEntry]
      var verdict = RouteExplanation.Verdict.pathDiffers
      path.withUnsafeBufferPointer { verdict = self.verdict(routes, number, request, $0, random) }
      attempts.append(.init(routeIndex: first.routeIndex, name: first.name, verdict: verdict))
      if verdict == .taken {
        let entry = routes.entry(number, request, random)
        return RouteExplanation(host: host, isSentToTLS: false, attempts: attempts, entry: entry)
      }
    }
    return RouteExplanation(host: host, isSentToTLS: false, attempts: attempts, entry: nil)
  }

  private func verdict<R: RouteRequest & ~Copyable>(
    _ routes: VirtualHostRoutes, _ number: Int, _ request: borrowing R, _ path: Bytes, _ random: UInt64
  ) -> RouteExplanation.Verdict {
    guard routes.ruleMatches(number, path) else { return .pathDiffers }
    switch routes.conditions[number].failure(request, path: path, random: random) {
    case nil: return .taken
    case .path: return .expressionDiffers
    case .fraction: return .outsideFraction
    case .grpc: return .notGRPC
    case .certificate: return .certificateDiffers
    case .header(let index): return .header(index)
    case .query(let index): return .query(index)
    case .cookie(let index): return .cookie(index)
    }
  }

  /// The virtual host of a host name, by trying every domain.
  private func host(for host: Bytes) -> RouteExplanation.Host? {
    let name = (ignoresPort ? Self.withoutPort(host) : host).map(\.asciiLowercased)
    var best: (rank: (Int, Int), domain: ConfiguredDomain)?
    for domain in configuredDomains {
      guard domain.serves(name) else { continue }
      let rank = (domain.kind.rank, domain.text.count)
      if best.map({ $0.rank < rank }) ?? true { best = (rank, domain) }
    }
    return best.map {
      .init(
        index: $0.domain.host, name: hostNames[$0.domain.host],
        domain: String(decoding: $0.domain.written, as: UTF8.self), kind: $0.domain.kind)
    }
  }

  private static func withoutParameters(_ path: [UInt8]) -> [UInt8] {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: path.count) { buffer in
      path.withUnsafeBufferPointer { Array(PathRule.withoutParameters($0, into: buffer)) }
    }
  }
}

extension RouteExplanation.DomainKind {
  /// The higher one wins.
  var rank: Int {
    switch self {
    case .exact: 3
    case .suffix: 2
    case .prefix: 1
    case .any: 0
    }
  }
}

/// A domain of a virtual host, checked.
struct ConfiguredDomain: Sendable {
  let kind: RouteExplanation.DomainKind
  /// In lower case, without `*`.
  let text: [UInt8]
  /// The place of the virtual host.
  let host: Int

  /// With its `*`.
  var written: [UInt8] {
    switch kind {
    case .exact: text
    case .suffix: [UInt8(ascii: "*")] + text
    case .prefix: text + [UInt8(ascii: "*")]
    case .any: [UInt8(ascii: "*")]
    }
  }

  /// - Parameter name: in lower case.
  func serves(_ name: [UInt8]) -> Bool {
    switch kind {
    case .exact: name == text
    case .suffix: name.count > text.count && name.suffix(text.count) == text[...]
    case .prefix: name.count > text.count && name.starts(with: text)
    case .any: true
    }
  }
}
