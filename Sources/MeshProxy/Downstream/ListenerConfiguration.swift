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
  /// At least one, in the order of the configuration.
  public let filterChains: [FilterChainConfiguration]

  static let usualAcceptsPerEvent = 64

  init(
    name: String, addresses: [ListenAddress], acceptsPerEvent: Int, statName: String, direction: TrafficDirection,
    ignoresGlobalLimit: Bool, filterChains: [FilterChainConfiguration]
  ) {
    self.name = name
    self.addresses = addresses
    self.acceptsPerEvent = acceptsPerEvent
    self.statName = statName
    self.direction = direction
    self.ignoresGlobalLimit = ignoresGlobalLimit
    self.filterChains = filterChains
  }

  /// The filter chain of every connection, where nothing has to be known of a connection to choose it and nothing is
  /// between the socket and its network filter.
  var direct: FilterChainConfiguration? {
    guard filterChains.count == 1, filterChains[0].transport == .rawBuffer else { return nil }
    return filterChains[0]
  }
}
