/// Which of a cluster's circuit breakers and connection pools serve a request (`RouteAction.priority`).
public enum RoutePriority: UInt8, Sendable, CaseIterable {
  case normal
  case high
}
