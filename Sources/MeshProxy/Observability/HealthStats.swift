import MeshPrimitives

/// `cluster.<name>.outlier_detection.…`: the main thread's; of clusters that have it.
public enum OutlierStat: Int, StatSet {
  case active, total, overflow
  case consecutive5xx
  case detected5xx, detectedGatewayFailure, detectedLocalOriginFailure
  case detectedFailurePercentage, detectedFailurePercentageLocalOrigin
  case enforcedTotal
  case enforced5xx, enforcedGatewayFailure, enforcedLocalOriginFailure
  case enforcedFailurePercentage, enforcedFailurePercentageLocalOrigin

  public var definition: StatDefinition {
    switch self {
    case .active: .gauge("ejections_active", "Endpoints that are ejected now.")
    case .total:
      .counter(
        "ejections_total", "Endpoints ejected, or but for enforcing_consecutive_5xx, for a row of failures. Deprecated."
      )
    case .overflow:
      .counter("ejections_overflow", "Endpoints that should have been ejected, and max_ejection_percent forbade it.")
    case .consecutive5xx: .counter("ejections_consecutive_5xx", "Rows of failures (consecutive_5xx). Deprecated.")
    case .detected5xx: .counter("ejections_detected_consecutive_5xx", "Rows of failures (consecutive_5xx).")
    case .detectedGatewayFailure:
      .counter(
        "ejections_detected_consecutive_gateway_failure", "Rows of 502, 503 and 504 (consecutive_gateway_failure).")
    case .detectedLocalOriginFailure:
      .counter(
        "ejections_detected_consecutive_local_origin_failure",
        "Rows of failures to connect, lost connections and timeouts.")
    case .detectedFailurePercentage:
      .counter("ejections_detected_failure_percentage", "Endpoints with too large a share of failures in an interval.")
    case .detectedFailurePercentageLocalOrigin:
      .counter(
        "ejections_detected_local_origin_failure_percentage", "Endpoints with too large a share of failed connections.")
    case .enforcedTotal: .counter("ejections_enforced_total", "Ejections.")
    case .enforced5xx: .counter("ejections_enforced_consecutive_5xx", "Ejections for a row of failures.")
    case .enforcedGatewayFailure:
      .counter("ejections_enforced_consecutive_gateway_failure", "Ejections for a row of 502, 503 and 504.")
    case .enforcedLocalOriginFailure:
      .counter(
        "ejections_enforced_consecutive_local_origin_failure",
        "Ejections for a row of failed or lost connections and timeouts.")
    case .enforcedFailurePercentage:
      .counter("ejections_enforced_failure_percentage", "Ejections for too large a share of failures.")
    case .enforcedFailurePercentageLocalOrigin:
      .counter(
        "ejections_enforced_local_origin_failure_percentage", "Ejections for too large a share of failed connections.")
    }
  }

  static func detected(_ type: EjectionType) -> Self {
    switch type {
    case .consecutive5xx: .detected5xx
    case .consecutiveGatewayFailure: .detectedGatewayFailure
    case .consecutiveLocalOriginFailure: .detectedLocalOriginFailure
    case .failurePercentage: .detectedFailurePercentage
    case .failurePercentageLocalOrigin: .detectedFailurePercentageLocalOrigin
    }
  }

  static func enforced(_ type: EjectionType) -> Self {
    switch type {
    case .consecutive5xx: .enforced5xx
    case .consecutiveGatewayFailure: .enforcedGatewayFailure
    case .consecutiveLocalOriginFailure: .enforcedLocalOriginFailure
    case .failurePercentage: .enforcedFailurePercentage
    case .failurePercentageLocalOrigin: .enforcedFailurePercentageLocalOrigin
    }
  }
}

/// `cluster.<name>.health_check.…`: the main thread's; of clusters that have it.
public enum HealthCheckStat: Int, StatSet {
  case attempt, success, failure, passiveFailure, networkFailure, verifyCluster
  case healthy, degraded

  public var definition: StatDefinition {
    switch self {
    case .attempt: .counter("attempt", "Checks begun.")
    case .success: .counter("success", "Checks that succeeded.")
    case .failure: .counter("failure", "Checks that failed.")
    case .passiveFailure:
      .counter("passive_failure", "Responses to requests that said x-envoy-immediate-health-check-fail.")
    case .networkFailure:
      .counter("network_failure", "Failures without an answer: no connection, a lost one, no answer in time.")
    case .verifyCluster:
      .counter("verify_cluster", "Checks that looked at the name of the cluster that answered (service_name_matcher).")
    case .healthy: .gauge("healthy", "Endpoints that are healthy as far as checks go.")
    case .degraded: .gauge("degraded", "Endpoints that say that they do badly.")
    }
  }
}

extension ClusterIdentity {
  /// What active health checks count; shown from the first call on.
  var healthCheckStats: StatBlock<HealthCheckStat> { block("health_check") }

  /// What outlier detection counts; shown from the first call on.
  var outlierStats: StatBlock<OutlierStat> { block("outlier_detection") }
}

/// `http.<stat_prefix>.health_check.…`
public enum HealthCheckFilterStat: Int, StatSet {
  case total, ok, failed, cached, degraded
  case clusterNotFound, clusterEmpty, clusterUnhealthy

  public var definition: StatDefinition {
    switch self {
    case .total: .counter("request_total", "Checks that were answered here.")
    case .ok: .counter("ok", "Checks answered by a status of success.")
    case .failed: .counter("failed", "Checks answered by another status than success.")
    case .cached: .counter("cached_response", "Checks answered by the service's last answer (cache_time).")
    case .degraded:
      .counter("degraded", "Checks answered by an answer of the service that had said that it does badly.")
    case .clusterNotFound:
      .counter(
        "failed_cluster_not_found", "Checks failed because a cluster of cluster_min_healthy_percentages does not exist."
      )
    case .clusterEmpty:
      .counter(
        "failed_cluster_empty", "Checks failed because a cluster of cluster_min_healthy_percentages has no endpoints.")
    case .clusterUnhealthy:
      .counter("failed_cluster_unhealthy", "Checks failed because a cluster has too few endpoints that are healthy.")
    }
  }
}
