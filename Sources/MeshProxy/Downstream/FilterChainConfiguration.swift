/// What becomes of the connections that a filter chain is chosen for (`envoy.config.listener.v3.FilterChain`), checked
/// and compiled. Immutable; shared by all threads.
public final class FilterChainConfiguration: Sendable {
  /// What makes a filter chain the same one in the next configuration of its listener: then its connections live on.
  struct Identity: Hashable, Sendable {
    let name: String
    let rule: FilterChainRule
    let transport: DownstreamTransport
    let network: NetworkFilter.Kind
  }

  /// `%FILTER_CHAIN_NAME%`; may be empty.
  public let name: String
  /// The connections that the chain is for; those of `default_filter_chain` are chosen without it.
  let rule: FilterChainRule
  let transport: DownstreamTransport
  /// Filters that decide whether a connection is served, in their order.
  let admission: [AdmissionFilter]
  let network: NetworkFilter

  init(
    name: String, rule: FilterChainRule = .everything, transport: DownstreamTransport = .rawBuffer,
    admission: [AdmissionFilter] = [], network: NetworkFilter
  ) {
    self.name = name
    self.rule = rule
    self.transport = transport
    self.admission = admission
    self.network = network
  }

  var identity: Identity { Identity(name: name, rule: rule, transport: transport, network: network.kind) }
}

/// What is between a connection's socket and its network filter (`FilterChain.transport_socket`).
enum DownstreamTransport: Hashable, Sendable {
  /// Nothing.
  case rawBuffer
  case tls(DownstreamTLS)
}

/// What ends a filter chain (`FilterChain.filters`).
enum NetworkFilter: Sendable {
  case connectionManager(ConnectionManagerConfiguration, ListenerHTTPIdentity)
  case tcpProxy(TCPProxyConfiguration, TCPProxyIdentity)

  /// Which filter it is, whatever its configuration.
  enum Kind: UInt8, Hashable, Sendable { case connectionManager, tcpProxy }

  var kind: Kind {
    switch self {
    case .connectionManager: .connectionManager
    case .tcpProxy: .tcpProxy
    }
  }
}
