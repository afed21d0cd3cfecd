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
    case .active: .gauge("ejections_active")
    case .total: .counter("ejections_total")
    case .overflow: .counter("ejections_overflow")
    case .consecutive5xx: .counter("ejections_consecutive_5xx")
    case .detected5xx: .counter("ejections_detected_consecutive_5xx")
    case .detectedGatewayFailure: .counter("ejections_detected_consecutive_gateway_failure")
    case .detectedLocalOriginFailure: .counter("ejections_detected_consecutive_local_origin_failure")
    case .detectedFailurePercentage: .counter("ejections_detected_failure_percentage")
    case .detectedFailurePercentageLocalOrigin: .counter("ejections_detected_local_origin_failure_percentage")
    case .enforcedTotal: .counter("ejections_enforced_total")
    case .enforced5xx: .counter("ejections_enforced_consecutive_5xx")
    case .enforcedGatewayFailure: .counter("ejections_enforced_consecutive_gateway_failure")
    case .enforcedLocalOriginFailure: .counter("ejections_enforced_consecutive_local_origin_failure")
    case .enforcedFailurePercentage: .counter("ejections_enforced_failure_percentage")
    case .enforcedFailurePercentageLocalOrigin: .counter("ejections_enforced_local_origin_failure_percentage")
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
    case .attempt: .counter("attempt")
    case .success: .counter("success")
    case .failure: .counter("failure")
    case .passiveFailure: .counter("passive_failure")
    case .networkFailure: .counter("network_failure")
    case .verifyCluster: .counter("verify_cluster")
    case .healthy: .gauge("healthy")
    case .degraded: .gauge("degraded")
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
    case .total: .counter("request_total")
    case .ok: .counter("ok")
    case .failed: .counter("failed")
    case .cached: .counter("cached_response")
    case .degraded: .counter("degraded")
    case .clusterNotFound: .counter("failed_cluster_not_found")
    case .clusterEmpty: .counter("failed_cluster_empty")
    case .clusterUnhealthy: .counter("failed_cluster_unhealthy")
    }
  }
}
