import MeshHTTP
import MeshPrimitives

/// One filter that looks at connections before a filter chain is chosen for them
/// (`envoy.config.listener.v3.ListenerFilter`), checked and compiled. Immutable; shared by all threads.
struct ListenerFilter: Sendable {
  enum Kind: Sendable {
    case tlsInspector(TLSInspector)
    case httpInspector(StatBlock<HTTPInspectorStat>)
    case proxyProtocol(ProxyProtocolFilter)
    /// Where a connection was made to before the kernel redirected it here.
    case originalDestination
    /// How many connections may begin in a time.
    case rateLimit(ConnectionRateLimit)
  }

  /// What a filter says of the bytes that are there.
  enum Verdict: Equatable {
    /// It has seen enough; so many bytes are for nobody else.
    case done(consumed: Int)
    /// More bytes are needed.
    case incomplete
    /// The connection is to be closed.
    case refuse
  }

  let kind: Kind
  /// Connections that it does not look at (`filter_disabled`); nil: it looks at all.
  let exemption: ListenerFilterCondition?
}

/// Which connections a listener filter leaves alone (`ListenerFilterChainMatchPredicate`).
indirect enum ListenerFilterCondition: Sendable, Equatable {
  case any([ListenerFilterCondition])
  case all([ListenerFilterCondition])
  case not(ListenerFilterCondition)
  case always
  /// From the first port to the one before the second.
  case destinationPort(from: Int, to: Int)

  func holds(_ facts: ConnectionFacts) -> Bool {
    switch self {
    case .any(let conditions): conditions.contains { $0.holds(facts) }
    case .all(let conditions): conditions.allSatisfy { $0.holds(facts) }
    case .not(let condition): !condition.holds(facts)
    case .always: true
    case .destinationPort(let from, let to):
      !facts.destination.isUnix && (from..<max(from, to)).contains(Int(facts.destination.port))
    }
  }
}

/// `envoy.filters.listener.tls_inspector`: finds out whether a connection is TLS and what its client asks for.
struct TLSInspector: Sendable {
  /// `max_client_hello_size`, in bytes.
  let limit: Int
  /// Of what begins as TLS does and is none (`close_connection_on_client_hello_parsing_errors`).
  let closesOnErrors: Bool
  let stats: StatBlock<TLSInspectorStat>

  func inspect(_ bytes: Bytes, _ facts: inout ConnectionFacts, lane index: Int) -> ListenerFilter.Verdict {
    let stats = stats.lane(index)
    switch ClientHello.read(bytes, limit: limit) {
    case .incomplete: return .incomplete
    case .tooLarge:
      stats.add(.tooLarge)
      return .refuse
    case .malformed where closesOnErrors: return .refuse
    case .notTLS, .malformed: stats.add(.tlsNotFound)
    case .complete(let hello):
      facts.transportProtocol = "tls"
      facts.serverName = hello.serverName
      facts.applicationProtocols = hello.applicationProtocols
      stats.add(.tlsFound)
      stats.add(hello.serverName.isEmpty ? .nameNotFound : .nameFound)
      stats.add(hello.applicationProtocols.isEmpty ? .protocolsNotFound : .protocolsFound)
    }
    return .done(consumed: 0)
  }
}

/// `envoy.filters.listener.http_inspector`: finds out whether a connection speaks HTTP without TLS, and which version.
enum HTTPInspector {
  static func inspect(
    _ bytes: Bytes, _ facts: inout ConnectionFacts, _ stats: StatLane<HTTPInspectorStat>
  ) -> ListenerFilter.Verdict {
    // What is protected tells by ALPN.
    if facts.transportProtocol != "raw_buffer" { return .done(consumed: 0) }
    switch HTTPPreface.read(bytes) {
    case .incomplete: return .incomplete
    case .notHTTP: stats.add(.notFound)
    case .http10:
      stats.add(.http10Found)
      facts.applicationProtocols = ["http/1.0"]
    case .http11:
      stats.add(.http11Found)
      facts.applicationProtocols = ["http/1.1"]
    case .http2:
      stats.add(.http2Found)
      facts.applicationProtocols = ["h2c"]
    }
    return .done(consumed: 0)
  }
}

/// `envoy.filters.listener.proxy_protocol`: takes the client's address from the header that a proxy in front has sent.
struct ProxyProtocolFilter: Sendable {
  /// What becomes of a typed value.
  struct Rule: Sendable {
    let type: UInt8
    /// `namespace.key` under which its text is noted.
    let key: String
  }

  /// `allow_requests_without_proxy_protocol`.
  let allowsAbsence: Bool
  let rules: [Rule]
  /// Types of typed values that are kept to be passed on; nil: all.
  let passedTypes: Set<UInt8>?
  let disallowed: Set<ProxyHeader.Version>
  let stats: StatBlock<ProxyProtocolStat>

  func inspect(
    _ bytes: Bytes, _ facts: inout ConnectionFacts, lane index: Int
  ) -> ListenerFilter.Verdict {
    let stats = stats.lane(index)
    switch ProxyHeader.read(bytes) {
    case .incomplete: return .incomplete
    case .absent:
      stats.add(allowsAbsence ? .notFoundAllowed : .notFoundDisallowed)
      return allowsAbsence ? .done(consumed: 0) : .refuse
    case .malformed(let version):
      stats.add(version == .v1 ? .v1Error : .v2Error)
      return .refuse
    case .complete(let header, let length):
      stats.add(header.version == .v1 ? .v1Found : .v2Found)
      if disallowed.contains(header.version) {
        stats.add(header.version == .v1 ? .v1Disallowed : .v2Disallowed)
        return .refuse
      }
      if let addresses = header.addresses {
        facts.source = addresses.source
        facts.destination = addresses.destination
      }
      for rule in rules {
        guard let found = header.typedValues.last(where: { $0.type == rule.type }) else { continue }
        facts.metadata[rule.key] = String(decoding: found.value, as: UTF8.self)
      }
      facts.typedValues = header.typedValues.filter { passedTypes?.contains($0.type) ?? true }
      return .done(consumed: length)
    }
  }
}
