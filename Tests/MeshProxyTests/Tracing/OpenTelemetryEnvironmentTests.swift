import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("What the environment says of traces")
struct OpenTelemetryEnvironmentTests {
  private typealias Exporter = OpenTelemetryEnvironment.Exporter

  private func environment(_ variables: [String: String]) -> OpenTelemetryEnvironment {
    OpenTelemetryEnvironment { variables[$0] }
  }

  private func exporter(_ variables: [String: String]) throws -> Exporter? {
    var environment = environment(variables)
    return try environment.exporter()
  }

  @Test("nothing is said by variables that are not there, or empty")
  func nothing() throws {
    for variables in [[:], ["OTEL_SERVICE_NAME": " ", "OTEL_EXPORTER_OTLP_ENDPOINT": "", "OTEL_TRACES_SAMPLER": ""]] {
      var environment = environment(variables)
      #expect(environment.serviceName == nil)
      let attributes = environment.resourceAttributes()
      let sampler = environment.sampler()
      let exporter = try environment.exporter()
      #expect(attributes.isEmpty && sampler == nil && exporter == nil)
      #expect(environment.warnings.isEmpty)
    }
  }

  @Test("resource attributes are percent-encoded; what is no pair is left out")
  func attributes() {
    var environment = environment([
      "OTEL_RESOURCE_ATTRIBUTES": "a=b, deployment.environment = test%20it ,c=d=e,%C3%A9=%ff,secret,=x,f="
    ])
    let attributes = environment.resourceAttributes()
    #expect(attributes.map(\.name) == ["a", "deployment.environment", "c", "é", "f"])
    #expect(attributes.map(\.value) == ["b", "test it", "d=e", "\u{fffd}", ""])
    #expect(environment.warnings.count == 2)
    #expect(!environment.warnings.joined().contains("secret"))
  }

  // MARK: Endpoints

  @Test(
    "the endpoint of all signals is the base of theirs",
    arguments: [
      ("http://c:4318", "c:4318", "/v1/traces", false), ("http://c:4318/", "c:4318", "/v1/traces", false),
      ("https://c/otlp", "c", "/otlp/v1/traces", true), ("HTTPS://c:443/otlp/?a=b#c", "c", "/otlp/v1/traces", true),
      ("http://[::1]:4318", "[::1]:4318", "/v1/traces", false), ("http://[::1]", "[::1]", "/v1/traces", false),
    ])
  func base(_ url: String, _ authority: String, _ path: String, _ isSecure: Bool) throws {
    let exporter = try #require(try exporter(["OTEL_EXPORTER_OTLP_ENDPOINT": url]))
    #expect(exporter.authority == authority)
    #expect(exporter.path == path)
    #expect(exporter.isSecure == isSecure)
    #expect(!exporter.isGRPC)
    #expect(exporter.timeout == 10_000)
  }

  @Test("the variables for traces come first, and their endpoint is the whole URL")
  func signal() throws {
    var variables: [String: String] = [:]
    for (name, general, own) in [
      ("ENDPOINT", "http://a:1/x", "https://b:2/y"), ("PROTOCOL", "grpc", "http/protobuf"),
      ("HEADERS", "a=1", "B=%202,c=d%3De"), ("TIMEOUT", "1", "250"), ("CERTIFICATE", "/a.pem", "/b.pem"),
    ] {
      variables["OTEL_EXPORTER_OTLP_\(name)"] = general
      variables["OTEL_EXPORTER_OTLP_TRACES_\(name)"] = own
    }
    #expect(
      try exporter(variables)
        == Exporter(
          isGRPC: false, isSecure: true, host: "b", port: 2, path: "/y",
          headers: [.init(name: "b", value: " 2"), .init(name: "c", value: "d=e")], timeout: 250,
          certificates: "/b.pem"))
  }

  @Test("gRPC takes a URL, or host and port")
  func grpc() throws {
    func exporter(_ url: String, _ more: [String: String] = [:]) throws -> Exporter? {
      try self.exporter(
        ["OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"].merging(more) { $1 })
    }
    let plain = try #require(try exporter("http://c:4317"))
    #expect(plain.isGRPC && !plain.isSecure && plain.authority == "c:4317")
    #expect(try exporter("c:4317")?.isSecure == true)
    #expect(try exporter("c:4317", ["OTEL_EXPORTER_OTLP_INSECURE": "True"])?.isSecure == false)
    #expect(try exporter("http://c:4317", ["OTEL_EXPORTER_OTLP_INSECURE": "false"])?.isSecure == false)
  }

  @Test(
    "what is no endpoint is an error that names its variable",
    arguments: [
      "c:4318", "ftp://c", "http://", "http://:4318", "http://c:0", "http://c:70000", "http://c:x", "http://a b",
      "http://user:pw@c", "http://c/\u{1}", "://c", "unix:///tmp/c",
    ])
  func wrong(_ url: String) {
    #expect(throws: OpenTelemetryEnvironment.Problem.self) { try exporter(["OTEL_EXPORTER_OTLP_ENDPOINT": url]) }
    do { _ = try exporter(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": url]) } catch {
      #expect("\(error)".contains("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
    }
  }

  @Test("a protocol that is not spoken is an error, other variables are warned about")
  func doubtful() throws {
    #expect(throws: OpenTelemetryEnvironment.Problem.self) {
      try self.exporter(["OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"])
    }
    var environment = environment([
      "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_TIMEOUT": "soon",
      "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_HEADERS": "a b=c,d=%0a,e,authorization=x%20y",
    ])
    let exporter = try environment.exporter()
    #expect(exporter?.timeout == 10_000)
    #expect(exporter?.headers == [.init(name: "authorization", value: "x y")])
    #expect(environment.warnings.count == 5)
    #expect(!environment.warnings.joined().contains("a b"))
  }

  // MARK: Samplers

  @Test(
    "samplers by their names",
    arguments: [
      ("always_on", nil, .alwaysOn), ("always_off", nil, .alwaysOff),
      ("parentbased_always_on", nil, .parentBased(root: .alwaysOn)),
      ("parentbased_always_off", "0.5", .parentBased(root: .alwaysOff)), ("traceidratio", nil, .alwaysOn),
      ("traceidratio", "0.25", .ratio(Fraction(250_000, of: .million))),
      ("traceidratio", "1", .ratio(Fraction(1_000_000, of: .million))),
      ("traceidratio", "0", .ratio(Fraction(0, of: .million))),
      ("parentbased_traceidratio", "1e-6", .parentBased(root: .ratio(Fraction(1, of: .million)))),
    ] as [(String, String?, TraceSampler)])
  func samplers(_ name: String, _ argument: String?, _ expected: TraceSampler) {
    var environment = environment(
      ["OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument ?? ""])
    let sampler = environment.sampler()
    #expect(sampler == expected)
    #expect(environment.warnings.isEmpty)
  }

  @Test("what is no share is none of them", arguments: ["-0.1", "1.1", "nan", "inf", "half", "0x1p-1000000"])
  func shares(_ text: String) {
    var environment = environment(["OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": text])
    let sampler = environment.sampler()
    if text.hasPrefix("0x") {
      #expect(sampler == .ratio(Fraction(0, of: .million)))
    } else {
      #expect(sampler == .alwaysOn)
      #expect(environment.warnings.count == 1)
    }
  }

  @Test("a sampler that is not known decides nothing")
  func unknown() {
    var environment = environment(["OTEL_TRACES_SAMPLER": "jaeger_remote"])
    let sampler = environment.sampler()
    #expect(sampler == nil)
    #expect(environment.warnings == ["OTEL_TRACES_SAMPLER: \"jaeger_remote\" is not known here"])
  }
}
