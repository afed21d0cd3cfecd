import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

@Suite("Admin /logging")
struct AdminLoggingTests {
  private static func withComponents(_ body: @escaping @Sendable (RunningAdmin) throws -> Void) async throws {
    try await withAdmin { context in
      for name in ["http", "main", "upstream"] { _ = context.processLog.component(name) }
    } serving: {
      try body($0)
    }
  }

  private static func levels(_ http: String, _ main: String, _ upstream: String) -> String {
    "active loggers:\n  http: \(http)\n  main: \(main)\n  upstream: \(upstream)\n\n"
  }

  @Test("GET without parameters shows the levels, and so does POST")
  func shows() async throws {
    try await Self.withComponents { admin in
      try #expect(admin.get("/logging").text == Self.levels("info", "info", "info"))
      try #expect(admin.post("/logging").text == Self.levels("info", "info", "info"))
      try #expect(admin.request("HEAD", "/logging").status == 200)
    }
  }

  @Test("GET with parameters changes nothing")
  func getCannotChange() async throws {
    try await Self.withComponents { admin in
      let response = try admin.get("/logging?level=debug")
      #expect(response.status == 405)
      #expect(response.text == "Method GET not allowed, POST required.")
      try #expect(admin.get("/logging").text == Self.levels("info", "info", "info"))
    }
  }

  @Test("one level for all, for several, for one")
  func changes() async throws {
    try await Self.withComponents { admin in
      try #expect(admin.post("/logging?level=warning").text == Self.levels("warning", "warning", "warning"))
      try #expect(admin.post("/logging?paths=http:debug,main:off").text == Self.levels("debug", "off", "warning"))
      try #expect(admin.post("/logging?upstream=trace").text == Self.levels("debug", "off", "trace"))
      try #expect(admin.post("/logging?level=&paths=").text == Self.levels("debug", "off", "trace"))
    }
  }

  @Test("a form's body counts as parameters, another body does not")
  func form() async throws {
    try await Self.withComponents { admin in
      let type = "content-type: application/x-www-form-urlencoded; charset=utf-8"
      let changed = try admin.request("POST", "/logging", headers: [type], body: "paths=http%3Adebug&level=")
      #expect(changed.text == Self.levels("debug", "info", "info"))
      let ignored = try admin.request("POST", "/logging", headers: ["content-type: text/plain"], body: "level=off")
      #expect(ignored.text == Self.levels("debug", "info", "info"))
    }
  }

  @Test(
    "what is wrong is named, and nothing changes",
    arguments: [
      ("level=foo", "unknown logger level"), ("paths=nope:debug", "unknown logger name"),
      ("paths=http:debug,nope:debug", "unknown logger name"), ("paths=http:debug,main:foo", "unknown logger level"),
      ("paths=http", "empty logger name or empty logger level"),
      ("paths=:debug", "empty logger name or empty logger level"),
      ("paths=http:", "empty logger name or empty logger level"),
      ("paths=http:debug,", "empty logger name or empty logger level"), ("nope=debug", "unknown logger name"),
      ("http=", "unknown logger level"), ("level=info&paths=http:debug", "invalid number of parameters"),
      ("level=debug&x=y", "invalid number of parameters"),
    ])
  func wrong(query: String, reason: String) async throws {
    try await Self.withComponents { admin in
      let response = try admin.post("/logging?" + query)
      #expect(response.status == 400)
      #expect(response.text.hasPrefix("error: \(reason)\n\nusage: /logging?<name>=<level> (change single level)\n"))
      #expect(response.text.contains("levels: trace debug info warning error critical off"))
      #expect(response.text.hasSuffix(Self.levels("info", "info", "info")))
    }
  }
}
