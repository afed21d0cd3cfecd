import MeshTesting
import Testing

/// Bytes pass through the proxy as they are, and each direction ends for itself.
@Suite("TCP proxy", .timeLimit(.minutes(5)))
struct TCPProxyTests {
  /// Sends everything back, and ends when the client has.
  private static func echo(_ connection: RawConnection, _: Int) throws {
    while true {
      let bytes = try connection.receiveSome(within: Deadline(.seconds(60)))
      if bytes.isEmpty { break }
      try connection.send(bytes, within: Deadline(.seconds(60)))
    }
  }

  /// All that a new connection hears.
  private func heard(_ port: UInt16) async throws -> String {
    try await blocking { String(decoding: try RawConnection(port: port).receiveToEnd(), as: UTF8.self) }
  }

  @Test("Bytes go both ways; a client that has ended its side still gets its answer")
  func halfClose() async throws {
    let server = try ScriptedServer { connection, _ in
      let all = try connection.receiveToEnd()
      try connection.send("got \(all.count) bytes")
    }
    let proxy = try await RunningProxy.start(TCPConfiguration(backend: server.port))
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      try client.send(Array(repeating: 7, count: 300_000))
      client.halfClose()
      #expect(String(decoding: try client.receiveToEnd(), as: UTF8.self) == "got 300000 bytes")
      #expect(client.receiveError == nil)
    }
    try await proxy.waitForStat("cluster.backend.upstream_cx_active", 0)
    #expect(try await proxy.stat("tcp.tcp.downstream_cx_rx_bytes_total") == 300_000)
    #expect(try await proxy.stat("tcp.tcp.downstream_cx_tx_bytes_total") == 16)
    #expect(try await proxy.stat("cluster.backend.upstream_cx_tx_bytes_total") == 300_000)
    #expect(try await proxy.stat("cluster.backend.upstream_cx_destroy") == 1)
  }

  @Test("An upstream that ends first can still be written to")
  func upstreamHalfClose() async throws {
    let done = Gate()
    let server = try ScriptedServer { connection, _ in
      try connection.send("bye")
      connection.halfClose()
      #expect(try connection.receive(count: 5) == Array("after".utf8))
      done.open()
    }
    let proxy = try await RunningProxy.start(TCPConfiguration(backend: server.port))
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      #expect(try client.receiveToEnd() == Array("bye".utf8))
      try client.send("after")
      client.halfClose()
    }
    try await blocking { try done.wait() }
    #expect(server.failures.isEmpty, "\(server.failures)")
  }

  @Test("A reset on one side is a reset on the other")
  func resets() async throws {
    let gate = Gate()
    let server = try ScriptedServer { connection, number in
      _ = try connection.receive(count: 1)
      if number == 0 {
        connection.reset()
      } else {
        try connection.send("x")
        _ = try connection.receiveToEnd()
        #expect(connection.receiveError != nil)
        gate.open()
      }
    }
    let proxy = try await RunningProxy.start(TCPConfiguration(backend: server.port))
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      try client.send("1")
      _ = try client.receiveToEnd()
      #expect(client.receiveError == 104)
      let second = try RawConnection(port: port)
      try second.send("1")
      try second.receive(count: 1)
      second.reset()
    }
    try await blocking { try gate.wait() }
    #expect(server.failures.isEmpty, "\(server.failures)")
  }

  @Test("A slow reader holds the sender up, and nothing piles up here", arguments: [true, false])
  func slowReader(upload: Bool) async throws {
    let size = 64 << 20
    let go = Gate()
    let server = try ScriptedServer { connection, _ in
      if upload {
        try go.wait()
        try connection.discard(count: size, within: Deadline(.seconds(60)))
        try connection.send("ok")
      } else {
        try connection.send([UInt8](repeating: 1, count: size), within: Deadline(.seconds(60)))
      }
    }
    let proxy = try await RunningProxy.start(TCPConfiguration(backend: server.port))
    let port = try proxy.port()
    let before = proxy.memory.now
    let client = try RawConnection(port: port)
    let sending = Task {
      try await blocking {
        if upload {
          try client.send([UInt8](repeating: 1, count: size), within: Deadline(.seconds(60)))
          try client.receive(count: 2)
        }
      }
    }
    let paused =
      upload
      ? "tcp.tcp.downstream_flow_control_paused_reading_total"
      : "cluster.backend.upstream_flow_control_paused_reading_total"
    try await proxy.waitForStat(paused, 1, within: Deadline(.seconds(30)))
    #expect(proxy.memory.now - before < 16 * 1024, "KiB for one connection that moves 64 MiB")
    go.open()
    try await sending.value
    if !upload { try await blocking { try client.discard(count: size, within: Deadline(.seconds(60))) } }
    #expect(server.failures.isEmpty, "\(server.failures)")
  }

  @Test("Large transfers in both directions at once arrive unchanged")
  func integrity() async throws {
    let size = 48 << 20
    let server = try ScriptedServer(Self.echo)
    let proxy = try await RunningProxy.start(TCPConfiguration(backend: server.port))
    let port = try proxy.port()
    let client = try RawConnection(port: port)
    let pattern = (0..<(1 << 20) + 13).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
    let sender = try client.duplicate()
    let sending = Task {
      try await blocking {
        var left = size
        while left > 0 {
          let piece = Array(pattern.prefix(left))
          try sender.send(piece, within: Deadline(.seconds(120)))
          left -= piece.count
        }
        sender.halfClose()
      }
    }
    try await blocking {
      var at = 0
      while true {
        let bytes = try client.receiveSome(within: Deadline(.seconds(120)))
        if bytes.isEmpty { break }
        for byte in bytes {
          if byte != pattern[at % pattern.count] { throw TestFailure("byte \(at) is wrong") }
          at += 1
        }
      }
      #expect(at == size)
    }
    try await sending.value
  }

  @Test("Idle time, age, and what the log says of them")
  func limitsOfTime() async throws {
    let server = try ScriptedServer(Self.echo)
    var configuration = TCPConfiguration(backend: server.port)
    configuration.chains[0].fields = ["idle_timeout: 0.2s"]
    configuration.log = "%RESPONSE_FLAGS% %BYTES_RECEIVED%/%BYTES_SENT% %DOWNSTREAM_LOCAL_CLOSE_REASON% %PROTOCOL%"
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    try await blocking {
      let client = try RawConnection(port: port)
      try client.send("hello")
      #expect(try client.receiveToEnd() == Array("hello".utf8))
    }
    try await proxy.program.waitForOutput("- 5/5 tcp_session_idle_timeout -", within: Deadline())
    #expect(try await proxy.stat("tcp.tcp.idle_timeout") == 1)
    configuration.chains[0].fields = ["max_downstream_connection_duration: 0.2s"]
    try await proxy.reload(configuration)
    try await blocking {
      let client = try RawConnection(port: port)
      #expect(try client.receiveToEnd() == [])
    }
    try await proxy.program.waitForOutput("DT 0/0 max_connection_duration_reached -", within: Deadline())
    #expect(try await proxy.stat("tcp.tcp.max_downstream_connection_duration") == 1)
  }

  @Test("No cluster, no endpoint, none that answers, too many connections")
  func notConnected() async throws {
    let gate = Gate()
    let server = try ScriptedServer { connection, _ in
      try connection.send("here")
      try gate.wait()
    }
    let closed = try ListenSocket.freePort()
    var configuration = TCPConfiguration(backend: server.port)
    configuration.log = "%RESPONSE_FLAGS% %UPSTREAM_CLUSTER% %UPSTREAM_REQUEST_ATTEMPT_COUNT%"
    configuration.clusters += [
      .init(name: "empty", endpoints: []),
      .init(name: "dead", endpoints: [("127.0.0.1", closed)]),
    ]
    configuration.clusters[0].fields = ["circuit_breakers: {thresholds: [{max_connections: 1}]}"]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    let first = try RawConnection(port: port)
    _ = try await blocking { try first.receive(count: 4) }
    for (cluster, line) in [
      ("backend", "UO backend 0"), ("nobody", "NC - 0"), ("empty", "UH empty 0"),
      ("dead", "UF,URX dead 3"),
    ] {
      configuration.chains[0].cluster = cluster
      configuration.chains[0].fields = ["max_connect_attempts: 3"]
      try await proxy.reload(configuration)
      #expect(try await heard(port) == "")
      try await proxy.program.waitForOutput(line, within: Deadline())
    }
    #expect(try await proxy.stat("cluster.dead.upstream_cx_connect_attempts_exceeded") == 1)
    #expect(try await proxy.stat("tcp.tcp.downstream_cx_no_route") == 1)
    #expect(try await proxy.stat("cluster.backend.upstream_cx_overflow") == 1)
    gate.open()
    // The first connection has outlived four configurations.
    #expect(try await blocking { try first.receiveToEnd() } == [])
  }

  @Test("A listener that goes ends its connections after the drain time, not before")
  func removal() async throws {
    let server = try ScriptedServer(Self.echo)
    var configuration = TCPConfiguration(backend: server.port)
    // Long enough for what comes before its end, however busy the machine is.
    let proxy = try await RunningProxy.start(configuration, drain: 6)
    let client = try RawConnection(port: try proxy.port())
    try await blocking {
      try client.send("a")
      try client.receive(count: 1)
    }
    configuration.listenerFields = ["stat_prefix: x"]
    configuration.name = "other"
    try await proxy.reload(configuration)
    try await blocking {
      try client.send("b")
      try client.receive(count: 1)
      #expect(try client.receiveToEnd(within: Deadline(.seconds(10))) == [])
    }
  }

  @Test("Weighted clusters share the connections")
  func weights() async throws {
    let servers = try ["a", "b"].map { name in
      try ScriptedServer { connection, _ in
        try connection.send(name)
      }
    }
    var configuration = TCPConfiguration(backend: servers[0].port)
    configuration.clusters.append(.init(name: "b", endpoints: [("127.0.0.1", servers[1].port)]))
    configuration.chains[0].fields = [
      "weighted_clusters: {clusters: [{name: backend, weight: 3}, {name: b, weight: 1}]}"
    ]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    try await blocking {
      for _ in 0..<200 { _ = try RawConnection(port: port).receiveToEnd() }
    }
    let first = try await proxy.stat("cluster.backend.upstream_cx_total")
    #expect(first > 110 && first < 190)
    #expect(try await proxy.stat("cluster.b.upstream_cx_total") == 200 - first)
  }

  @Test("Filter chains by source port, the default chain, and none")
  func chains() async throws {
    let servers = try ["one", "default"].map { name in
      try ScriptedServer { connection, _ in
        try connection.send(name)
      }
    }
    var configuration = TCPConfiguration(backend: servers[0].port)
    configuration.clusters.append(.init(name: "default", endpoints: [("127.0.0.1", servers[1].port)]))
    configuration.chains = [
      .init(name: "one", match: ["source_prefix_ranges: [{address_prefix: 127.0.0.1, prefix_len: 32}]"]),
      .init(name: "two", match: ["source_type: EXTERNAL"]),
    ]
    configuration.listenerLog = "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_SENT% %LISTENER_NAME%"
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    #expect(try await heard(port) == "one")
    try await proxy.program.waitForOutput("- - 3 main", within: Deadline())
    configuration.chains[0].match = ["source_ports: [1]"]
    try await proxy.reload(configuration)
    #expect(try await heard(port) == "")
    try await proxy.program.waitForOutput("NR filter_chain_not_found 0 main", within: Deadline())
    #expect(try await proxy.stat("listener.127.0.0.1_0.no_filter_chain_match") == 1)
    configuration.defaultChain = .init(name: "d", cluster: "default")
    try await proxy.reload(configuration)
    #expect(try await heard(port) == "default")
  }

  @Test("One GiB arrives unchanged, while the configuration changes around it")
  func gibibyte() async throws {
    let block = (0..<(1 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 167 ^ $0 >> 9) }
    let blocks = 1024
    let server = try ScriptedServer { connection, _ in
      for _ in 0..<blocks { try connection.send(block, within: Deadline(.seconds(120))) }
    }
    var configuration = TCPConfiguration(backend: server.port)
    let proxy = try await RunningProxy.start(configuration)
    let client = try RawConnection(port: try proxy.port())
    let receiving = Task {
      try await blocking {
        for number in 0..<blocks where try client.receive(count: block.count, within: Deadline(.seconds(120))) != block
        {
          throw TestFailure("block \(number) is wrong")
        }
        return try client.receiveToEnd(within: Deadline(.seconds(60))).count
      }
    }
    for round in 0..<5 {
      configuration.chains[0].fields = ["idle_timeout: \(round + 1)s", "max_connect_attempts: \(round + 1)"]
      configuration.clusters[0].fields = ["connect_timeout: \(round + 1)s"]
      configuration.clusters.append(.init(name: "more-\(round)", endpoints: []))
      try await proxy.reload(configuration)
    }
    #expect(try await receiving.value == 0)
    #expect(server.failures.isEmpty, "\(server.failures)")
  }

  @Test("An upstream that is killed in the middle takes the client's connection with it")
  func killedUpstream() async throws {
    let server = try RunningProgram(
      "/usr/bin/env",
      [
        "python3", "-c",
        """
        import socket
        s = socket.create_server(("127.0.0.1", 0)); print("port", s.getsockname()[1], flush=True)
        c, _ = s.accept()
        while True: c.sendall(bytes(65536)); c.recv(0)
        """,
      ])
    let backend = try await server.waitForOutput("its port") { output in
      output.split(separator: "\n").first.flatMap { $0.hasPrefix("port ") ? UInt16($0.dropFirst(5)) : nil }
    }
    let proxy = try await RunningProxy.start(TCPConfiguration(backend: backend))
    let client = try RawConnection(port: try proxy.port())
    try await blocking {
      // What the server has not read makes its end a reset.
      try client.send([UInt8](repeating: 1, count: 100_000))
      try client.discard(count: 5 << 20)
      server.signal(9)
      _ = try client.receiveToEnd()
    }
    #expect(client.receiveError == 104)
    try await proxy.waitForStat("cluster.backend.upstream_cx_active", 0)
  }

  @Test("What an idle connection costs")
  func idleMemory() async throws {
    let count = 2_000
    let server = try ScriptedServer(backlog: 4096) { connection, _ in
      _ = try connection.receiveToEnd(within: Deadline(.seconds(120)))
    }
    var configuration = TCPConfiguration(backend: server.port)
    configuration.clusters[0].fields = ["circuit_breakers: {thresholds: [{max_connections: 100000}]}"]
    let proxy = try await RunningProxy.start(configuration)
    let port = try proxy.port()
    // The first ones make what is made once.
    var clients = try (0..<200).map { _ in try RawConnection(port: port) }
    try await proxy.waitForStat("cluster.backend.upstream_cx_active", 200, within: Deadline(.seconds(30)))
    let before = proxy.memory.now
    for _ in 0..<count { clients.append(try RawConnection(port: port)) }
    try await proxy.waitForStat("cluster.backend.upstream_cx_active", 200 + count, within: Deadline(.seconds(60)))
    let each = Double(proxy.memory.now - before) / Double(count)
    #expect(each < 4, "\(each) KiB for each")
    clients = []
    try await proxy.waitForStat("cluster.backend.upstream_cx_active", 0, within: Deadline(.seconds(60)))
  }
}
