/// `envoy.resource_monitors.global_downstream_max_connections`: how near the connections from clients are to their limit,
/// which holds whether anybody looks or not.
final class ConnectionMonitor: ResourceMonitor {
  private let limit: ConnectionLimit

  init(_ limit: ConnectionLimit) { self.limit = limit }

  func pressure() throws(ResourceFailure) -> Double { Double(max(limit.current, 0)) / Double(max(limit.maximum, 1)) }
}
