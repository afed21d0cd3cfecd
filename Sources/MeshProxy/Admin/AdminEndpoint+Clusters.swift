import MeshPrimitives
import MeshRouting

// The clusters and their endpoints.

extension AdminEndpoint {
  static let clusters = AdminEndpoint(
    "/clusters", "upstream cluster status",
    parameters: [
      Parameter(name: "filter", help: "Regular expression (Google re2) for filtering clusters by name"),
      Parameter(name: "format", help: "File format to use", choices: ["text", "json"]),
    ]
  ) { request, context in
    var clusters = context.clusters
    if let pattern = request.parameter("filter"), !pattern.isEmpty {
      do {
        let filter = try RegularExpression(pattern)
        clusters = clusters.filter { Array($0.identity.name.utf8).withUnsafeBufferPointer { filter.finds(in: $0) } }
      } catch { return .text("Invalid re2 regex: \(error)", status: 400) }
    }
    switch request.parameter("format") ?? "text" {
    case "text", "": return .report(.text, ClustersText(clusters))
    case "json": return .report(.json, ClustersJSON(clusters))
    default: return .text("usage: /clusters?format=(json|text)\n", status: 400)
    }
  }
}

extension EndpointStat {
  /// In the order of their names.
  fileprivate static let sorted = allCases.sorted {
    "\($0.definition.name)" < "\($1.definition.name)"
  }
}

/// Walks over clusters and their endpoints, so that a report can stop anywhere.
private struct ClusterCursor {
  enum Step {
    case cluster(AdminCluster)
    case endpoint(AdminCluster, WeightedEndpoint, OutlierReport?)
    case endOfCluster(AdminCluster)
  }

  let clusters: [AdminCluster]
  private var cluster = 0
  /// -1: the cluster itself is next.
  private var endpoint = -1

  init(_ clusters: [AdminCluster]) { self.clusters = clusters }

  mutating func next() -> Step? {
    guard cluster < clusters.count else { return nil }
    let current = clusters[cluster]
    defer { endpoint += 1 }
    if endpoint < 0 { return .cluster(current) }
    if endpoint < current.endpoints.count {
      return .endpoint(current, current.endpoints[endpoint], current.outliers?[endpoint])
    }
    cluster += 1
    endpoint = -2
    return .endOfCluster(current)
  }
}

/// Envoy's lines `cluster::name::value` and `cluster::address::name::value`.
private struct ClustersText: AdminReport {
  private var cursor: ClusterCursor

  init(_ clusters: [AdminCluster]) { cursor = ClusterCursor(clusters) }

  mutating func write(into output: inout [UInt8], softLimit: Int) -> Bool {
    let start = output.count
    while output.count - start < softLimit {
      switch cursor.next() {
      case .cluster(let cluster): write(cluster, into: &output)
      case .endpoint(let cluster, let endpoint, let report): write(endpoint, report, of: cluster, into: &output)
      case .endOfCluster: break
      case nil: return false
      }
    }
    return true
  }

  private func write(_ cluster: AdminCluster, into output: inout [UInt8]) {
    let name = cluster.identity.name
    output.append(contentsOf: "\(name)::observability_name::\(cluster.configuration.statName)\n".utf8)
    if cluster.outliers != nil {
      // Of success rates nobody knows an average: they are not compared.
      for field in [
        "success_rate_average", "success_rate_ejection_threshold", "local_origin_success_rate_average",
        "local_origin_success_rate_ejection_threshold",
      ] { output.append(contentsOf: "\(name)::outlier::\(field)::-1\n".utf8) }
    }
    for (priority, word) in [(RoutePriority.normal, "default"), (.high, "high")] {
      let limits = cluster.configuration.limits[priority]
      output.append(
        contentsOf: """
          \(name)::\(word)_priority::max_connections::\(limits.connections)
          \(name)::\(word)_priority::max_pending_requests::\(limits.pendingRequests)
          \(name)::\(word)_priority::max_requests::\(limits.requests)
          \(name)::\(word)_priority::max_retries::\(limits.retries)

          """.utf8)
    }
    output.append(contentsOf: "\(name)::added_via_api::false\n".utf8)
  }

  private func write(
    _ weighted: WeightedEndpoint, _ report: OutlierReport?, of cluster: AdminCluster, into output: inout [UInt8]
  ) {
    let prefix = "\(cluster.identity.name)::\(weighted.endpoint.address)::"
    func line(_ name: String, _ value: String) { output.append(contentsOf: "\(prefix)\(name)::\(value)\n".utf8) }
    for stat in EndpointStat.sorted {
      line("\(stat.definition.name)", "\(weighted.endpoint.stats.total(stat))")
    }
    line("hostname", weighted.endpoint.hostname)
    line("health_flags", weighted.healthFlags)
    line("weight", "\(weighted.weight)")
    line("region", weighted.locality.region)
    line("zone", weighted.locality.zone)
    line("sub_zone", weighted.locality.subZone)
    line("canary", "\(weighted.endpoint.isCanary)")
    line("priority", "\(weighted.priority)")
    line("success_rate", report?.successRate.map(SubstitutionOutput.jsonNumber) ?? "-1")
    line("local_origin_success_rate", report?.localOriginSuccessRate.map(SubstitutionOutput.jsonNumber) ?? "-1")
    // Beyond Envoy's.
    guard let report else { return }
    line("ejections", "\(report.ejections)")
    if let ejection = report.lastEjection { line("last_ejection", ejection) }
    if let refusal = report.lastRefusal { line("last_ejection_refusal", refusal) }
  }
}

/// `envoy.admin.v3.Clusters` as JSON.
private struct ClustersJSON: AdminReport {
  private var cursor: ClusterCursor
  private var writer = JSONWriter()

  init(_ clusters: [AdminCluster]) {
    cursor = ClusterCursor(clusters)
    writer.beginObject()
    if !clusters.isEmpty {
      writer.name("cluster_statuses")
      writer.beginArray()
    }
  }

  mutating func write(into output: inout [UInt8], softLimit: Int) -> Bool {
    while writer.output.count < softLimit {
      switch cursor.next() {
      case .cluster(let cluster): begin(cluster)
      case .endpoint(_, let endpoint, let report): write(endpoint, report)
      case .endOfCluster(let cluster): end(cluster)
      case nil:
        if !cursor.clusters.isEmpty { writer.endArray() }
        writer.endObject()
        writer.drain(into: &output)
        return false
      }
    }
    writer.drain(into: &output)
    return true
  }

  private mutating func begin(_ cluster: AdminCluster) {
    writer.beginObject()
    writer.name("name")
    writer.string(cluster.identity.name)
    guard !cluster.endpoints.isEmpty else { return }
    writer.name("host_statuses")
    writer.beginArray()
  }

  private mutating func end(_ cluster: AdminCluster) {
    if !cluster.endpoints.isEmpty { writer.endArray() }
    writer.name("circuit_breakers")
    writer.beginObject()
    writer.name("thresholds")
    writer.beginArray()
    for priority in RoutePriority.allCases {
      let limits = cluster.configuration.limits[priority]
      writer.beginObject()
      // As in protobuf's JSON: what has its default value is left out.
      if priority == .high {
        writer.name("priority")
        writer.string("HIGH")
      }
      writer.name("max_connections")
      writer.integer(Int64(limits.connections))
      writer.name("max_pending_requests")
      writer.integer(Int64(limits.pendingRequests))
      writer.name("max_requests")
      writer.integer(Int64(limits.requests))
      writer.name("max_retries")
      writer.integer(Int64(limits.retries))
      writer.endObject()
    }
    writer.endArray()
    writer.endObject()
    writer.name("observability_name")
    writer.string(cluster.configuration.statName)
    writer.endObject()
  }

  private mutating func write(_ weighted: WeightedEndpoint, _ report: OutlierReport?) {
    writer.beginObject()
    writer.name("address")
    writer.address(weighted.endpoint.address)
    writer.name("stats")
    writer.beginArray()
    for kind in [StatKind.counter, .gauge] {
      for stat in EndpointStat.sorted where stat.definition.kind == kind {
        let value = weighted.endpoint.stats.total(stat)
        writer.beginObject()
        // As in protobuf's JSON: what has its default value is left out, and a 64-bit number is a string.
        if kind == .gauge {
          writer.name("type")
          writer.string("GAUGE")
        }
        writer.name("name")
        writer.string("\(stat.definition.name)")
        if value != 0 {
          writer.name("value")
          writer.string("\(value)")
        }
        writer.endObject()
      }
    }
    writer.endArray()
    if let rate = report?.successRate { percentage("success_rate", rate) }
    writeHealth(weighted)
    writer.name("weight")
    writer.integer(Int64(weighted.weight))
    if !weighted.endpoint.hostname.isEmpty {
      writer.name("hostname")
      writer.string(weighted.endpoint.hostname)
    }
    if weighted.priority > 0 {
      writer.name("priority")
      writer.integer(Int64(weighted.priority))
    }
    if let rate = report?.localOriginSuccessRate { percentage("local_origin_success_rate", rate) }
    writer.name("locality")
    writer.beginObject()
    let locality = weighted.locality
    for (name, value) in [("region", locality.region), ("zone", locality.zone), ("sub_zone", locality.subZone)]
    where !value.isEmpty {
      writer.name(name)
      writer.string(value)
    }
    writer.endObject()
    if let report { write(report) }
    writer.endObject()
  }

  private mutating func percentage(_ name: String, _ value: Double) {
    writer.name(name)
    writer.beginObject()
    writer.name("value")
    writer.number(value)
    writer.endObject()
  }

  /// As in protobuf's JSON: what is not so is left out.
  private mutating func writeHealth(_ weighted: WeightedEndpoint) {
    let found = weighted.endpoint.identity.health
    func flag(_ name: String, _ flag: HealthFlags, _ writer: inout JSONWriter) {
      guard found.contains(flag) else { return }
      writer.name(name)
      writer.bool(true)
    }
    writer.name("health_status")
    writer.beginObject()
    flag("failed_active_health_check", .failedActiveHealthCheck, &writer)
    flag("failed_outlier_check", .failedOutlierCheck, &writer)
    writer.name("eds_health_status")
    writer.string("\(weighted.health.name)")
    flag("failed_active_degraded_check", .degradedActiveHealthCheck, &writer)
    flag("pending_dynamic_removal", .pendingRemoval, &writer)
    flag("pending_active_hc", .pendingActiveHealthCheck, &writer)
    flag("excluded_via_immediate_hc_fail", .excludedByHealthCheck, &writer)
    flag("active_hc_timeout", .activeHealthCheckTimedOut, &writer)
    // Beyond Envoy's.
    flag("outlier_probation", .onProbation, &writer)
    writer.endObject()
  }

  /// What Envoy does not tell.
  private mutating func write(_ report: OutlierReport) {
    writer.name("outlier_detection")
    writer.beginObject()
    writer.name("ejections")
    writer.integer(Int64(report.ejections))
    for (name, text) in [("last_ejection", report.lastEjection), ("last_ejection_refusal", report.lastRefusal)] {
      guard let text else { continue }
      writer.name(name)
      writer.string(text)
    }
    writer.endObject()
  }
}
