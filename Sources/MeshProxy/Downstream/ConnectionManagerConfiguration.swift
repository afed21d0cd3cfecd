import MeshAPI
import MeshHTTP
import MeshPrimitives
import MeshRouting

/// `HttpConnectionManager`, checked and compiled. Immutable; shared by all threads.
public final class ConnectionManagerConfiguration: Sendable {
  public let statPrefix: String
  /// The listener's `traffic_direction` is `OUTBOUND`: its clients are the service beside the proxy.
  public let isOutbound: Bool
  /// What is done to every request and response.
  let edge: EdgeRules
  public let streamIdleTimeout: Nanoseconds?
  public let requestTimeout: Nanoseconds?
  let minimumBodyRate: MinimumBodyRate
  public let maximumStreamDuration: Nanoseconds?
  /// Bytes of a body that may wait in a stream (`per_connection_buffer_limit_bytes`).
  public let bufferLimit: Int
  public let connection: ServerConnectionSettings
  let router: RouterFilter.Configuration
  /// The filters before the router.
  public let filters: [any FilterConfiguration]
  /// What routes say to filters, by the filter's place in `filters`.
  public let routeFilters: RouteFilters
  /// Which of `filters` need no object in each stream.
  let gates: RequestGates
  /// No filter is made for a stream.
  let makesNoFilters: Bool
  /// Which tunnels are served, each type once (`upgrade_configs`).
  let upgrades: [UpgradeSettings]
  /// How the bodies of direct responses are written, where their routes say so.
  let bodyFormats: [ObjectIdentifier: LocalReplyMapping.BodyFormat]
  public let routes: RouteTable
  public let routeConfigurationName: String
  public let logging: LoggingConfiguration
  /// nil: nothing is traced.
  let tracing: TracingConfiguration?
  /// Nil: local replies are sent as they are.
  public let localReplies: LocalReplyMapping?
  /// By the virtual host's index; empty if no virtual host asks for statistics.
  let virtualHostStatistics: [VirtualHostStatistics?]

  init(
    statPrefix: String, isOutbound: Bool, edge: EdgeRules,
    streamIdleTimeout: Nanoseconds?, requestTimeout: Nanoseconds?, minimumBodyRate: MinimumBodyRate,
    maximumStreamDuration: Nanoseconds?,
    bufferLimit: Int, connection: ServerConnectionSettings, router: RouterFilter.Configuration,
    filters: [any FilterConfiguration],
    routeFilters: RouteFilters, upgrades: [UpgradeSettings] = [],
    bodyFormats: [ObjectIdentifier: LocalReplyMapping.BodyFormat], routes: RouteTable,
    routeConfigurationName: String, logging: LoggingConfiguration, localReplies: LocalReplyMapping?,
    virtualHostStatistics: [VirtualHostStatistics?] = [], tracing: TracingConfiguration? = nil
  ) {
    self.statPrefix = statPrefix
    self.isOutbound = isOutbound
    self.edge = edge
    self.streamIdleTimeout = streamIdleTimeout
    self.requestTimeout = requestTimeout
    self.minimumBodyRate = minimumBodyRate
    self.maximumStreamDuration = maximumStreamDuration
    self.bufferLimit = bufferLimit
    self.connection = connection
    self.router = router
    self.filters = filters
    self.routeFilters = routeFilters
    gates = RequestGates(filters, routeFilters)
    makesNoFilters = gates.filterPlaces.isEmpty
    self.upgrades = upgrades
    self.bodyFormats = bodyFormats
    self.routes = routes
    self.routeConfigurationName = routeConfigurationName
    self.logging = logging
    self.localReplies = localReplies
    self.virtualHostStatistics = virtualHostStatistics
    self.tracing = tracing
  }
}
