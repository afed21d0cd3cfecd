import MeshTesting
import Testing

/// What the process log says of requests and connections that fail: one line each, with the words for what happened, the limit
/// or timer that it was and its value, and who and what it was about.
@Suite("Lines about failures", .timeLimit(.minutes(3)))
struct FailureLineTests {
  private static let filterTypes = "filters.http"

  /// An upstream that does what the request's target says, once on each connection.
  private func upstream() throws -> ScriptedServer {
    try ScriptedServer { connection, _ in
      guard let request = try connection.receiveRequest(within: Deadline(.seconds(60))) else { return }
      switch request.target {
      case "/closes": break
      case "/hangs", "/idle", "/lasts", "/tries":
        _ = try? connection.receive(through: "\u{0}", within: Deadline(.seconds(20)))
      case "/nonsense": try connection.send("what?\r\n\r\n")
      case "/breaks": try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nten bytes.")
      case "/fails": try connection.sendResponse(500)
      case "/again": try connection.sendResponse(503)
      default: try connection.sendResponse(body: Array("fine".utf8))
      }
    }
  }

  private static let limit = ProxyConfiguration.typed(
    "envoy.filters.http.local_ratelimit", "filters.http.local_ratelimit.v3.LocalRateLimit", ["stat_prefix: edge"])
  private static let fault = ProxyConfiguration.typed(
    "envoy.filters.http.fault", "filters.http.fault.v3.HTTPFault")
  private static let buffer = ProxyConfiguration.typed(
    "envoy.filters.http.buffer", "filters.http.buffer.v3.Buffer", ["max_request_bytes: 65536"])

  private static func perRoute(_ filter: String, _ type: String, _ fields: String) -> String {
    "typed_per_filter_config: {\(filter): {\"@type\": type.googleapis.com/envoy.extensions.filters.http.\(type), \(fields)}}"
  }

  private func configuration(
    _ upstream: UInt16, silent: UInt16, shouting: UInt16, unused: UInt16
  ) -> ProxyConfiguration {
    typealias Cluster = ProxyConfiguration.Cluster
    let backend = ("127.0.0.1", upstream)
    var configuration = ProxyConfiguration(clusters: [
      Cluster(endpoints: [backend]),
      Cluster(name: "refusing", endpoints: [("127.0.0.1", unused)]),
      Cluster(name: "empty", endpoints: []),
      Cluster(name: "full", endpoints: [backend], fields: ["circuit_breakers: {thresholds: [{max_requests: 0}]}"]),
      Cluster(
        name: "queued", endpoints: [backend], fields: ["circuit_breakers: {thresholds: [{max_pending_requests: 0}]}"]),
      Cluster(
        name: "silent", endpoints: [("127.0.0.1", silent)],
        fields: ["connect_timeout: 0.2s", TLSClients.upstream("")]),
      Cluster(name: "plain", endpoints: [("127.0.0.1", shouting)], fields: [TLSClients.upstream("")]),
      Cluster(
        name: "weak", endpoints: [backend],
        fields: ["circuit_breakers: {thresholds: [{max_retries: 0}]}"]),
    ])
    configuration.clusters[2].fields = ["connect_timeout: 1s"]
    let retry =
      "retry_policy: {retry_on: \"5xx,connect-failure\", num_retries: 2, retry_back_off: {base_interval: 0.001s}"
    configuration.listeners[0].managerFields = ["stat_prefix: edge", "request_timeout: 0.3s"]
    configuration.listeners[0].routes = [
      "{match: {path: /closes}, route: {cluster: backend}}",
      "{match: {path: /refused}, name: checkout, route: {cluster: refusing, \(retry)}}}",
      "{match: {path: /empty}, route: {cluster: empty}}",
      "{match: {path: /full}, route: {cluster: full}}",
      "{match: {path: /queued}, route: {cluster: queued}}",
      "{match: {path: /silent}, route: {cluster: silent}}",
      "{match: {path: /plain}, route: {cluster: plain}}",
      "{match: {path: /again}, route: {cluster: weak, \(retry)}}}",
      "{match: {path: /hangs}, route: {cluster: backend, timeout: 0.25s}}",
      "{match: {path: /tries}, route: {cluster: backend, \(retry), per_try_timeout: 0.1s}}}",
      "{match: {path: /idle}, route: {cluster: backend, idle_timeout: 0.2s}}",
      "{match: {path: /lasts}, route: {cluster: backend, max_stream_duration: {max_stream_duration: 0.2s}}}",
      "{match: {path: /named}, route: {cluster_header: x-cluster}}",
      "{match: {path: /limited}, route: {cluster: backend}, "
        + Self.perRoute(
          "envoy.filters.http.local_ratelimit", "local_ratelimit.v3.LocalRateLimit",
          "stat_prefix: shop, token_bucket: {max_tokens: 1, tokens_per_fill: 1, fill_interval: 3600s}, "
            + "filter_enabled: {default_value: {numerator: 100}}, filter_enforced: {default_value: {numerator: 100}}")
        + "}",
      "{match: {path: /fault}, route: {cluster: backend}, "
        + Self.perRoute(
          "envoy.filters.http.fault", "fault.v3.HTTPFault", "abort: {http_status: 418, percentage: {numerator: 100}}")
        + "}",
      "{match: {path: /large}, route: {cluster: backend}, "
        + Self.perRoute("envoy.filters.http.buffer", "buffer.v3.BufferPerRoute", "buffer: {max_request_bytes: 1000}")
        + "}",
      "{match: {path: /direct}, direct_response: {status: 503}}",
      "{match: {prefix: /up}, route: {cluster: backend}}",
      "{match: {path: /nonsense}, route: {cluster: backend}}",
      "{match: {path: /breaks}, route: {cluster: backend}}",
      "{match: {path: /fails}, route: {cluster: backend}}",
    ]
    configuration.listeners[0].filters = [Self.limit, Self.fault, Self.buffer]
    return configuration
  }

  private struct Case: Sendable {
    let target: String
    var method = "GET"
    var fields: [String] = []
    var body = ""
    /// nil: there is none.
    let status: Int?
    let level: String
    let words: [String]
  }

  /// One for each row of the matrix of answers that a proxy makes itself, and for what else can fail.
  private static let cases: [Case] = [
    Case(
      target: "/nowhere?secret=1", status: 404, level: "warning",
      words: [
        "there is no route for the request: of the 21 routes of virtual host all none matches |",
        "code=404 flags=NR details=route_not_found", "path=/nowhere protocol=HTTP/1.1",
      ]),
    Case(
      target: "/named", fields: ["x-cluster: a \"b\""], status: 503, level: "warning",
      words: ["the route leads to a cluster that does not exist |", "flags=NC", "virtual_host=all route=routes[12]"]),
    Case(
      target: "/empty", status: 503, level: "warning",
      words: [
        "no endpoint of cluster empty may have the request: it has none |", "flags=UH details=no_healthy_upstream",
      ]),
    Case(
      target: "/refused", status: 503, level: "warning",
      words: [
        "no connection to the endpoint came about: refused, nobody listens there; "
          + "not sent again: num_retries of 2 are used up |",
        "flags=URX,UF", "route=checkout", "attempt=3/3", "tried_before=127.0.0.1:", "retry_refused=limit_exceeded",
      ]),
    Case(
      target: "/closes", status: 503, level: "warning",
      words: ["the upstream closed the connection before there was a response |", "flags=UC", "attempt=1/1"]),
    Case(
      target: "/full", status: 503, level: "warning",
      words: ["max_requests of 0 of cluster full is reached |", "flags=UO"]),
    Case(
      target: "/queued", status: 503, level: "warning",
      words: ["max_pending_requests of 0 of cluster queued is reached |", "flags=UO", "endpoint=127.0.0.1:"]),
    Case(
      target: "/silent", status: 503, level: "warning",
      words: ["connect_timeout of 200 ms passed and there was no connection |", "flags=UF"]),
    Case(
      target: "/plain", status: 503, level: "warning",
      words: [
        "no connection to the endpoint came about: the TLS handshake failed |", "flags=UF",
        "transport_failure=TLS_error:|",
      ]),
    Case(
      target: "/again", status: 503, level: "info",
      words: [
        "the upstream answered so itself; not sent again: max_retries of 0 of cluster weak is reached |", "flags=UO",
        "details=via_upstream", "retry_refused=overflow",
      ]),
    Case(
      target: "/hangs", status: 504, level: "warning",
      words: [
        "the route's timeout of 250 ms passed before there was a response |", "flags=UT details=response_timeout",
      ]),
    Case(
      target: "/tries", status: 504, level: "warning",
      words: [
        "per_try_timeout of 100 ms passed in the last attempt; not sent again: num_retries of 2 are used up |",
        "flags=URX,UT", "attempt=3/3",
      ]),
    Case(
      target: "/idle", status: 504, level: "warning",
      words: ["nothing moved for the route's idle_timeout of 200 ms |", "flags=SI details=stream_idle_timeout"]),
    Case(
      target: "/lasts", status: 504, level: "warning",
      words: ["max_stream_duration of 200 ms passed before there was a response |", "details=max_duration_timeout"]),
    Case(
      target: "/fault", status: 418, level: "warning",
      words: ["the fault filter answered, as it is configured to |", "flags=FI"]),
    Case(
      target: "/nonsense", status: 502, level: "warning",
      words: ["the upstream's response breaks a rule of HTTP: http1.", "flags=UPE"]),
    Case(
      target: "/breaks", status: nil, level: "warning",
      words: [
        "the response broke off: the upstream closed the connection before the response was complete |",
        "code=200 flags=UC details=upstream_reset_after_response_started{connection_termination}", "bytes_sent=10",
      ]),
    Case(
      target: "/fails", status: 500, level: "info",
      words: ["the upstream answered so itself |", "code=500 details=via_upstream", "cluster=backend", "request_id="]),
    Case(
      target: "/large", method: "POST", fields: ["content-length: 2000"], body: String(repeating: "x", count: 2000),
      status: 413, level: "info",
      words: ["a filter wanted all of a body that is over 1000 bytes |", "details=request_payload_too_large"]),
    Case(
      target: "/up", method: "POST", fields: ["content-length: 10"], body: "x", status: 408, level: "info",
      words: ["the client took longer than request_timeout of 300 ms |", "details=request_overall_timeout"]),
    Case(
      target: "/up", fields: ["connection: upgrade", "upgrade: smoke"], status: 403, level: "info",
      words: ["no upgrade_configs allow the upgrade or CONNECT |", "details=upgrade_failed"]),
    Case(
      target: "/a b", status: 400, level: "info",
      words: ["the request breaks a rule of HTTP: http1.", "code=400 flags=DPE", "client=127.0.0.1:"]),
    Case(
      target: "/nowhere", method: "POST", fields: ["content-type: application/grpc", "content-length: 0"], status: 200,
      level: "warning",
      words: ["there is no route for the request", "code=200 flags=NR", "grpc_status=12"]),
  ]

  @Test("each kind of failure has one line, with the words for it")
  func matrix() async throws {
    let upstream = try upstream()
    let silent = try ScriptedServer { connection, _ in _ = try? connection.receiveToEnd(within: Deadline(.seconds(20)))
    }
    let shouting = try ScriptedServer { connection, _ in
      try connection.send("this is no TLS\r\n")
      _ = try? connection.receiveToEnd(within: Deadline(.seconds(20)))
    }
    let unused = try ListenSocket.freePort()
    let proxy = try await RunningProxy.start(
      configuration(upstream.port, silent: silent.port, shouting: shouting.port, unused: unused))
    var expected = 0
    // One passes, and has none.
    #expect(try await proxy.get("/limited").status == 200)
    #expect(try await proxy.get("/direct").status == 503)
    let limited = Case(
      target: "/limited", status: 429, level: "warning",
      words: [
        "a local rate limit is reached: shop allows 1 in 3600 s and at most 1 at once |",
        "flags=RL details=local_rate_limited",
      ])
    for one in Self.cases + [limited] {
      let port = try proxy.port()
      let answer = try await blocking {
        let connection = try RawConnection(port: port)
        let fields = one.fields.map { "\($0)\r\n" }.joined()
        let close = one.fields.contains { $0.hasPrefix("connection") } ? "" : "connection: close\r\n"
        try connection.send("\(one.method) \(one.target) HTTP/1.1\r\nhost: shop\r\n\(close)\(fields)\r\n\(one.body)")
        return String(decoding: try connection.receiveToEnd(within: Deadline(.seconds(30))), as: UTF8.self)
      }
      if let status = one.status { #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(one.target): \(answer)") }
      expected += 1
      let lines = try await proxy.failureLines(expected)
      #expect(lines.count == expected, "\(one.target)")
      let line = lines.last ?? ""
      #expect(line.contains("[\(one.level)][traffic] "), "\(one.target): \(line)")
      for words in one.words { #expect(line.contains(words), "\(one.target): no \(words) in\n\(line)") }
      #expect(!line.contains("secret"))
    }
  }

  @Test("a client that leaves is told of at debug level only")
  func clientLeaves() async throws {
    for (arguments, count) in [([], 0), (["--component-log-level", "traffic:debug"], 1)] {
      let arrived = Gate()
      let upstream = try ScriptedServer { connection, _ in
        _ = try connection.receiveRequest(within: Deadline(.seconds(60)))
        arrived.open()
        _ = try? connection.receiveToEnd(within: Deadline(.seconds(20)))
      }
      let proxy = try await RunningProxy.start(ProxyConfiguration(backend: upstream.port), arguments: arguments)
      let port = try proxy.port()
      try await blocking {
        let connection = try RawConnection(port: port)
        try connection.send("GET /long HTTP/1.1\r\nhost: test\r\n\r\n")
        try arrived.wait()
        connection.reset()
      }
      try await eventually("the request is over") { try await proxy.stat("http.main.downstream_rq_active") == 0 }
      let lines = try await proxy.failureLines(count)
      #expect(lines.count == count, "\(lines)")
      for line in lines {
        #expect(line.contains("[debug][traffic] the client closed its connection before there was a response |"))
        #expect(line.contains("flags=DC details=downstream_remote_disconnect"))
      }
    }
  }

  @Test("of a storm there are a few lines, and all the others are counted")
  func storm() async throws {
    let proxy = try await RunningProxy.start(ProxyConfiguration(clusters: [.init(endpoints: [])]))
    let port = try proxy.port()
    let requests = 3000
    let connections = 4
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<connections {
        group.addTask {
          try await blocking {
            let connection = try RawConnection(port: port)
            for _ in 0..<(requests / connections) {
              try connection.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")
              let response = try connection.receiveResponse(within: Deadline(.seconds(30)))
              #expect(response.status == 503)
            }
          }
        }
      }
      try await group.waitForAll()
    }
    func told(_ lines: [String]) -> Int {
      lines.reduce(0) { sum, line in
        guard let at = line.range(after: "left_out=") else { return sum + 1 }
        return sum + (Int(at) ?? 0)
      }
    }
    try await eventually("every failure is told of", within: Deadline(.seconds(20))) {
      told(proxy.trafficLines) == requests
    }
    let lines = proxy.trafficLines
    let remainders = lines.filter { $0.contains("more like this in the last second: no endpoint of cluster backend") }
    // Three and the remainder in each second.
    #expect(
      lines.count == remainders.count + 3 * (remainders.count) || lines.count <= 4 * remainders.count + 3, "\(lines)")
    #expect(!remainders.isEmpty)
    #expect(remainders.allSatisfy { $0.contains("[warning][traffic] and ") && $0.contains(" flags=UH ") })
  }

  @Test("bytes of a client cannot make a line, or a field")
  func hostile() async throws {
    let proxy = try await RunningProxy.start(
      ProxyConfiguration(clusters: [.init(endpoints: [])]), arguments: ["--component-log-level", "traffic:trace"])
    let port = try proxy.port()
    let forged = "[2026-01-01 00:00:00.000][1][warning][traffic] forged"
    let long = "/" + String(repeating: "%0a\\\"", count: 1000)
    try await blocking {
      for request in [
        "GET /x HTTP/1.1\r\nhost: test\r\nx-request-id: a\" code=200 \\\r\n\r\n",
        "GET \(long) HTTP/1.1\r\nhost: test\r\n\r\n",
        "GET /a=b|c HTTP/1.1\r\nhost: test\r\nx-request-id: \u{9b}31m\u{e9}\r\n\r\n",
        "GET /\r\n\(forged)\r\n HTTP/1.1\r\n\r\n",
        "\u{16}\u{3}\u{1}\n\(forged)\n\r\n\r\n",
      ] {
        let connection = try RawConnection(port: port)
        try connection.send(request)
        _ = try connection.receiveSome(within: Deadline(.seconds(30)))
      }
    }
    let lines = try await proxy.failureLines(5)
    #expect(lines.count == 5, "\(lines)")
    for line in lines {
      #expect(line.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f }, "\(line)")
      #expect(line.utf8.count < 3600)
      #expect(!line.contains("] forged"))
      let names = Self.fieldNames(line)
      #expect(Set(names).count == names.count && Set(names).isSubset(of: Self.known), "\(names)")
    }
    #expect(lines[0].contains("request_id=\"a\\\" code=200 \\\\\""), "\(lines[0])")
    #expect(lines[1].contains("path=\"/%0a\\\\\\\"%0a"), "\(lines[1])")
    #expect(
      lines[2].contains("path=\"/a=b|c\"") && lines[2].contains("request_id=\"\\xc2\\x9b31m\\xc3\\xa9\""), "\(lines[2])"
    )
  }

  private static let known: Set<String> = [
    "code", "flags", "details", "listener", "stat_prefix", "cluster", "method", "authority", "path", "protocol",
    "client",
    "virtual_host", "route", "endpoint", "attempt", "duration_ms", "request_id", "trace_id", "span_id", "sampled",
  ]

  /// Reads a line's fields as logfmt.
  private static func fieldNames(_ line: String) -> [String] {
    let bytes = Array(line.utf8)
    guard var at = firstRange(of: Array(" | ".utf8), in: bytes).map({ $0 + 3 }) else { return [] }
    var names: [String] = []
    while at < bytes.count {
      let name = bytes[at...].prefix { $0 != UInt8(ascii: "=") && $0 != UInt8(ascii: " ") }
      names.append(String(decoding: name, as: UTF8.self))
      at += name.count + 1
      if at < bytes.count, bytes[at] == UInt8(ascii: "\"") {
        at += 1
        while at < bytes.count, bytes[at] != UInt8(ascii: "\"") { at += bytes[at] == UInt8(ascii: "\\") ? 2 : 1 }
        at += 1
      } else {
        at += bytes[at...].prefix { $0 != UInt8(ascii: " ") }.count
      }
      at += 1
    }
    return names
  }

  @Test("the level of the component switches lines on and off while the proxy runs")
  func level() async throws {
    let proxy = try await RunningProxy.start(ProxyConfiguration(clusters: [.init(endpoints: [])]))
    #expect(try await proxy.admin("/logging?traffic=error", method: "POST").status == 200)
    #expect(try await proxy.get().status == 503)
    #expect(try await proxy.admin("/logging?traffic=warning", method: "POST").status == 200)
    #expect(try await proxy.get("/second").status == 503)
    let lines = try await proxy.failureLines(1)
    #expect(lines.count == 1 && lines[0].contains("path=/second"), "\(lines)")
  }

  @Test("behind an outbound listener the proxy at the other end tells of its own failures, but not of retries here")
  func outbound() async throws {
    let upstream = try upstream()
    var configuration = ProxyConfiguration(backend: upstream.port)
    configuration.listeners[0].fields = ["traffic_direction: OUTBOUND"]
    configuration.listeners[0].routes = [
      "{match: {path: /fails}, route: {cluster: backend}}",
      "{match: {path: /again}, route: {cluster: backend, retry_policy: {retry_on: reset}}}",
      "{match: {path: /closes}, route: {cluster: backend}}",
    ]
    let proxy = try await RunningProxy.start(configuration)
    #expect(try await proxy.get("/fails").status == 500)
    #expect(try await proxy.get("/again").status == 503)
    #expect(try await proxy.get("/closes").status == 503)
    let lines = try await proxy.failureLines(2)
    #expect(lines.count == 2, "\(lines)")
    #expect(
      lines[0].contains(
        "[info][traffic] the upstream answered so itself; not sent again: retry_on does not name this |"))
    #expect(lines[1].contains("[warning][traffic] the upstream closed the connection"))
  }

  // MARK: Connections

  @Test("TCP connections that fail have their lines, and others have none")
  func tcp() async throws {
    let server = try ScriptedServer { connection, number in
      _ = try connection.receive(count: 1)
      if number == 0 { connection.reset() }
    }
    let unused = try ListenSocket.freePort()
    var configuration = TCPConfiguration(backend: server.port)
    configuration.clusters += [
      .init(name: "refusing", endpoints: [("127.0.0.1", unused)]), .init(name: "empty", endpoints: []),
    ]
    configuration.listenerFields = [
      "listener_filters: [\(ProxyConfiguration.typed("tls", "filters.listener.tls_inspector.v3.TlsInspector"))]",
      "listener_filters_timeout: 0.05s", "continue_on_listener_filters_timeout: true",
    ]
    configuration.chains = [
      .init(name: "plain", match: ["transport_protocol: raw_buffer"], fields: ["max_connect_attempts: 2"])
    ]
    func lines(_ cluster: String, talks: Bool, fails: Bool = true) async throws -> [String] {
      configuration.chains[0].cluster = cluster
      let proxy = try await RunningProxy.start(configuration)
      let port = try proxy.port()
      try await blocking {
        let connection = try RawConnection(port: port)
        if talks { try connection.send("x") }
        _ = try? connection.receiveToEnd(within: Deadline(.seconds(30)))
      }
      try await eventually("it is closed") { try await proxy.stat("server.total_connections") == 0 }
      if fails { try await eventually("there is a line") { !proxy.trafficLines.isEmpty } }
      return proxy.trafficLines
    }
    let reset = try await lines("backend", talks: true)
    #expect(reset.count == 1 && reset[0].contains("[warning][traffic] the upstream reset the connection |"), "\(reset)")
    #expect(reset[0].contains("flags=UR ") && reset[0].contains("cluster=backend protocol=TCP client=127.0.0.1:"))
    #expect(reset[0].contains("bytes_received=1"), "\(reset)")
    let fine = try await lines("backend", talks: true, fails: false)
    #expect(fine.isEmpty, "\(fine)")
    let refused = try await lines("refusing", talks: false)
    #expect(
      refused.count == 1
        && refused[0].contains(
          "no connection to an endpoint of cluster refusing came about: refused, nobody listens there | flags=UF,URX"),
      "\(refused)")
    #expect(refused[0].contains("endpoint=127.0.0.1:\(unused) attempt=2 "), "\(refused)")
    let empty = try await lines("empty", talks: false)
    #expect(
      empty.count == 1 && empty[0].contains("no endpoint of cluster empty may have the connection: it has none |"),
      "\(empty)")
    configuration.chains[0].match = ["server_names: [somewhere]"]
    let unmatched = try await lines("backend", talks: true)
    #expect(
      unmatched.count == 1
        && unmatched[0].contains("no filter chain of the listener is for the connection | flags=NR"), "\(unmatched)")
  }

  @Test("a client without the certificate that it must have, and who a client with one is")
  func certificates() async throws {
    var configuration = ProxyConfiguration(clusters: [.init(endpoints: [])])
    let trusted = "validation_context: {trusted_ca: {filename: \(TestCertificates.path("ca"))}}"
    configuration.listeners[0].chainFields = [
      TLSClients.downstream(
        "tls_certificates: [\(TLSClients.certificate("server-ecdsa"))], \(trusted)", "require_client_certificate: true")
    ]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    _ = try await TLSClients.curl(port)
    let first = try await proxy.failureLines(1)
    #expect(
      first.count == 1
        && first[0].contains(
          "[warning][traffic] the TLS handshake failed: the client shows no certificate, and one is required |"),
      "\(first)")
    #expect(first[0].contains("protocol=TCP client=127.0.0.1:") && first[0].contains("transport_failure="), "\(first)")
    _ = try await TLSClients.curl(port, "/asked", TLSClients.showing("client"))
    let second = try await proxy.failureLines(2)
    #expect(second.count == 2 && second[1].contains(" peer="), "\(second)")
  }
}

extension RunningProxy {
  /// What has been said of failures so far.
  var trafficLines: [String] {
    program.errorOutput.split(separator: "\n").filter { $0.contains("][traffic] ") }.map(String.init)
  }

  /// Waits until there are so many lines, and until the proxy has had time to write more: it answers a later request.
  func failureLines(_ count: Int) async throws -> [String] {
    try await eventually("\(count) lines about failures") { self.trafficLines.count >= count }
    _ = try await admin("/ready")
    return trafficLines
  }
}

extension String {
  /// The word behind the last occurrence of `text`.
  fileprivate func range(after text: String) -> String? {
    let parts = split(separator: " ").filter { $0.hasPrefix(text) }
    return parts.last.map { String($0.dropFirst(text.count)) }
  }
}
