import MeshAPI
import MeshPrimitives

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
  /// In their order.
  let listenerFilters: [ListenerFilter]
  /// How long they may wait for bytes (`listener_filters_timeout`); nil: for ever.
  let listenerFiltersTimeout: Nanoseconds?
  /// A connection goes on when that time is over, instead of being closed (`continue_on_listener_filters_timeout`).
  let continuesOnTimeout: Bool
  /// A connection goes on at the listener that has its original destination (`use_original_dst`).
  let usesOriginalDestination: Bool
  /// Connections come from other listeners only if not (`bind_to_port`).
  let bindsToPort: Bool
  /// At least one, in the order of the configuration; the last is `default_filter_chain`, if `hasDefaultChain`.
  public let filterChains: [FilterChainConfiguration]
  /// The last chain is for the connections that no other is for.
  let hasDefaultChain: Bool
  /// Finds the place of a connection's chain, but for the default chain.
  private let matcher: FilterChainMatcher
  /// `access_log`, of connections.
  let logging: LoggingConfiguration

  static let usualAcceptsPerEvent = 64

  /// What happens to a connection before its filter chain is chosen; see the properties.
  struct Filters {
    var filters: [ListenerFilter] = []
    var timeout: Nanoseconds? = .seconds(15)
    var continuesOnTimeout = false
    var usesOriginalDestination = false
    var bindsToPort = true
  }

  init(
    name: String, addresses: [ListenAddress], acceptsPerEvent: Int, statName: String, direction: TrafficDirection,
    ignoresGlobalLimit: Bool, filters: Filters = Filters(), filterChains: [FilterChainConfiguration],
    hasDefaultChain: Bool = false,
    logging: LoggingConfiguration = LoggingConfiguration()
  ) throws(FilterChainMatcher.Conflict) {
    self.name = name
    self.addresses = addresses
    self.acceptsPerEvent = acceptsPerEvent
    self.statName = statName
    self.direction = direction
    self.ignoresGlobalLimit = ignoresGlobalLimit
    listenerFilters = filters.filters
    listenerFiltersTimeout = filters.timeout
    continuesOnTimeout = filters.continuesOnTimeout
    usesOriginalDestination = filters.usesOriginalDestination
    bindsToPort = filters.bindsToPort
    self.filterChains = filterChains
    self.hasDefaultChain = hasDefaultChain
    self.logging = logging
    matcher = try FilterChainMatcher(filterChains.dropLast(hasDefaultChain ? 1 : 0).map(\.rule))
  }

  /// The place of the filter chain for a connection; nil if there is none.
  func chain(for facts: ConnectionFacts) -> Int? {
    matcher.match(facts) ?? (hasDefaultChain ? filterChains.count - 1 : nil)
  }

  /// The filter chain of every connection, where nothing has to be known of a connection to choose it, every one is
  /// served, and nothing is between the socket and the filter that serves it.
  var direct: FilterChainConfiguration? {
    guard filterChains.count == 1, listenerFilters.isEmpty, !usesOriginalDestination,
      filterChains[0].transport == .rawBuffer, filterChains[0].admission.isEmpty,
      hasDefaultChain || filterChains[0].rule == .everything
    else { return nil }
    return filterChains[0]
  }
}
