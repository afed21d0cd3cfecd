import MeshPrimitives

/// When an endpoint is checked (`HealthCheck`).
struct HealthCheckTimings: Sendable, Equatable {
  var timeout = Nanoseconds.seconds(1)
  var interval = Nanoseconds.seconds(1)
  var initialJitter = Nanoseconds.zero
  var intervalJitter = Nanoseconds.zero
  /// Percent of the interval.
  var intervalJitterPercent: UInt64 = 0
  var noTraffic = Nanoseconds.seconds(60)
  var noTrafficHealthy = Nanoseconds.seconds(60)
  var unhealthy = Nanoseconds.seconds(1)
  var unhealthyEdge = Nanoseconds.seconds(1)
  var healthyEdge = Nanoseconds.seconds(1)
  /// `health_check.min_interval` and `health_check.max_interval` of the runtime, in milliseconds.
  var minimum: UInt64 = 0
  var maximum = UInt64.max

  /// From the end of a check to the next one.
  /// - Parameters:
  ///   - succeeded: what came of the check.
  ///   - transition: what that has changed.
  ///   - hasTraffic: connections for requests have been made to the cluster.
  func delay(
    succeeded: Bool, _ transition: HealthCheckState.Transition, hasTraffic: Bool, _ random: inout Random
  ) -> Nanoseconds {
    let base: Nanoseconds
    if !hasTraffic {
      base = succeeded && transition != .pending ? noTrafficHealthy : noTraffic
    } else if succeeded {
      base = transition == .pending ? healthyEdge : interval
    } else {
      base = transition == .pending ? unhealthyEdge : unhealthy
    }
    return jittered(base, intervalJitter, &random)
  }

  /// To the first check.
  func initialDelay(_ random: inout Random) -> Nanoseconds {
    initialJitter == .zero ? .zero : jittered(.zero, initialJitter, &random)
  }

  /// In whole milliseconds, and never nothing: checks must not keep the thread busy.
  private func jittered(_ base: Nanoseconds, _ jitter: Nanoseconds, _ random: inout Random) -> Nanoseconds {
    var milliseconds = base.wholeMilliseconds
    let (share, overflow) = milliseconds.multipliedReportingOverflow(by: intervalJitterPercent)
    let added = random.below(overflow ? milliseconds : share / 100) &+ random.below(jitter.wholeMilliseconds)
    milliseconds = milliseconds.addingReportingOverflow(added).partialValue
    milliseconds = max(1, max(min(milliseconds, maximum), minimum))
    return .milliseconds(min(milliseconds, 1 << 40))
  }
}
