import MeshAPI
import MeshPrimitives
import MeshRouting

/// What the configuration says about the admin interface, but for its address. Immutable.
struct AdminConfiguration: Sendable {
  var accessLogs: [AccessLogConfiguration] = []
  /// Paths, query included, that may be asked for; empty: all.
  var allowedPaths: [TextPattern] = []
}

extension SnapshotBuilder {
  mutating func admin(_ admin: Admin) -> AdminConfiguration {
    var configuration = AdminConfiguration()
    for (index, log) in admin.accessLog.enumerated() {
      let path = "admin.access_log[\(index)]"
      if log.hasFilter { report("\(path).filter", "is not supported for the admin interface") }
      if let compiled = accessLog(log, path) { configuration.accessLogs.append(compiled) }
    }
    for (index, matcher) in admin.allowPaths.enumerated() {
      switch TextPattern.build(matcher, path: "admin.allow_paths[\(index)]") {
      case .success(let pattern): configuration.allowedPaths.append(pattern)
      case .failure(let failure): for problem in failure.problems { report(problem.path, problem.message) }
      }
    }
    return configuration
  }

  /// `stats_config` is compiled at the start, before there are statistics; here it is checked.
  mutating func checkStatsConfig(_ bootstrap: Bootstrap) {
    _ = StatsRules(bootstrap.statsConfig) { report("stats_config.\($0)", $1) }
  }
}
