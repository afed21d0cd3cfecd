import MeshAPI
import MeshPrimitives

extension SnapshotBuilder {
  /// `cluster_manager.outlier_detection.event_log_path`.
  mutating func outlierEventLog(_ bootstrap: Bootstrap) -> AccessLogFile? {
    eventLog(
      bootstrap.clusterManager.outlierDetection.eventLogPath, "cluster_manager.outlier_detection.event_log_path")
  }

  /// A file of events; nil if there is no path, or it cannot be written.
  mutating func eventLog(_ path: String, _ field: String) -> AccessLogFile? {
    guard !path.isEmpty else { return nil }
    do { return try identities.accessLogFiles.file(path) } catch {
      report(field, "\(error)")
      return nil
    }
  }

  /// `Cluster.outlier_detection`; nil if there is none.
  mutating func outliers(_ cluster: Cluster, _ path: String) -> OutlierSettings? {
    guard cluster.hasOutlierDetection else { return nil }
    let config = cluster.outlierDetection
    if cluster.type == .originalDst {
      report("\(path).outlier_detection", "is not supported for a cluster of type ORIGINAL_DST yet")
    }
    let runtime = identities.runtime
    func setting(_ key: String, _ value: UInt64?, _ fallback: UInt64) -> OutlierSettings.Setting {
      .init(value: runtime.value("outlier_detection.\(key)"), fallback: value ?? fallback, isGiven: value != nil)
    }
    func number(_ isGiven: Bool, _ value: UInt32) -> UInt64? { isGiven ? UInt64(value) : nil }
    func time(_ isGiven: Bool, _ value: DurationValue) -> UInt64? {
      isGiven ? Nanoseconds(value).wholeMilliseconds : nil
    }
    let base = time(config.hasBaseEjectionTime, config.baseEjectionTime) ?? 30_000
    let maximum = time(config.hasMaxEjectionTime, config.maxEjectionTime) ?? max(300_000, base)
    if maximum < base {
      report("\(path).outlier_detection.max_ejection_time", "must not be less than base_ejection_time")
    }
    let settings = OutlierSettings.Name.allCases.map { name -> OutlierSettings.Setting in
      switch name {
      case .interval: setting("interval_ms", time(config.hasInterval, config.interval), 10_000)
      case .baseEjectionTime: setting("base_ejection_time_ms", base, base)
      case .maximumEjectionTime: setting("max_ejection_time_ms", maximum, maximum)
      case .maximumJitter:
        setting("max_ejection_time_jitter_ms", time(config.hasMaxEjectionTimeJitter, config.maxEjectionTimeJitter), 0)
      case .maximumPercent:
        setting("max_ejection_percent", number(config.hasMaxEjectionPercent, config.maxEjectionPercent.value), 10)
      case .consecutive5xx:
        setting("consecutive_5xx", number(config.hasConsecutive5Xx, config.consecutive5Xx.value), 5)
      case .consecutiveGatewayFailure:
        setting(
          "consecutive_gateway_failure",
          number(config.hasConsecutiveGatewayFailure, config.consecutiveGatewayFailure.value), 5)
      case .consecutiveLocalOriginFailure:
        setting(
          "consecutive_local_origin_failure",
          number(config.hasConsecutiveLocalOriginFailure, config.consecutiveLocalOriginFailure.value), 5)
      case .enforcing5xx:
        setting(
          "enforcing_consecutive_5xx",
          number(config.hasEnforcingConsecutive5Xx, config.enforcingConsecutive5Xx.value), 100)
      case .enforcingGatewayFailure:
        setting(
          "enforcing_consecutive_gateway_failure",
          number(config.hasEnforcingConsecutiveGatewayFailure, config.enforcingConsecutiveGatewayFailure.value), 0)
      case .enforcingLocalOriginFailure:
        setting(
          "enforcing_consecutive_local_origin_failure",
          number(
            config.hasEnforcingConsecutiveLocalOriginFailure, config.enforcingConsecutiveLocalOriginFailure.value), 100)
      case .enforcingFailurePercentage:
        setting(
          "enforcing_failure_percentage",
          number(config.hasEnforcingFailurePercentage, config.enforcingFailurePercentage.value), 0)
      case .enforcingFailurePercentageLocalOrigin:
        setting(
          "enforcing_failure_percentage_local_origin",
          number(config.hasEnforcingFailurePercentageLocalOrigin, config.enforcingFailurePercentageLocalOrigin.value), 0
        )
      case .failurePercentageThreshold:
        setting(
          "failure_percentage_threshold",
          number(config.hasFailurePercentageThreshold, config.failurePercentageThreshold.value), 85)
      case .failurePercentageMinimumHosts:
        setting(
          "failure_percentage_minimum_hosts",
          number(config.hasFailurePercentageMinimumHosts, config.failurePercentageMinimumHosts.value), 5)
      case .failurePercentageVolume:
        setting(
          "failure_percentage_request_volume",
          number(config.hasFailurePercentageRequestVolume, config.failurePercentageRequestVolume.value), 50)
      }
    }
    return OutlierSettings(
      cluster: cluster.name, settings: settings, splitsErrors: config.splitExternalLocalOriginErrors,
      alwaysEjectsOne: config.alwaysEjectOneHost.value,
      checkEndsEjection: !config.hasSuccessfulActiveHealthCheckUnejectHost
        || config.successfulActiveHealthCheckUnejectHost.value,
      reports: identities.healthReports)
  }
}
