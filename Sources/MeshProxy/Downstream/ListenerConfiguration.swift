import MeshAPI

/// A listener of a configuration snapshot. Immutable; shared by all threads.
public final class ListenerConfiguration: Sendable {
  public let name: String
  /// At least one; the first is the listener's own, the others its `additional_addresses`.
  public let addresses: [ListenAddress]
  /// Connections that a worker accepts before it serves others (`max_connections_to_accept_per_socket_event`), 1…
  public let acceptsPerEvent: Int
  /// `listener.<this>.…`
  public let statName: String
  public let direction: TrafficDirection
  /// `ignore_global_conn_limit`.
  public let ignoresGlobalLimit: Bool
  /// At least one, in the order of the configuration; the last is `default_filter_chain`, if `hasDefaultChain`.
  public let filterChains: [FilterChainConfiguration]
  /// The last chain is for the connections that no other is for.
  let hasDefaultChain: Bool
  /// Finds the place of a connection's chain, but for the default chain.
  private let matcher: FilterChainMatcher
  /// `access_log`, of connections.
  let logging: LoggingConfiguration

  static let usualAcceptsPerEvent = 64

  init(
    name: String, addresses: [ListenAddress], acceptsPerEvent: Int, statName: String, direction: TrafficDirection,
    ignoresGlobalLimit: Bool, filterChains: [FilterChainConfiguration], hasDefaultChain: Bool = false,
    logging: LoggingConfiguration = LoggingConfiguration()
  ) throws(FilterChainMatcher.Conflict) {
    self.name = name
    self.addresses = addresses
    self.acceptsPerEvent = acceptsPerEvent
    self.statName = statName
    self.direction = direction
    self.ignoresGlobalLimit = ignoresGlobalLimit
    self.filterChains = filterChains
    self.hasDefaultChain = hasDefaultChain
    self.logging = logging
    matcher = try FilterChainMatcher(filterChains.dropLast(hasDefaultChain ? 1 : 0).map(\.rule))
  }

  /// The place of the filter chain for a connection; nil if there is none.
  func chain(for facts: ConnectionFacts) -> Int? {
    matcher.match(facts) ?? (hasDefaultChain ? filterChains.count - 1 : nil)
  }

  /// The filter chain of every connection, where nothing has to be known of a connection to choose it and nothing is
  /// between the socket and its network filter.
  var direct: FilterChainConfiguration? {
    guard filterChains.count == 1, filterChains[0].transport == .rawBuffer,
      hasDefaultChain || filterChains[0].rule == .everything
    else { return nil }
    return filterChains[0]
  }
}
