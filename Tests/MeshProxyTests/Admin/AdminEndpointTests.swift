import MeshPrimitives
import MeshTesting
import SwiftProtobuf
import Testing

@testable import MeshProxy

/// What the endpoints say. Texts and status codes were compared with Envoy 1.40.
@Suite("Admin endpoints")
struct AdminEndpointTests {
  private static let mutating = [
    "/drain_listeners", "/healthcheck/fail", "/healthcheck/ok", "/quitquitquit", "/reset_counters", "/reopen_logs",
    "/runtime_modify",
  ]

  @Test("/ready tells the state, and 200 only when live")
  func ready() async throws {
    try await withAdmin { admin in
      for (state, status) in [
        (Proxy.State.preInitializing, 503), (.initializing, 503), (.live, 200), (.draining, 503),
      ] {
        try admin.onLoop { $0.context.state = state }
        let response = try admin.get("/ready")
        #expect(response.status == status)
        #expect(response.text == state.rawValue + "\n")
      }
    }
  }

  @Test("every answer says what it is and that it must not be kept")
  func headers() async throws {
    try await withAdmin { admin in
      let response = try admin.get("/ready")
      #expect(response.value("content-type") == "text/plain; charset=UTF-8")
      #expect(response.value("cache-control") == "no-cache, max-age=0")
      #expect(response.value("x-content-type-options") == "nosniff")
      #expect(response.value("server") == "envoy")
      #expect(response.value("date")?.hasSuffix(" GMT") == true)
      try #expect(admin.get("/server_info").value("content-type") == "application/json")
      try #expect(admin.get("/").value("content-type") == "text/html; charset=UTF-8")
    }
  }

  @Test("health checks can be failed and mended; /ready and /server_info follow")
  func healthCheck() async throws {
    try await withAdmin { admin in
      try #expect(admin.post("/healthcheck/fail").text == "OK\n")
      try #expect(admin.get("/ready").status == 503)
      try #expect(admin.get("/ready").text == "DRAINING\n")
      try #expect(admin.get("/server_info").text.contains("\"state\": \"DRAINING\""))
      try #expect(admin.post("/healthcheck/ok").text == "OK\n")
      try #expect(admin.get("/ready").status == 200)
      try #expect(admin.calls == ["failHealthCheck true", "failHealthCheck false"])
    }
  }

  @Test("/runtime shows each layer's value and the one that holds")
  func runtime() async throws {
    try await withAdmin { context in
      context.runtimeLayers = [
        .init(name: "static", entries: ["a": RuntimeEntry("1"), "b": RuntimeEntry("x \"y\"")]),
        .init(name: "admin", entries: ["a": RuntimeEntry("2")]),
      ]
    } serving: { admin in
      try #expect(
        admin.get("/runtime").text == """
          {
           "layers": [
            "static",
            "admin"
           ],
           "entries": {
            "a": {
             "layer_values": [
              "1",
              "2"
             ],
             "final_value": "2"
            },
            "b": {
             "layer_values": [
              "x \\"y\\"",
              ""
             ],
             "final_value": "x \\"y\\""
            }
           }
          }

          """)
      let usage = try admin.post("/runtime_modify")
      #expect(usage.status == 400)
      #expect(usage.text.hasPrefix("usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN\n"))
      try #expect(admin.post("/runtime_modify?a=%7B&b=").text == "OK\n")
      try #expect(admin.calls == ["modifyRuntime a={&b="])
    }
  }

  @Test("without an admin layer the runtime cannot be modified")
  func noAdminLayer() async throws {
    try await withAdmin { admin in
      let response = try admin.post("/runtime_modify?a=1")
      #expect(response.status == 503)
      #expect(response.text == "No admin layer specified")
      try #expect(admin.get("/runtime").text == "{\n \"layers\": [],\n \"entries\": {}\n}\n")
    }
  }

  @Test("/server_info has Envoy's members in Envoy's layout")
  func serverInfo() async throws {
    try await withAdmin { context in
      context.commandLineOptions = [
        ("concurrency", .integer(2)), ("config_path", .string("a \"b\"\n")), ("disable_hot_restart", .bool(true)),
        ("disabled_extensions", .array([])), ("stats_tag", .array([.string("x")])),
      ]
      context.startedAt = .never
      context.node.id = "node-1"
      context.node.cluster = "front"
      context.node.locality.subZone = "rack"
    } serving: { admin in
      let response = try admin.get("/server_info")
      #expect(
        response.text == """
          {
           "version": "0.0.1-test",
           "state": "LIVE",
           "uptime_current_epoch": "0s",
           "uptime_all_epochs": "0s",
           "hot_restart_version": "disabled",
           "command_line_options": {
            "concurrency": 2,
            "config_path": "a \\"b\\"\\n",
            "disable_hot_restart": true,
            "disabled_extensions": [],
            "stats_tag": [
             "x"
            ]
           },
           "node": {
            "id": "node-1",
            "cluster": "front",
            "locality": {
             "sub_zone": "rack"
            }
           }
          }

          """)
    }
  }

  @Test("/server_info tells the uptime in whole seconds")
  func uptime() async throws {
    try await withAdmin { context in
      let started = context.startedAt.nanoseconds
      context.startedAt = MonotonicTime(nanoseconds: started - min(started, 61_500_000_000))
    } serving: { admin in
      let value = try Google_Protobuf_Value(jsonString: admin.get("/server_info").text).structValue
      let uptime = value.fields["uptime_all_epochs"]?.stringValue ?? ""
      #expect((61..<120).contains(Int(uptime.dropLast()) ?? 0) && uptime.hasSuffix("s"), "\(uptime)")
    }
  }

  @Test("what is not there says so as Envoy does where it is not")
  func absent() async throws {
    try await withAdmin { admin in
      for (method, target, status, text) in [
        ("GET", "/certs", 200, "{\n \"certificates\": []\n}\n"), ("GET", "/init_dump", 200, "{}\n"),
        ("GET", "/contention", 200, "Mutex contention tracing is not enabled."),
        ("POST", "/cpuprofiler?enable=y", 500, "failure to start the profiler"),
        ("POST", "/cpuprofiler", 400, "?enable=<y|n>\n"),
        ("POST", "/heapprofiler?enable=y", 501, "The current build does not support heap profiler"),
        ("GET", "/heap_dump", 501, "Heap dump is not currently supported in this build"),
        ("GET", "/cpuprofiler", 405, "Method GET not allowed, POST required."),
      ] {
        let response = try admin.request(method, target)
        #expect(response.status == status, "\(target)")
        #expect(response.text == text, "\(target)")
      }
    }
  }

  @Test("/init_dump names the clusters that are waited for")
  func initDump() async throws {
    try await withAdmin { context in
      context.uninitializedClusters = ["a"]
    } serving: { admin in
      try #expect(admin.get("/init_dump").text.contains("\"target_names\": [\n    \"cluster a\"\n   ]"))
    }
  }

  @Test("/memory is JSON with 64-bit numbers as strings; /hot_restart_version is disabled")
  func memory() async throws {
    try await withAdmin { admin in
      let value = try Google_Protobuf_Value(jsonString: admin.get("/memory").text)
      for name in ["allocated", "heap_size", "total_physical_bytes"] {
        #expect((UInt64(value.structValue.fields[name]?.stringValue ?? "") ?? 0) > 100_000, "\(name)")
      }
      try #expect(admin.get("/hot_restart_version").text == "disabled")
    }
  }

  @Test("/listeners, as text and as JSON")
  func listeners() async throws {
    try await withAdmin { context in
      context.listeners = [
        AdminListener(name: "front", addresses: [SocketAddress("127.0.0.1:8000") ?? .unnamedUnix]),
        AdminListener(name: "six", addresses: [SocketAddress("[::1]:8001") ?? .unnamedUnix]),
        AdminListener(name: "unix", addresses: [SocketAddress(unixPath: "/run/x") ?? .unnamedUnix]),
      ]
    } serving: { admin in
      try #expect(admin.get("/listeners").text == "front::127.0.0.1:8000\nsix::[::1]:8001\nunix::/run/x\n")
      try #expect(
        admin.get("/listeners?format=json").text == """
          {
           "listener_statuses": [
            {
             "name": "front",
             "local_address": {
              "socket_address": {
               "address": "127.0.0.1",
               "port_value": 8000
              }
             }
            },
            {
             "name": "six",
             "local_address": {
              "socket_address": {
               "address": "::1",
               "port_value": 8001
              }
             }
            },
            {
             "name": "unix",
             "local_address": {
              "pipe": {
               "path": "/run/x"
              }
             }
            }
           ]
          }

          """)
      try #expect(admin.get("/listeners?format=xml").status == 400)
    }
  }

  @Test("/listeners and /clusters of a proxy with nothing are empty objects")
  func nothing() async throws {
    try await withAdmin { admin in
      try #expect(admin.get("/listeners").text == "")
      try #expect(admin.get("/clusters").text == "")
      try #expect(admin.get("/listeners?format=json").text == "{}\n")
      try #expect(admin.get("/clusters?format=json").text == "{}\n")
    }
  }

  @Test("/drain_listeners passes on how")
  func drain() async throws {
    try await withAdmin { admin in
      for query in ["", "?graceful", "?inboundonly&graceful", "?skip_exit=true", "?graceful=false"] {
        try #expect(admin.post("/drain_listeners" + query).text == "OK\n")
      }
      try #expect(
        admin.calls == [
          "drain graceful=false inboundOnly=false skipExit=false",
          "drain graceful=true inboundOnly=false skipExit=false",
          "drain graceful=true inboundOnly=true skipExit=false",
          "drain graceful=false inboundOnly=false skipExit=true",
          "drain graceful=false inboundOnly=false skipExit=false",
        ])
    }
  }

  @Test("/quitquitquit answers, then quits; /reopen_logs and /reset_counters act")
  func actions() async throws {
    try await withAdmin { context in
      context.addCluster("a").identity.stats.lane(0).add(.connectionTotal, 7)
    } serving: { admin in
      try #expect(admin.post("/quitquitquit").text == "OK\n")
      try #expect(admin.post("/reopen_logs").text == "OK\n")
      try #expect(admin.calls == ["quit", "reopenLogs"])
      try #expect(admin.get("/stats?filter=a.upstream_cx_total").text == "cluster.a.upstream_cx_total: 7\n")
      try #expect(admin.post("/reset_counters").text == "OK\n")
      try #expect(admin.get("/stats?filter=a.upstream_cx_total").text == "cluster.a.upstream_cx_total: 0\n")
    }
  }

  @Test("what changes something takes POST only", arguments: mutating)
  func mutatingNeedsPost(path: String) async throws {
    try await withAdmin { admin in
      for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        let response = try admin.request(method, path)
        #expect(response.status == 405)
        #expect(response.statusLine.hasSuffix("405 Method Not Allowed"))
        #expect(response.text == "Method \(method) not allowed, POST required.")
        #expect(response.value("allow") == "POST")
      }
      try #expect(admin.request("HEAD", path).status == 405)
      try #expect(admin.calls == [])
    }
  }

  @Test("what only shows something takes GET, HEAD and POST")
  func readingMethods() async throws {
    try await withAdmin { admin in
      try #expect(admin.post("/ready").text == "LIVE\n")
      try #expect(admin.request("HEAD", "/ready").status == 200)
      for method in ["PUT", "DELETE", "TRACE", "PATCH"] {
        let response = try admin.request(method, "/ready")
        #expect(response.status == 405)
        #expect(response.value("allow") == "GET, HEAD, POST")
      }
    }
  }

  @Test(
    "an unknown path is told what there is", arguments: ["/nope", "/ready/", "//ready", "/Ready", "/stats%20", "*"])
  func unknownPath(path: String) async throws {
    try await withAdmin { admin in
      let response = try admin.request(path == "*" ? "OPTIONS" : "GET", path)
      #expect(response.status == 404)
      #expect(response.text.hasPrefix("invalid path. admin commands are:\n  /: Admin home page\n"))
    }
  }

  @Test("/help lists every endpoint once, sorted, with what needs POST")
  func help() async throws {
    try await withAdmin { admin in
      let text = try admin.get("/help").text
      let lines = text.split(separator: "\n").map(String.init)
      #expect(lines.first == "admin commands are:")
      let paths = lines.dropFirst().filter { $0.hasPrefix("  /") }
      #expect(paths == paths.sorted { a, b in a.prefix { $0 != ":" } < b.prefix { $0 != ":" } })
      #expect(paths.count == AdminEndpoint.all.count)
      #expect(lines.contains("  /quitquitquit (POST): exit the server"))
      #expect(lines.contains("  /ready: print server state, return 200 if LIVE, otherwise return 503"))
      #expect(lines.contains("      format: File format to use; One of (text, json)"))
      try #expect(admin.get("/nope").text == "invalid path. " + text)
    }
  }

  @Test("the home page has a form for each endpoint, and nothing from elsewhere")
  func homePage() async throws {
    try await withAdmin { admin in
      let response = try admin.get("/")
      #expect(response.text.hasPrefix("<!DOCTYPE html>"))
      for endpoint in AdminEndpoint.all where endpoint.path != "/" {
        let form = "<form action=\"\(endpoint.path)\" method=\"\(endpoint.isMutating ? "post" : "get")\">"
        #expect(response.text.contains(form) || response.text.contains("<a href=\"\(endpoint.path)\">"))
        if endpoint.isMutating { #expect(response.text.contains(form)) }
      }
      #expect(!response.text.contains("http://") && !response.text.contains("https://"))
      #expect(!response.text.contains("<script"))
      #expect(response.value("content-security-policy")?.contains("frame-ancestors 'none'") == true)
    }
  }
}
