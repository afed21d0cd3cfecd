import MeshPrimitives

/// One kind of check of one endpoint: asks, and judges the answer. Its session brings the clock. Confined to the main
/// thread.
protocol HealthCheckExchange: AnyObject {
  /// Asks. Ends with `HealthCheckSession.checkEnded`, unless it is abandoned first.
  func begin()
  /// Gives up what is under way, and lets go of the connection.
  func abandon()
}

/// What came of a check.
struct HealthCheckResult: Sendable {
  var outcome: HealthCheckState.Outcome
  /// The response's status; 0: there was none.
  var status = 0
  /// The endpoint wants to be left out (`x-envoy-immediate-health-check-fail`).
  var isExcluded = false
  /// In words, for the log; empty for a success.
  var reason = ""

  static func failure(
    _ kind: HealthCheckState.FailureKind, isRetriable: Bool = false, status: Int = 0, _ reason: String
  ) -> Self {
    Self(outcome: .failure(kind, isRetriable: isRetriable), status: status, reason: reason)
  }
}
