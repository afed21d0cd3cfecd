import MeshAPI
import MeshPrimitives
import MeshRouting

extension SnapshotBuilder {
  /// The statistics that virtual hosts and routes ask for, by the virtual host's index; empty if none does.
  mutating func virtualHostStatistics(_ table: RouteConfiguration, _ path: String) -> [VirtualHostStatistics?] {
    let result = table.virtualHosts.enumerated().map { index, host in
      virtualHostStatistics(host, "\(path).virtual_hosts[\(index)]")
    }
    return result.contains { $0 != nil } ? result : []
  }

  private mutating func virtualHostStatistics(_ host: VirtualHost, _ path: String) -> VirtualHostStatistics? {
    guard !host.virtualClusters.isEmpty || host.routes.contains(where: { !$0.statPrefix.isEmpty }) else { return nil }
    let name = host.name.replacingColons
    func scope(_ kind: String, _ label: String, _ own: String, shown: String = "") -> RequestScope {
      RequestScope(
        "vhost.\(name).\(kind).\(own.replacingColons)", name: shown,
        prometheus: PrometheusScope(
          "envoy_vhost_\(kind)", labels: [("envoy_virtual_host", name), (label, own.replacingColons)]),
        store: identities.store)
    }
    var clusters: [VirtualHostStatistics.VirtualCluster] = []
    for (index, cluster) in host.virtualClusters.enumerated() {
      switch HeaderMatching.build(cluster.headers, path: "\(path).virtual_clusters[\(index)].headers") {
      case .success(let conditions):
        clusters.append(
          .init(
            conditions: conditions,
            scope: scope("vcluster", "envoy_virtual_cluster", cluster.name, shown: cluster.name)))
      case .failure(let failure): for problem in failure.problems { report(problem.path, problem.message) }
      }
    }
    return VirtualHostStatistics(
      virtualClusters: clusters,
      other: host.virtualClusters.isEmpty ? nil : scope("vcluster", "envoy_virtual_cluster", "other"),
      routes: host.routes.map { $0.statPrefix.isEmpty ? nil : scope("route", "envoy_route", $0.statPrefix) })
  }
}

extension StatsRules {
  /// Compiles `stats_config`.
  /// - Parameter report: takes what is wrong, with its place below `stats_config`.
  init(_ message: StatsConfig, report: (_ path: String, _ message: String) -> Void) {
    self.init()
    func patterns(_ list: [StringMatcher], _ path: String) -> [TextPattern] {
      list.enumerated().compactMap { index, matcher in
        switch TextPattern.build(matcher, path: "\(path)[\(index)]") {
        case .success(let pattern): return pattern
        case .failure(let failure):
          for problem in failure.problems { report(problem.path, problem.message) }
          return nil
        }
      }
    }
    switch message.statsMatcher.statsMatcher {
    case .rejectAll(let all): if all { shows = { _ in false } }
    case .exclusionList(let list):
      let excluded = patterns(list.patterns, "stats_matcher.exclusion_list.patterns")
      shows = { name in !excluded.contains { $0.matches(name) } }
    case .inclusionList(let list):
      let included = patterns(list.patterns, "stats_matcher.inclusion_list.patterns")
      shows = { name in included.contains { $0.matches(name) } }
    case nil: break
    }
    var settings: [(pattern: TextPattern, bounds: [Double])] = []
    for (index, entry) in message.histogramBucketSettings.enumerated() {
      let path = "histogram_bucket_settings[\(index)]"
      if entry.buckets.isEmpty { report("\(path).buckets", "must have a bound") }
      for (place, bound) in entry.buckets.enumerated() {
        if !(bound > 0 && bound.isFinite) { report("\(path).buckets[\(place)]", "must be more than 0") }
        if entry.buckets[..<place].contains(bound) { report("\(path).buckets[\(place)]", "is given twice") }
      }
      switch TextPattern.build(entry.match, path: "\(path).match") {
      case .success(let pattern): settings.append((pattern, entry.buckets.sorted()))
      case .failure(let failure): for problem in failure.problems { report(problem.path, problem.message) }
      }
    }
    let inOrder = settings
    if !inOrder.isEmpty { bounds = { name in inOrder.first { $0.pattern.matches(name) }?.bounds } }
  }
}
