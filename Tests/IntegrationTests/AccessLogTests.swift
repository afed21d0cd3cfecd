import Glibc
import MeshTesting
import Testing

@Suite("Access log", .timeLimit(.minutes(3)))
struct AccessLogTests {
  /// Files that were moved away keep what was said before, new ones take what comes; together they have every request
  /// once.
  @Test func rotationLosesNoLine() async throws {
    let backend = try EchoBackend()
    let directory = try TemporaryDirectory()
    let path = directory.file("access.log")
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].accessLogs = [(path, "%REQ(:PATH)%\\n")]
    let proxy = try await RunningProxy.start(configuration)
    let load = Load(port: try proxy.port(), keepAlive: 3, new: 2)
    try await load.waitForMore(20)
    for round in 0..<10 {
      #expect(rename(path, directory.file("access.log.\(round)")) == 0)
      proxy.program.signal(SIGUSR1)
      try await eventually("a new file is there") { access(path, F_OK) == 0 }
      try await load.waitForMore(60)
    }
    let tally = try await load.stop()
    #expect(tally.failures.isEmpty)
    proxy.program.signal(SIGTERM)
    #expect(try await proxy.program.waitForEnd() == .exited(0))
    var lines: [Substring] = []
    for name in TemporaryDirectory.names(directory.path) where name.hasPrefix("access.log") {
      let text = directory.read(name)
      #expect(text.isEmpty || text.hasSuffix("\n"), "\(name) ends within a line")
      lines += text.split(separator: "\n")
    }
    #expect(lines.count == tally.answered)
    #expect(Set(lines).count == lines.count)
    #expect(lines.allSatisfy { $0.hasPrefix("/small/") || $0.hasPrefix("/large/") })
  }

  /// The new file cannot be opened: the old one stays in use.
  @Test func aRotationThatFailsKeepsTheOldFile() async throws {
    let backend = try EchoBackend()
    let directory = try TemporaryDirectory()
    try directory.write("logs/access.log", "")
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].accessLogs = [(directory.file("logs/access.log"), "%REQ(:PATH)%\\n")]
    let proxy = try await RunningProxy.start(configuration)
    _ = try await proxy.get("/before")
    #expect(rename(directory.file("logs"), directory.file("away")) == 0)
    proxy.program.signal(SIGUSR1)
    try await proxy.waitForLog("the old file stays in use")
    _ = try await proxy.get("/after")
    try await eventually("both lines are there") { directory.read("away/access.log") == "/before\n/after\n" }
  }

  @Test(arguments: ["file", "/dev/stdout"])
  func theDefaultLineIsEnvoys(_ place: String) async throws {
    let backend = try EchoBackend()
    let directory = try TemporaryDirectory()
    let path = place == "file" ? directory.file("access.log") : place
    var configuration = ProxyConfiguration(backend: backend.port)
    configuration.listeners[0].accessLogs = [(path, nil)]
    let proxy = try await RunningProxy.start(configuration)
    let client = try RawConnection(port: proxy.port())
    let response = try await client.exchange(
      "POST /some/path?a=b HTTP/1.1\r\nhost: some.host\r\nuser-agent: agent/1\r\ncontent-length: 5\r\n\r\n12345")
    var text = ""
    try await eventually("the line is there") {
      text = place == "file" ? directory.read("access.log") : proxy.program.output
      return text.hasSuffix("\n")
    }
    let line =
      #/
      \[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\]\x20"POST\x20\/some\/path\?a=b\x20HTTP\/1\.1"\x20200\x20-\x205\x20(\d+)\x20\d+\x20\d+
      \x20"-"\x20"agent\/1"\x20"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"\x20"some\.host"
      \x20"127\.0\.0\.1:(\d+)"
      /#
    let match = try #require(text.dropLast().wholeMatch(of: line), "\(text)")
    #expect(Int(match.1) == response.body.count)
    #expect(UInt16(match.2) == backend.port)
  }

  /// Filters, JSON, and the lines before the end: what a running proxy writes of real requests.
  @Test func filteredLinesAreWrittenOnTheirOccasions() async throws {
    let backend = try ScriptedServer { connection, _ in
      while true {
        let head = try connection.receive(through: "\r\n\r\n")
        // The answer waits until the test has seen a line about the stream that goes on.
        if head.contains("/slow") { _ = try connection.receive(through: "now") }
        try connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-b: 1\r\n\r\nok")
      }
    }
    defer { backend.stop() }
    let directory = try TemporaryDirectory()
    let file = { (name: String, format: String, filter: String) in
      """
      {name: \(name), filter: \(filter), typed_config: {
        "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog,
        path: "\(directory.file(name))", log_format: \(format)}}
      """
    }
    let sizes =
      "%DOWNSTREAM_WIRE_BYTES_RECEIVED% %DOWNSTREAM_HEADER_BYTES_RECEIVED% %DOWNSTREAM_WIRE_BYTES_SENT% "
      + "%DOWNSTREAM_HEADER_BYTES_SENT% %UPSTREAM_WIRE_BYTES_SENT% %UPSTREAM_HEADER_BYTES_SENT% "
      + "%UPSTREAM_WIRE_BYTES_RECEIVED% %UPSTREAM_HEADER_BYTES_RECEIVED% "
      + ["LISTENER", "LISTENER_FILTER_CHAIN", "VIRTUAL_HOST", "ROUTE", "CLUSTER", "UPSTREAM_HOST"].map {
        "%METADATA(\($0):ns:of)%"
      }.joined(separator: " ")
    let metadata = { (of: String) in "metadata: {filter_metadata: {ns: {of: \(of)}}}" }
    try directory.write(
      "proxy.yaml",
      """
      static_resources:
        listeners:
        - name: main
          \(metadata("listener"))
          address: {socket_address: {address: 127.0.0.1, port_value: 0}}
          filter_chains:
          - name: plain
            \(metadata("chain"))
            filters:
            - name: hcm
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: main
                access_log_options: {flush_access_log_on_new_request: true, access_log_flush_interval: 0.05s}
                access_log:
                - \(file("bad", #"{json_format: {path: "%PATH(NQ)%", code: "%RESPONSE_CODE%", up: "%UPSTREAM_HOST%"}}"#,
      "{and_filter: {filters: [{log_type_filter: {types: [DownstreamEnd]}}, {status_code_filter: {comparison: {op: GE, value: {default_value: 400}}}}]}}"))
                - \(file("start", #"{text_format: "%ACCESS_LOG_TYPE% %REQ(:PATH)% %RESPONSE_CODE% %ROUTE_NAME% %UPSTREAM_HOST%\n"}"#,
      "{log_type_filter: {types: [DownstreamStart]}}"))
                - \(file("going-on", #"{text_format: "%ACCESS_LOG_TYPE% %REQ(:PATH)% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %DURATION%\n"}"#,
      "{log_type_filter: {types: [DownstreamPeriodic]}}"))
                - \(file("sizes", "{text_format: \"\(sizes)\\n\"}",
      "{and_filter: {filters: [{log_type_filter: {types: [DownstreamEnd]}}, {header_filter: {header: {name: x-sizes, present_match: true}}}]}}"))
                route_config:
                  name: r
                  virtual_hosts:
                  - name: v
                    \(metadata("host"))
                    domains: ["*"]
                    routes:
                    - {name: up, match: {prefix: /up}, route: {cluster: c}, \(metadata("route"))}
                    - {name: slow, match: {prefix: /slow}, route: {cluster: c}}
                http_filters:
                - name: envoy.filters.http.router
                  typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
        clusters:
        - name: c
          type: STATIC
          \(metadata("cluster"))
          load_assignment:
            cluster_name: c
            endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: \(backend.port)}}}, \(metadata("endpoint"))}]}]
      """)
    let proxy = try RunningProxy(directory)
    try await proxy.waitUntilReady()
    let client = try RawConnection(port: proxy.port())
    let request = "POST /up?a=b HTTP/1.1\r\nhost: h\r\nx-sizes: 1\r\ncontent-length: 5\r\n\r\n12345"
    _ = try await client.exchange(request)
    _ = try await client.exchange("GET /none?x=y HTTP/1.1\r\nhost: h\r\n\r\n")
    try client.send("POST /slow HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\n")
    try await eventually("two lines about the stream that goes on") {
      directory.read("going-on").split(separator: "\n").count >= 2
    }
    let lines = directory.read("going-on").split(separator: "\n")
    #expect(lines.allSatisfy { $0.wholeMatch(of: /DownstreamPeriodic \/slow 1 \d+/) != nil }, "\(lines)")
    try client.send("now")
    _ = try client.receive(through: "ok")
    try await eventually("the lines are there") {
      directory.read("bad") == "{\"code\":404,\"path\":\"/none\",\"up\":null}\n"
        && directory.read("start").split(separator: "\n").count == 3
    }
    #expect(
      directory.read("start") == """
        DownstreamStart /up?a=b 0 up -
        DownstreamStart /none?x=y 0 - -
        DownstreamStart /slow 0 slow -

        """)
    let numbers =
      directory.read("sizes").split(separator: "\n").first?.split(separator: " ").compactMap { Int($0) } ?? []
    try #require(numbers.count == 8)
    #expect(directory.read("sizes").hasSuffix(" listener chain host route cluster endpoint\n"))
    // Three lines of the request: 5 + 8 + 15 bytes of names and values, and three for each line, as in Envoy.
    #expect(numbers[0] == request.utf8.count)
    #expect(numbers[1] == (4 + 1) + (7 + 1) + (14 + 1) + 3 * 3)
    #expect(numbers[2] > numbers[3] + "HTTP/1.1 200 OK\r\n\r\nok".utf8.count - 1)
    #expect(numbers[4] == numbers[5] + "POST /up?a=b HTTP/1.1\r\n\r\n12345".utf8.count)
    #expect(numbers[6] == "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-b: 1\r\n\r\nok".utf8.count)
    #expect(numbers[7] == (14 + 1) + (3 + 1) + 2 * 3)
    #expect(numbers[2] == numbers[3] + "HTTP/1.1 200 OK\r\n\r\nok".utf8.count)
  }
}
