import MeshTesting
import Testing

/// What the program does with clients and targets that are not the usual ones.
@Suite("Edge", .timeLimit(.minutes(2)))
struct EdgeTests {
  private static let preserveCase =
    "header_key_format: {stateful_formatter: {name: case, typed_config: {\"@type\": "
    + "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"

  private func configuration(
    _ port: UInt16, _ managerFields: [String], http1Upstream: String? = nil, log: TemporaryDirectory? = nil
  ) -> ProxyConfiguration {
    var configuration = ProxyConfiguration(backend: port)
    configuration.listeners[0].managerFields = managerFields
    if let log {
      configuration.listeners[0].accessLogs = [
        (
          log.file("log"),
          "%PROTOCOL% %RESPONSE_CODE% %DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS%\\n"
        )
      ]
    }
    if let http1Upstream {
      let type = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
      configuration.clusters[0].fields = [
        "typed_extension_protocol_options: {\(type): {\"@type\": type.googleapis.com/\(type), "
          + "explicit_http_config: {http_protocol_options: {\(http1Upstream)}}}}"
      ]
    }
    return configuration
  }

  /// A backend that answers `RESPONSE` to `/RESPONSE` and tells what it was asked.
  private func backend(_ responses: [String: String], _ seen: Monitor<[RawRequest]>) throws -> ScriptedServer {
    try ScriptedServer { connection, _ in
      while let request = try connection.receiveRequest(within: Deadline(.seconds(60))) {
        seen.change { $0.append(request) }
        guard let response = responses[String(request.target.dropFirst())] else {
          try connection.sendResponse(body: Array("plain".utf8))
          continue
        }
        try connection.send(response)
        if !response.contains("content-length"), !response.hasSuffix("0\r\n\r\n") { return }
      }
    }
  }

  /// The lines of the access log, once there are so many.
  private func lines(_ count: Int, _ log: TemporaryDirectory) async throws -> [String] {
    try await eventually("the log has \(count) lines") { log.read("log").split(separator: "\n").count == count }
    return log.read("log").split(separator: "\n").map(String.init)
  }

  // MARK: HTTP/1.0

  @Test("a client of HTTP/1.0 gets HTTP/1.0, and the end of the connection where there is no length")
  func http10() async throws {
    let seen = Monitor<[RawRequest]>([])
    let server = try backend(
      [
        "chunked": "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "early": "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
      ], seen)
    let log = try TemporaryDirectory()
    let proxy = try await RunningProxy.start(
      configuration(
        server.port, ["http_protocol_options: {accept_http_10: true, default_host_for_http_10: fallback.example}"],
        log: log))
    let port = try proxy.port()
    try await blocking {
      let plain = try RawConnection(port: port)
      try plain.send("GET / HTTP/1.0\r\n\r\n")
      let response = try plain.receiveResponse()
      #expect(response.statusLine == "HTTP/1.0 200 OK")
      #expect(response.value("connection") == "close")
      #expect(response.text == "plain")
      #expect(try plain.receiveToEnd().isEmpty)

      let kept = try RawConnection(port: port)
      for _ in 0..<2 {
        try kept.send("GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n")
        let response = try kept.receiveResponse()
        #expect(response.statusLine == "HTTP/1.0 200 OK")
        #expect(response.value("connection") == "keep-alive")
        #expect(response.text == "plain")
      }
      try kept.send("GET /early HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n")
      #expect(try kept.receiveResponse().text == "ok")
      try kept.send("GET /chunked HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n")
      let last = try kept.receiveResponse()
      #expect(last.values("transfer-encoding").isEmpty)
      #expect(last.value("connection") == "close")
      #expect(last.text == "abc")
      #expect(kept.receiveError == nil)

      // An HTTP/1.1 client of the same listener.
      let modern = try RawConnection(port: port)
      try modern.send("GET /chunked HTTP/1.1\r\nhost: a\r\n\r\n")
      let chunked = try modern.receiveResponse()
      #expect(chunked.statusLine == "HTTP/1.1 200 OK")
      #expect(chunked.value("transfer-encoding") == "chunked")
    }
    #expect(seen.read { $0.map { $0.value("host") } } == ["fallback.example", "a", "a", "a", "a", "a"])
    #expect(seen.read { $0.allSatisfy { $0.value("connection") == nil } })
    let lines = try await lines(6, log)
    #expect(lines.filter { $0.hasPrefix("HTTP/1.0 200 ") }.count == 5)
  }

  @Test("a response without a length that breaks off is no complete one")
  func http10BrokenOff() async throws {
    let seen = Monitor<[RawRequest]>([])
    let server = try backend(["cut": "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\nde"], seen)
    let proxy = try await RunningProxy.start(
      configuration(server.port, ["http_protocol_options: {accept_http_10: true}"]))
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      try client.send("GET /cut HTTP/1.0\r\nhost: a\r\n\r\n")
      _ = try client.receiveToEnd()
      #expect(client.receiveError != nil)
    }
  }

  @Test("without a host and without a default there is no answer but 400")
  func http10WithoutHost() async throws {
    let server = try EchoBackend()
    let proxy = try await RunningProxy.start(
      configuration(server.port, ["http_protocol_options: {accept_http_10: true}"]))
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      try client.send("GET / HTTP/1.0\r\n\r\n")
      #expect(try client.receiveResponse().status == 400)
      #expect(try client.receiveToEnd().isEmpty)
    }
    #expect(server.accepted == 0)
  }

  // MARK: Names

  @Test("names go through in the spelling of their sender, or as configured")
  func spelling() async throws {
    let seen = Monitor<[RawRequest]>([])
    let server = try backend(
      ["x": "HTTP/1.1 200 Very OK\r\nX-Up-PER: 1\r\nETag: q\r\ncontent-LENGTH: 2\r\ncontent-length-x: 1\r\n\r\nok"],
      seen)
    let proxy = try await RunningProxy.start(
      configuration(
        server.port, ["http_protocol_options: {\(Self.preserveCase)}}}}"],
        http1Upstream: Self.preserveCase
          + ", forward_reason_phrase: true, formatter_type_on_envoy_headers: PROPER_CASE}}}"
      ))
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      try client.send("GET /x HTTP/1.1\r\nHOST: h\r\nX-Foo-BAR: 1\r\nx_foo: 2\r\n\r\n")
      let response = try client.receiveResponse()
      #expect(response.statusLine == "HTTP/1.1 200 Very OK")
      let names = response.headers.map(\.name)
      let expected = [
        "X-Up-PER", "ETag", "content-length-x", "content-LENGTH", "Date", "X-Envoy-Upstream-Service-Time",
      ]
      #expect(Set(names).isSuperset(of: expected), "\(names)")
      try client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n")
      #expect(try client.receiveResponse().headers.contains { $0.name == "Date" })
    }
    let first = try #require(seen.read { $0.first })
    #expect(
      first.headers.map(\.name).filter { ["HOST", "X-Foo-BAR", "x_foo", "x-request-id"].contains($0) }.count == 4)
  }

  @Test("names may all be written with capitals, and underscores kept out")
  func properCase() async throws {
    let seen = Monitor<[RawRequest]>([])
    let server = try backend([:], seen)
    let proxy = try await RunningProxy.start(
      configuration(
        server.port,
        [
          "http_protocol_options: {header_key_format: {proper_case_words: {}}}",
          "common_http_protocol_options: {headers_with_underscores_action: DROP_HEADER}",
        ], http1Upstream: "header_key_format: {proper_case_words: {}}, send_fully_qualified_url: true"))
    let response = try await proxy.get("/p?q")
    #expect(response.headers.map(\.name).allSatisfy { $0.first?.isUppercase == true })
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      try client.send(
        "POST / HTTP/1.1\r\nhost: h\r\nx_y: 1\r\nx-z: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\na_b: 1\r\n\r\n")
      #expect(try client.receiveResponse().status == 200)
    }
    let requests = seen.read { $0 }
    #expect(requests.map(\.target) == ["http://test/p?q", "http://h/"])
    #expect(requests.allSatisfy { $0.headers.allSatisfy { $0.name.first?.isUppercase == true } })
    #expect(requests[1].value("X-Z") == "2")
    #expect(requests[1].value("x_y") == nil)
    #expect(try await proxy.stat("http1.dropped_headers_with_underscores") == 2)
  }

  @Test("a request with an underscore in a name is refused where that is wanted")
  func underscores() async throws {
    let server = try EchoBackend()
    let proxy = try await RunningProxy.start(
      configuration(server.port, ["common_http_protocol_options: {headers_with_underscores_action: REJECT_REQUEST}"]))
    let port = try proxy.port()
    try await blocking {
      for request in [
        "GET / HTTP/1.1\r\nhost: h\r\nx_y: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\na_b: 1\r\n\r\n",
      ] {
        let client = try RawConnection(port: port)
        try client.send(request)
        let response = try client.receiveResponse()
        #expect(response.status == 400)
        #expect(response.value("connection") == "close")
      }
    }
    #expect(try await proxy.stat("http1.requests_rejected_with_underscores_in_headers") == 2)
  }

  // MARK: Clients and targets

  @Test("a redirect to the normalised path leads to what is there")
  func redirect() async throws {
    let server = try EchoBackend()
    let proxy = try await RunningProxy.start(
      configuration(
        server.port,
        ["normalize_path: true", "merge_slashes: true", "path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT"]))
    let redirect = try await proxy.get("/a%2f%2fb/../c?d=%2f")
    #expect(redirect.status == 307)
    let location = try #require(redirect.value("location"))
    #expect(location == "/a/c?d=%2f")
    #expect(try await proxy.get(location).text.contains("GET /a/c?d=%2f "))
  }

  @Test("a whole URL as target is served by its host, or not at all")
  func absoluteTarget() async throws {
    let seen = Monitor<[RawRequest]>([])
    let server = try backend([:], seen)
    var both = configuration(server.port, [])
    both.listeners.append(both.listeners[0])
    both.listeners[1].name = "strict"
    both.listeners[1].managerFields = ["http_protocol_options: {allow_absolute_url: false}"]
    let proxy = try await RunningProxy.start(both)
    let ports = [try proxy.port(), try proxy.port("strict")]
    try await blocking {
      for (port, status) in zip(ports, [200, 404]) {
        let client = try RawConnection(port: port)
        try client.send("GET http://other.example:81/x?y HTTP/1.1\r\nhost: h\r\n\r\n")
        #expect(try client.receiveResponse().status == status)
        // The connection goes on.
        try client.send("GET /z HTTP/1.1\r\nhost: h\r\n\r\n")
        #expect(try client.receiveResponse().status == 200)
      }
    }
    #expect(seen.read { $0.map(\.target) } == ["/x?y", "/z", "/z"])
    #expect(seen.read { $0.first?.value("host") } == "other.example:81")
    #expect(try await proxy.stat("http.strict.downstream_rq_non_relative_path") == 1)
  }

  @Test("the log tells the client from who is connected")
  func clientAddress() async throws {
    let server = try EchoBackend()
    let log = try TemporaryDirectory()
    let proxy = try await RunningProxy.start(
      configuration(server.port, ["use_remote_address: true", "xff_num_trusted_hops: 1"], log: log))
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      for forwarded in ["192.0.2.7", "198.51.100.1, 2001:db8::7", "nobody"] {
        try client.send("GET / HTTP/1.1\r\nhost: h\r\nx-forwarded-for: \(forwarded)\r\n\r\n")
        #expect(try client.receiveResponse().status == 200)
      }
    }
    let words = try await lines(3, log).map { $0.split(separator: " ").dropFirst(2).map(String.init) }
    #expect(words[0][0] == "192.0.2.7:0")
    #expect(words[1][0] == "[2001:db8::7]:0")
    #expect(words[2][0] == words[2][1])
    #expect(words.allSatisfy { $0[1].hasPrefix("127.0.0.1:") })
  }
}
