import MeshTesting
import Testing

/// Istio's metrics from two sidecars, and what they tell each other.
@Suite("Istio metrics", .timeLimit(.minutes(5)))
struct IstioTests {
  /// What a request or a connection brought to the service, and what the service answers.
  private static func service(_ seen: Monitor<[RawRequest]>) throws -> ScriptedServer {
    try ScriptedServer { connection, _ in
      while let request = try connection.receiveRequest(within: Deadline(.seconds(60))) {
        seen.change { $0.append(request) }
        let status = request.target.hasPrefix("/status/") ? Int(request.target.dropFirst(8)) ?? 500 : 200
        // An application that says who answers is not to be believed either.
        try connection.sendResponse(
          status, headers: [("x-envoy-peer-metadata", "bGllcw=="), ("x-envoy-peer-metadata-id", "liar")],
          body: Array("hello".utf8))
      }
    }
  }

  private static let shop = [
    "source_workload": "shop", "source_canonical_service": "shop", "source_canonical_revision": "v2",
    "source_workload_namespace": "store", "source_principal": "unknown", "source_app": "shop", "source_version": "v2",
    "source_cluster": "cluster-1",
  ]
  private static let payment = [
    "destination_workload": "payment-v1", "destination_workload_namespace": "store",
    "destination_principal": "unknown", "destination_app": "payment", "destination_version": "v1",
    "destination_service": "payment.store.svc.cluster.local", "destination_canonical_service": "payment",
    "destination_canonical_revision": "v1", "destination_service_name": "payment",
    "destination_service_namespace": "store", "destination_cluster": "cluster-1",
  ]
  private static let plain = [
    "request_protocol": "http", "response_code": "200", "grpc_response_status": "", "response_flags": "-",
  ]

  /// Where the telemetry filter of the caller's requests ends.
  private static let beforeRouter =
    "\"@type\": type.googleapis.com/stats.PluginConfig\n          - name: envoy.filters.http.router"

  private static func merged(_ parts: [String: String]...) -> [String: String] {
    parts.reduce(into: [:]) { $0.merge($1) { _, new in new } }
  }

  @Test("Both sides report a request with every label, and neither the client nor the service sees a header of it")
  func request() async throws {
    let seen = Monitor<[RawRequest]>([])
    let server = try Self.service(seen)
    let sidecars = try await Sidecars.start(http: server.port)
    for _ in 0..<3 {
      let response = try await sidecars.caller.get("/x", listener: "outbound")
      #expect(response.status == 200)
      #expect(response.headers.allSatisfy { !$0.name.hasPrefix("x-envoy-peer") }, "\(response.headers)")
    }
    #expect(seen.read { $0.count } == 3)
    for request in seen.read({ $0 }) {
      #expect(request.headers.allSatisfy { !$0.name.hasPrefix("x-envoy-peer") }, "\(request.headers)")
    }
    let source = Self.merged(
      Self.shop, Self.payment, Self.plain, ["reporter": "source", "connection_security_policy": "unknown"])
    let destination = Self.merged(
      Self.shop, Self.payment, Self.plain, ["reporter": "destination", "connection_security_policy": "none"])
    for (proxy, labels) in [(sidecars.caller, source), (sidecars.service, destination)] {
      let requests = try await proxy.waitForSeries("istio_requests_total", labels, 3)
      #expect(requests.labels == labels)
      #expect(requests.value == 3)
      let all = try await proxy.istio()
      for name in ["request_duration_milliseconds", "request_bytes", "response_bytes"] {
        let count = all.filter { $0.name == "istio_\(name)_count" }
        #expect(count.map(\.labels) == [labels], "\(name)")
        #expect(count.map(\.value) == [3], "\(name)")
        #expect(all.filter { $0.name == "istio_\(name)_bucket" }.count == 20, "\(name)")
      }
      #expect(!all.contains { $0.name.hasPrefix("istio_tcp") || $0.name.contains("messages") })
      #expect(try await proxy.stat("istio_stats.series") == 4)
      // Names as Envoy has them.
      let text = try await proxy.admin("/stats?filter=istio_requests_total").text
      #expect(text.hasPrefix("istiocustom.istio_requests_total.reporter."), "\(text)")
    }
  }

  @Test("Nobody is taken for somebody else: what clients and applications say of themselves does not get through")
  func forged() async throws {
    let seen = Monitor<[RawRequest]>([])
    let server = try Self.service(seen)
    let sidecars = try await Sidecars.start(http: server.port)
    let lies = [("x-envoy-peer-metadata", "bGllcw=="), ("x-envoy-peer-metadata-id", "someone-else")]
    // The application beside the caller lies: its sidecar says what is true.
    _ = try await sidecars.caller.get("/x", listener: "outbound", headers: lies)
    _ = try await sidecars.service.waitForSeries("istio_requests_total", Self.shop)
    // Somebody else calls the service, without a sidecar, and is nobody.
    let answer = try await sidecars.service.get("/x", listener: "inbound", headers: lies)
    _ = try await sidecars.service.waitForSeries(
      "istio_requests_total", ["source_workload": "unknown", "source_canonical_revision": "latest"])
    #expect(try await sidecars.service.stat("istio_stats.peer_metadata_refused_total") == 1)
    // Whoever says something is told something, as in Istio; the service has heard nothing.
    #expect(answer.value("x-envoy-peer-metadata")?.isEmpty == false)
    #expect(answer.value("x-envoy-peer-metadata") != "bGllcw==")
    #expect(
      answer.value("x-envoy-peer-metadata-id") == "sidecar~127.0.0.1~payment-v1-5f6b.store~store.svc.cluster.local")
    // Who says nothing is told nothing, not even by the service.
    let silent = try await sidecars.service.get("/x", listener: "inbound")
    #expect(silent.headers.allSatisfy { !$0.name.hasPrefix("x-envoy-peer") }, "\(silent.headers)")
    #expect(seen.read { $0 }.allSatisfy { $0.headers.allSatisfy { !$0.name.hasPrefix("x-envoy-peer") } })
  }

  @Test("At the edge a client says nothing of itself, and is told nothing")
  func edge() async throws {
    let server = try Self.service(Monitor([]))
    let service = try await Sidecars.start("service", [8080: server.port]) { _, text in
      text.replacing("stat_prefix: inbound\n", "stat_prefix: inbound\n          use_remote_address: true\n")
    }
    // Names of another workload, as it would send them.
    let told = try await service.get(
      "/x", listener: "inbound",
      headers: [("x-envoy-peer-metadata", "ChQKDVdPUktMT0FEX05BTUUSAxoBYQ=="), ("x-envoy-peer-metadata-id", "a")])
    #expect(told.value("x-envoy-peer-metadata") == nil)
    #expect(told.value("x-envoy-peer-metadata-id") == nil)
    _ = try await service.waitForSeries("istio_requests_total", ["source_workload": "unknown"])
    #expect(try await service.stat("istio_stats.peer_metadata_refused_total") == 0)
  }

  @Test("What fails is told apart by its flags; who would have answered is known as far as it was chosen")
  func failures() async throws {
    let routes = [
      "{match: {prefix: /nowhere}, route: {cluster: nobody}}", "{match: {prefix: /full}, route: {cluster: full}}",
      "{match: {prefix: /plain}, direct_response: {status: 418}}",
    ]
    let clusters = [
      "{name: nobody, type: STATIC, load_assignment: {cluster_name: nobody}}",
      "{name: full, type: STATIC, circuit_breakers: {thresholds: [{max_requests: 0}]}, "
        + "load_assignment: {cluster_name: full}}",
    ]
    let caller = try await Sidecars.start("caller", [15006: 1]) { _, text in
      text.replacing(
        "              - match: {prefix: /}\n",
        routes.map { "              - \($0)\n" }.joined() + "              - match: {path: /x}\n"
      ).replacing("  clusters:\n", "  clusters:\n" + clusters.map { "  - \($0)\n" }.joined())
    }
    for target in ["/x", "/nowhere", "/full", "/plain", "/missing"] {
      _ = try await caller.get(target, listener: "outbound")
    }
    func expect(_ flags: String, _ code: String, _ labels: [String: String]) async throws {
      let all = Self.merged(Self.shop, ["response_flags": flags, "response_code": code], labels)
      _ = try await caller.waitForSeries("istio_requests_total", all)
    }
    // Nobody listens at the one endpoint there is: its workload is known from its metadata, which has no app.
    try await expect(
      "UF", "503",
      ["destination_workload": "payment-v1", "destination_app": "unknown", "destination_service_name": "payment"])
    let unknown = ["destination_workload": "unknown", "destination_workload_namespace": "unknown"]
    // A service that the configuration does not name is named by the host.
    try await expect("UH", "503", Self.merged(unknown, ["destination_service": "test"]))
    try await expect("UO", "503", unknown)
    try await expect("NR", "404", unknown)
    try await expect("-", "418", Self.merged(unknown, ["destination_canonical_revision": "latest"]))
  }

  @Test("Calls of gRPC have their status, and their messages are counted, long calls before they end")
  func grpc() async throws {
    let server = try await PythonPeer.serve("grpc_server.py")
    let sidecars = try await Sidecars.start(http: server.port) { file, text in
      let type = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
      return text.replacing(
        "    connect_timeout: 1s\n",
        "    connect_timeout: 1s\n    typed_extension_protocol_options: {\(type): {\"@type\": type.googleapis.com/\(type), "
          + "explicit_http_config: {http2_protocol_options: {}}}}\n"
      ).replacing(
        file == "caller" ? Self.beforeRouter : "disable_host_header_fallback: true",
        file == "caller"
          ? "\"@type\": type.googleapis.com/stats.PluginConfig\n              tcp_reporting_duration: 0.05s\n"
            + "          - name: envoy.filters.http.router" : "tcp_reporting_duration: 0.05s")
    }
    let port = try sidecars.caller.port("outbound")
    try await PythonPeer.run("grpc_client.py", ["\(port)", "kinds", "errors"])
    let call = ["request_protocol": "grpc", "response_code": "200"]
    for (proxy, reporter) in [(sidecars.caller, "source"), (sidecars.service, "destination")] {
      let labels = Self.merged(Self.shop, call, ["reporter": reporter])
      _ = try await proxy.waitForSeries("istio_requests_total", Self.merged(labels, ["grpc_response_status": "0"]), 5)
      _ = try await proxy.waitForSeries("istio_requests_total", Self.merged(labels, ["grpc_response_status": "5"]))
      let messages = try await proxy.waitForSeries(
        "istio_request_messages_total", Self.merged(Self.shop, ["reporter": reporter]), 14)
      // Istio reports them before it knows what comes of the call.
      #expect(messages.labels["response_code"] == nil)
      #expect(messages.labels["request_protocol"] == nil)
      _ = try await proxy.waitForSeries("istio_response_messages_total", messages.labels, 30)
    }
  }

  @Test("TCP: the source knows the other end by its endpoint, the destination does not; bytes are reported on the way")
  func connections() async throws {
    let server = try ScriptedServer { connection, _ in
      while true {
        let bytes = try connection.receiveSome(within: Deadline(.seconds(60)))
        if bytes.isEmpty { break }
        try connection.send(bytes + bytes)
      }
    }
    let sidecars = try await Sidecars.start(tcp: server.port) { _, text in
      text.replacing("tcp_reporting_duration: 5s", "tcp_reporting_duration: 0.05s")
    }
    let port = try sidecars.caller.port("outbound-tcp")
    let tcp = ["request_protocol": "tcp", "response_flags": "-"]
    // The metadata of an endpoint knows of no app and no version.
    let known = Self.merged(
      Self.shop, Self.payment, tcp,
      [
        "reporter": "source", "destination_app": "unknown", "destination_version": "unknown",
        "connection_security_policy": "unknown",
      ])
    let connection = try await blocking {
      let connection = try RawConnection(port: port)
      try connection.send("12345")
      _ = try connection.receive(count: 10)
      return connection
    }
    let opened = try await sidecars.caller.waitForSeries("istio_tcp_connections_opened_total", known)
    #expect(opened.labels == known)
    // While it is open.
    _ = try await sidecars.caller.waitForSeries("istio_tcp_sent_bytes_total", known, 10)
    _ = try await sidecars.caller.waitForSeries("istio_tcp_received_bytes_total", known, 5)
    #expect(try await !sidecars.caller.istio().contains { $0.name.contains("closed") && $0.value > 0 })
    connection.close()
    _ = try await sidecars.caller.waitForSeries("istio_tcp_connections_closed_total", known)
    let nobody = Self.merged(
      Self.payment, tcp,
      [
        "reporter": "destination", "source_workload": "unknown", "source_workload_namespace": "unknown",
        "source_canonical_revision": "latest", "connection_security_policy": "none",
      ])
    _ = try await sidecars.service.waitForSeries("istio_tcp_connections_closed_total", nobody)
    for (name, value) in [("sent", 10.0), ("received", 5.0)] {
      let series = try await sidecars.service.waitForSeries("istio_tcp_\(name)_bytes_total", nobody, value)
      #expect(series.value == value)
    }
  }

  @Test("A connection that finds no upstream was opened and closed, with its flags")
  func lostConnection() async throws {
    let caller = try await Sidecars.start("caller", [15007: 1])
    let port = try caller.port("outbound-tcp")
    _ = try await blocking { try RawConnection(port: port).receiveToEnd() }
    let lost = ["response_flags": "UF,URX", "destination_workload": "payment-v1"]
    _ = try await caller.waitForSeries("istio_tcp_connections_opened_total", lost)
    _ = try await caller.waitForSeries("istio_tcp_connections_closed_total", lost)
  }

  @Test("With mutual TLS both ends are who their certificates say", arguments: [true, false])
  func principals(isHTTP: Bool) async throws {
    let name = "spiffe://mesh/ns/default/sa/client"
    let server = try isHTTP ? Self.service(Monitor([])) : ScriptedServer { connection, _ in try connection.send("bye") }
    let shared =
      "tls_certificates: [\(TLSClients.certificate("client"))], "
      + "validation_context: {trusted_ca: {filename: \(TestCertificates.path("ca"))}}"
    let sidecars = try await Sidecars.start(http: server.port, tcp: server.port) { file, text in
      if file == "service" {
        return text.replacing(
          "    filter_chains:\n    - filters:\n",
          "    filter_chains:\n    - \(TLSClients.downstream(shared, "require_client_certificate: true"))\n      filters:\n"
        )
      }
      return text.replacing(
        "    connect_timeout: 1s\n", "    connect_timeout: 1s\n    \(TLSClients.upstream(shared))\n")
    }
    if isHTTP {
      for _ in 0..<2 { #expect(try await sidecars.caller.get("/x", listener: "outbound").status == 200) }
    } else {
      let port = try sidecars.caller.port("outbound-tcp")
      #expect(try await blocking { try RawConnection(port: port).receiveToEnd() } == Array("bye".utf8))
    }
    let metric = isHTTP ? "istio_requests_total" : "istio_tcp_connections_closed_total"
    let both = ["source_principal": name, "destination_principal": name]
    // A certificate's namespace goes before what its owner says of itself.
    _ = try await sidecars.caller.waitForSeries(
      metric,
      Self.merged(both, ["connection_security_policy": "unknown", "destination_workload_namespace": "default"]))
    _ = try await sidecars.service.waitForSeries(
      metric, Self.merged(both, ["connection_security_policy": "mutual_tls", "source_workload_namespace": "default"]))
  }

  @Test("Peers that call themselves something else each time fill the table, and no more")
  func cardinality() async throws {
    let server = try Self.service(Monitor([]))
    let service = try await Sidecars.start("service", [8080: server.port]) { _, text in
      "layered_runtime: {layers: [{name: s, static_layer: {istio_stats.max_series_per_metric: 5}}]}\n"
        + text.replacing(
          "disable_host_header_fallback: true", "metrics: [{dimensions: {who: \"request.headers['who']\"}}]")
    }
    let port = try service.port("inbound")
    try await blocking {
      let connection = try RawConnection(port: port)
      for number in 0..<40 {
        try connection.send("GET / HTTP/1.1\r\nhost: a\r\nwho: w\(number)\r\n\r\n")
        #expect(try connection.receiveResponse().status == 200)
      }
    }
    let rest = try await service.waitForSeries("istio_requests_total", ["otel_metric_overflow": "true"], 35)
    #expect(rest.labels == ["reporter": "destination", "otel_metric_overflow": "true"])
    let all = try await service.istio().filter { $0.name == "istio_requests_total" }
    #expect(all.count == 6)
    #expect(all.reduce(0) { $0 + $1.value } == 40)
    #expect(try await service.stat("istio_stats.series_overflow_total") > 0)
    try await service.waitForLog("has 5 series")
  }

  @Test("Series of those who have gone make room, and connections that last keep theirs")
  func eviction() async throws {
    let server = try Self.service(Monitor([]))
    let echo = try ScriptedServer { connection, _ in
      while true {
        let bytes = try connection.receiveSome(within: Deadline(.seconds(60)))
        if bytes.isEmpty { break }
        try connection.send(bytes)
      }
    }
    let caller = try await Sidecars.start("caller", [15006: server.port, 15007: echo.port]) { _, text in
      "stats_flush_interval: 0.1s\nstats_eviction_interval: 0.2s\n"
        + text.replacing("tcp_reporting_duration: 5s", "tcp_reporting_duration: 0.05s")
    }
    let port = try caller.port("outbound-tcp")
    let connection = try await blocking {
      let connection = try RawConnection(port: port)
      try connection.send("12345")
      _ = try connection.receive(count: 5)
      return connection
    }
    #expect(try await caller.get("/x", listener: "outbound").status == 200)
    try await eventually("series go") { try await caller.stat("istio_stats.series_evicted_total") >= 4 }
    try await eventually("requests are gone") {
      try await !caller.istio().contains { $0.name == "istio_requests_total" }
    }
    let labels = ["reporter": "source", "request_protocol": "tcp"]
    #expect(try await caller.waitForSeries("istio_tcp_sent_bytes_total", labels, 5).value == 5)
    try await blocking {
      try connection.send("678")
      _ = try connection.receive(count: 3)
    }
    #expect(try await caller.waitForSeries("istio_tcp_sent_bytes_total", labels, 8).value == 8)
    // It may go again before anybody has looked.
    try await eventually("they come back") {
      _ = try await caller.get("/x", listener: "outbound")
      return try await caller.istio().contains { $0.name == "istio_requests_total" && $0.value > 0 }
    }
  }

  @Test("Metrics can be dropped, labels removed, replaced and added")
  func overrides() async throws {
    let server = try Self.service(Monitor([]))
    let caller = try await Sidecars.start("caller", [15006: server.port]) { _, text in
      text.replacing(
        Self.beforeRouter,
        """
        "@type": type.googleapis.com/stats.PluginConfig
                      metrics:
                      - {name: request_bytes, drop: true}
                      - {tags_to_remove: [source_principal, grpc_response_status]}
                      - name: requests_total
                        dimensions: {request_method: request.method, response_flags: "'none'", zone: "node.metadata['CLUSTER_ID']"}
                  - name: envoy.filters.http.router
        """)
    }
    _ = try await caller.get("/x", listener: "outbound")
    let series = try await caller.waitForSeries("istio_requests_total", ["request_method": "GET"])
    #expect(series.labels["response_flags"] == "none")
    #expect(series.labels["zone"] == "cluster-1")
    #expect(series.labels["source_principal"] == nil)
    let all = try await caller.istio()
    #expect(!all.contains { $0.name.hasPrefix("istio_request_bytes") })
    let size = try #require(all.first { $0.name == "istio_response_bytes_count" })
    #expect(size.labels["request_method"] == nil)
    #expect(size.labels["response_flags"] == "-")
    #expect(size.labels["grpc_response_status"] == nil)
  }
}

extension String {
  /// With every occurrence of `old` replaced; it has to occur.
  fileprivate func replacing(_ old: String, _ new: String) -> String {
    var out: [UInt8] = []
    var rest = Array(utf8)
    var count = 0
    while let at = MeshTesting.firstRange(of: Array(old.utf8), in: rest) {
      out += rest[..<at] + Array(new.utf8)
      rest = Array(rest[(at + old.utf8.count)...])
      count += 1
    }
    return String(decoding: out + rest, as: UTF8.self)
  }
}
