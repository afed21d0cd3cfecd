import MeshHTTP
import MeshPrimitives
import MeshRouting

/// What the router knows of the choice of an endpoint, where the request has a say in it, or where the cluster is one of
/// clusters.
struct RouterChoice {
  /// What the route's hash policies found in the request.
  var hash: UInt64?
  /// They have looked.
  var isHashed = false
  /// Cookies that the client gets to be known by, as `set-cookie` has them.
  var cookies: [[UInt8]] = []
  /// Which of an aggregate cluster's clusters has the attempt; it counts the request, too.
  var member: ActiveCluster?
  /// There was an endpoint, but its cluster takes no more requests.
  var isOverflown = false
}

/// Limits of a cluster's circuit breaker that a request can meet.
enum ReachedLimit {
  case requests, pendingRequests
}

/// Clusters for which more has to be seen to than whose turn it is: TLS, refusals by share, hashes, clusters of clusters.
extension RouterFilter {
  /// The request's cluster is known; its headers are still those of the client.
  /// - Returns: false if the request has been answered.
  @inline(never)
  func beginChoice(_ stream: Stream, _ cluster: ActiveCluster, _ headers: HeaderMap) -> Bool {
    if cluster.hasTLS { stream.manager?.matchScheme(headers) }
    if let share = cluster.configuration.dropOverload, share.includes(stream.worker.random.next()) {
      let reply = LocalReply.dropOverload(all: share.includes(.max), saysSo: !configuration.suppressesEnvoyHeaders)
      // No attempt has been made, and none will be.
      count(reply.status, stream, cluster)
      stream.sendLocalReply(reply)
      return false
    }
    if !cluster.picksPlainly { choice = RouterChoice() }
    return true
  }

  /// What an attempt's choice of an endpoint may depend on.
  func endpointChoice(_ stream: Stream, _ cluster: ActiveCluster) -> EndpointChoice {
    // Of the request as it is sent, as in Envoy; for all of its attempts.
    if choice?.isHashed == false { hash(stream, cluster) }
    return EndpointChoice(hash: choice?.hash, connection: stream.info.connection, headers: stream.requestHeaders)
  }

  private func hash(_ stream: Stream, _ cluster: ActiveCluster) {
    choice?.isHashed = true
    guard cluster.usesHash, case .forward(let action)? = stream.info.route?.action, let policies = action.hashPolicies
    else { return }
    var cookies: [[UInt8]] = []
    choice?.hash = policies.hash(
      RoutingView(stream.requestHeaders), address: { Self.writeAddress(stream, into: $0) },
      make: { Self.makeCookie($0, stream, &cookies) })
    guard !cookies.isEmpty else { return }
    choice?.cookies = cookies
    hasNews = true
  }

  private static func writeAddress(_ stream: Stream, into out: UnsafeMutablePointer<UInt8>) -> Int {
    guard let address = stream.info.connection?.remoteAddress, !address.isUnix else { return 0 }
    return address.ip.writeText(into: out)
  }

  /// Its value is the same for all requests of a connection, so that they do not race for different ones.
  private static func makeCookie(
    _ cookie: HashPolicies.Cookie, _ stream: Stream, _ cookies: inout [[UInt8]]
  ) -> [UInt8] {
    let connection = stream.info.connection
    let ends = "\(connection?.directRemoteAddress.description ?? "")\(connection?.localAddress.description ?? "")"
    let number = Array(ends.utf8).withUnsafeBufferPointer { XXHash64.hash($0) }
    var value: [UInt8] = []
    for shift in stride(from: UInt64(60), through: 0, by: -4) {
      let digit = UInt8(truncatingIfNeeded: number >> shift & 15)
      value.append(digit < 10 ? 0x30 + digit : 0x57 + digit)
    }
    cookies.append(
      cookie.name + Array("=\"".utf8) + value + Array("\"".utf8) + (cookie.attributes ?? []))
    return value
  }

  /// A response goes to the client.
  func addCookies(to headers: HeaderMap) {
    guard let choice else { return }
    for cookie in choice.cookies { cookie.withUnsafeBufferPointer { headers.add(.setCookie, $0) } }
  }

  /// The endpoint for an attempt; nil if there is none.
  func pickEndpoint(_ stream: Stream, _ cluster: ActiveCluster, _ choice: EndpointChoice) -> ActiveEndpoint? {
    guard let aggregate = cluster.aggregate else { return cluster.pickEndpoint(choice) }
    return pickMember(stream, aggregate, choice)
  }

  // MARK: Aggregate clusters

  /// The endpoint for an attempt at an aggregate cluster. Its own cluster counts the request as long as the attempt is the
  /// last one; one whose circuit breaker is open is passed over.
  private func pickMember(_ stream: Stream, _ aggregate: AggregateBalancer, _ choice: EndpointChoice) -> ActiveEndpoint?
  {
    leaveMember()
    switch aggregate.admit(choice, priority) {
    case .admitted(let endpoint):
      let member = endpoint.cluster
      member.stats.add(.requestActive)
      self.choice?.member = member
      if member.hasTLS { stream.manager?.matchScheme(stream.requestHeaders) }
      return endpoint
    case .full(let cluster):
      cluster.stats.add(.requestActiveOverflow)
      self.choice?.isOverflown = true
      return nil
    case .noEndpoint: return nil
    }
  }

  func leaveMember() {
    guard let member = choice?.member else { return }
    choice?.member = nil
    member.stats.subtract(.requestActive)
    member.breakers[priority].requests.leave()
  }

  /// There is no endpoint for an attempt.
  @inline(never)
  func noEndpoint(_ stream: Stream, _ cluster: ActiveCluster) {
    if choice?.isOverflown == true { return fail(stream, reset(.overflow, "", stream)) }
    cluster.stats.add(.connectionNoneHealthy)
    fail(stream, .noHealthyUpstream)
  }

  func endChoice() {
    leaveMember()
    choice = nil
  }
}

extension LocalReply {
  /// The configuration says that a share of the requests, or all of them, is refused.
  /// - Parameter saysSo: in a header.
  fileprivate static func dropOverload(all: Bool, saysSo: Bool) -> LocalReply {
    guard all else {
      return LocalReply(
        status: 503, text: "drop overload", flags: .dropOverload, details: .init("drop_overload"),
        headers: saysSo ? [(.xEnvoyDropOverload, "true")] : [])
    }
    return LocalReply(
      status: 503, text: "unconditional drop overload", flags: .unconditionalDropOverload,
      details: .init("unconditional_drop_overload"),
      headers: saysSo ? [(.xEnvoyUnconditionalDropOverload, "true")] : [])
  }
}
