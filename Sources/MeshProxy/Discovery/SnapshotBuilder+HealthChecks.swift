import MeshAPI
import MeshHTTP
import MeshPrimitives
import MeshRouting

extension SnapshotBuilder {
  /// `Cluster.health_checks`; nil if there is none.
  /// - Parameter codec: what the cluster's connections speak.
  mutating func healthChecks(
    _ cluster: Cluster, _ path: String, _ codec: PoolSettings.Codec
  ) -> HealthCheckSettings? {
    guard let config = cluster.healthChecks.first else { return nil }
    let checkPath = "\(path).health_checks[0]"
    if cluster.healthChecks.count > 1 {
      report("\(path).health_checks", "has \(cluster.healthChecks.count) elements; one at most can be used")
    }
    if cluster.type == .originalDst {
      report("\(path).health_checks", "is not supported for a cluster of type ORIGINAL_DST yet")
    }
    guard let kind = healthCheckKind(config, checkPath, codec) else { return nil }
    var logs: [AccessLogFile] = []
    if let log = eventLog(config.eventLogPath, "\(checkPath).event_log_path") { logs.append(log) }
    for (index, logger) in config.eventLogger.enumerated() {
      let loggerPath = "\(checkPath).event_logger[\(index)].typed_config"
      guard let sink: HealthCheckEventFileSink = try? logger.typedConfig.unpack() else {
        report(loggerPath, "must hold \(HealthCheckEventFileSink.protoMessageName)")
        continue
      }
      if let log = eventLog(sink.eventLogPath, "\(loggerPath).event_log_path") { logs.append(log) }
    }
    for (index, name) in config.tlsOptions.alpnProtocols.enumerated() where !(1...255).contains(name.utf8.count) {
      report("\(checkPath).tls_options.alpn_protocols[\(index)]", "a protocol's name has 1 to 255 bytes")
    }
    let runtime = identities.runtime
    return HealthCheckSettings(
      kind: kind, timings: HealthCheckTimings(config),
      intervalBounds: (runtime.value("health_check.min_interval"), runtime.value("health_check.max_interval")),
      unhealthyThreshold: config.unhealthyThreshold.value, healthyThreshold: config.healthyThreshold.value,
      reusesConnection: !config.hasReuseConnection || config.reuseConnection.value,
      logsAllFailures: config.alwaysLogHealthCheckFailures, logsAllSuccesses: config.alwaysLogHealthCheckSuccess,
      eventLogs: logs, applicationProtocols: config.tlsOptions.alpnProtocols,
      ignoresNewEndpoints: cluster.commonLbConfig.ignoreNewHostsUntilFirstHc, reports: identities.healthReports)
  }

  private mutating func healthCheckKind(
    _ config: HealthCheck, _ path: String, _ codec: PoolSettings.Codec
  ) -> HealthCheckSettings.Kind? {
    switch config.healthChecker {
    case .httpHealthCheck(let http):
      return httpHealthCheck(http, "\(path).http_health_check").map { .http($0) }
    case .tcpHealthCheck(let tcp):
      let tcpPath = "\(path).tcp_health_check"
      let send = tcp.hasSend ? payload(tcp.send, "\(tcpPath).send") : []
      return .tcp(.init(send: send, receive: payloads(tcp.receive, "\(tcpPath).receive")))
    case .grpcHealthCheck(let grpc):
      let grpcPath = "\(path).grpc_health_check"
      if codec == .always(.http1) { report(grpcPath, "needs a cluster that speaks HTTP/2") }
      var metadata = HeaderMutations()
      switch HeaderMutations.build(
        adding: grpc.initialMetadata, path: "\(grpcPath).initial_metadata", formats: HeaderFormat.compile)
      {
      case .success(let compiled): metadata = compiled
      case .failure(let failure): for problem in failure.problems { report(problem.path, problem.message) }
      }
      return .grpc(.init(service: grpc.serviceName, authority: grpc.authority, metadata: metadata))
    case nil:
      report(path, "needs one of http_health_check, tcp_health_check, grpc_health_check")
      return nil
    }
  }

  private mutating func httpHealthCheck(
    _ config: HealthCheck.HttpHealthCheck, _ path: String
  ) -> HealthCheckSettings.HTTPRequest? {
    if config.path.isEmpty { report("\(path).path", "is required") }
    if config.codecClientType == .http3 { report("\(path).codec_client_type", "HTTP3 is not supported yet") }
    guard let (method, text) = Self.method(config.method) else {
      report("\(path).method", "must not be CONNECT")
      return nil
    }
    if config.hasSend, [.get, .head, .delete, .trace].contains(method) {
      report("\(path).send", "\(text) has no body (POST, PUT, PATCH and OPTIONS have)")
    }
    var mutations = HeaderMutations()
    switch HeaderMutations.build(
      requestAdding: config.requestHeadersToAdd, removing: config.requestHeadersToRemove, path: path,
      formats: HeaderFormat.compile)
    {
    case .success(let compiled): mutations = compiled
    case .failure(let failure): for problem in failure.problems { report(problem.path, problem.message) }
    }
    var serviceName: TextPattern?
    if config.hasServiceNameMatcher {
      switch TextPattern.build(config.serviceNameMatcher, path: "\(path).service_name_matcher") {
      case .success(let pattern): serviceName = pattern
      case .failure(let failure): for problem in failure.problems { report(problem.path, problem.message) }
      }
    }
    let receive = payloads(config.receive, "\(path).receive")
    let limit = config.hasResponseBufferSize ? config.responseBufferSize.value : 1024
    let wanted = receive.reduce(0) { $0 + $1.count }
    if limit > 0, wanted > limit {
      report("\(path).receive", "has \(wanted) bytes; response_buffer_size lets \(limit) be looked at")
    }
    let expected = statuses(config.expectedStatuses, "\(path).expected_statuses")
    return .init(
      method: method, methodText: text, path: Array(config.path.utf8), host: config.host,
      body: config.hasSend ? payload(config.send, "\(path).send") : [], receive: receive,
      // All of it, within reason.
      bufferLimit: limit == 0 ? 16 << 20 : Int(clamping: limit), mutations: mutations,
      expected: expected.isEmpty ? [200..<201] : expected,
      retriable: statuses(config.retriableStatuses, "\(path).retriable_statuses"),
      isHTTP2: config.codecClientType == .http2, serviceName: serviceName,
      verifies: identities.runtime.value("health_check.verify_cluster"))
  }

  private static func method(_ method: RequestMethod) -> (HTTPMethod, StaticString)? {
    switch method {
    case .head: (.head, "HEAD")
    case .post: (.post, "POST")
    case .put: (.put, "PUT")
    case .delete: (.delete, "DELETE")
    case .options: (.options, "OPTIONS")
    case .trace: (.trace, "TRACE")
    case .patch: (.patch, "PATCH")
    case .connect: nil
    default: (.get, "GET")
    }
  }

  private mutating func statuses(_ ranges: [Int64Range], _ path: String) -> [Range<Int>] {
    var result: [Range<Int>] = []
    for (index, range) in ranges.enumerated() {
      guard range.start >= 100, range.end <= 600, range.start < range.end else {
        report("\(path)[\(index)]", "must be a range of statuses, start less than end, 100 to 600")
        continue
      }
      result.append(Int(range.start)..<Int(range.end))
    }
    return result
  }

  private mutating func payloads(_ payloads: [HealthCheck.Payload], _ path: String) -> [[UInt8]] {
    payloads.enumerated().map { payload($1, "\(path)[\($0)]") }
  }

  private mutating func payload(_ payload: HealthCheck.Payload, _ path: String) -> [UInt8] {
    switch payload.payload {
    case .binary(let bytes): return Array(bytes)
    case .text(let text):
      guard let bytes = Self.bytes(hexadecimal: text), !bytes.isEmpty else {
        report("\(path).text", "must be bytes in hexadecimal, such as 0000FF")
        return []
      }
      return bytes
    case nil:
      report(path, "needs text or binary")
      return []
    }
  }

  private static func bytes(hexadecimal text: String) -> [UInt8]? {
    let digits = text.map(\.hexDigitValue)
    guard digits.count.isMultiple(of: 2) else { return nil }
    var bytes: [UInt8] = []
    for place in stride(from: 0, to: digits.count, by: 2) {
      guard let high = digits[place], let low = digits[place + 1] else { return nil }
      bytes.append(UInt8(high << 4 | low))
    }
    return bytes
  }

  /// `Endpoint.health_check_config`.
  mutating func endpointCheck(_ config: EndpointHealthCheckConfig, _ path: String) -> EndpointCheck {
    var check = EndpointCheck()
    check.hostname = config.hostname
    check.isDisabled = config.disableActiveHealthCheck
    if let port = UInt16(exactly: config.portValue) {
      check.port = port
    } else {
      report("\(path).port_value", "must be at most 65535")
    }
    guard config.hasAddress else { return check }
    guard case .socketAddress(let socket) = config.address.address else {
      report("\(path).address", "must be an IP address (socket_address)")
      return check
    }
    check.address = ipAddress(socket, "\(path).address.socket_address", "to check")
    return check
  }
}

extension HealthCheckTimings {
  init(_ config: HealthCheck) {
    func time(_ isGiven: Bool, _ value: DurationValue, _ fallback: Nanoseconds) -> Nanoseconds {
      isGiven ? Nanoseconds(value) : fallback
    }
    timeout = Nanoseconds(config.timeout)
    interval = Nanoseconds(config.interval)
    initialJitter = Nanoseconds(config.initialJitter)
    intervalJitter = Nanoseconds(config.intervalJitter)
    intervalJitterPercent = UInt64(config.intervalJitterPercent)
    noTraffic = time(config.hasNoTrafficInterval, config.noTrafficInterval, .seconds(60))
    noTrafficHealthy = time(config.hasNoTrafficHealthyInterval, config.noTrafficHealthyInterval, noTraffic)
    unhealthy = time(config.hasUnhealthyInterval, config.unhealthyInterval, interval)
    unhealthyEdge = time(config.hasUnhealthyEdgeInterval, config.unhealthyEdgeInterval, unhealthy)
    healthyEdge = time(config.hasHealthyEdgeInterval, config.healthyEdgeInterval, interval)
  }
}
