import Glibc
import MeshTesting
import Testing

/// Ejection and return as clients of the built program see them.
@Suite("Outlier detection", .timeLimit(.minutes(3)))
struct OutlierTests {
  /// A service that fails, hangs or works, as the test goes on, and knows who has asked.
  private final class Service: Sendable {
    enum Mood: Sendable { case well, failing, hanging }

    struct State: Sendable {
      var mood = Mood.well
      /// Requests that have come.
      var requests = 0
      /// Requests that are waiting for their answer now, and the most that ever were.
      var waiting = 0
      var most = 0
      var answered = 0
    }

    let state = Monitor(State())
    private let server: ScriptedServer
    var port: UInt16 { server.port }

    init() throws {
      server = try ScriptedServer(backlog: 1024) { [state] connection, _ in
        while try connection.receiveRequest(within: Deadline(.seconds(600))) != nil {
          state.change {
            $0.requests += 1
            $0.waiting += 1
            $0.most = max($0.most, $0.waiting)
          }
          defer {
            state.change {
              $0.waiting -= 1
              $0.answered += 1
            }
          }
          if state.read({ $0.mood }) == .hanging {
            _ = state.wait(Deadline(.seconds(60))) { $0.mood == .hanging ? nil : true }
          }
          let isWell = state.read { $0.mood } == .well
          try connection.sendResponse(isWell ? 200 : 500, body: Array("service\n".utf8))
        }
      }
    }

    func become(_ mood: Mood) {
      state.change {
        $0.mood = mood
        $0.most = 0
        $0.requests = 0
      }
    }

    var requests: Int { state.read { $0.requests } }
    var waiting: Int { state.read { $0.waiting } }
  }

  private static func configuration(
    _ service: Service, _ detection: [String], fields: [String] = [], routes: [String]? = nil
  ) -> ProxyConfiguration {
    let detection =
      ["consecutive_5xx: 2", "base_ejection_time: 0.3s", "interval: 0.05s", "max_ejection_percent: 100"] + detection
    var configuration = ProxyConfiguration(clusters: [
      .init(
        endpoints: [("127.0.0.1", service.port)],
        fields: [
          "outlier_detection: {\(detection.joined(separator: ", "))}",
          "common_lb_config: {healthy_panic_threshold: {value: 0}}",
        ] + fields)
    ])
    if let routes { configuration.listeners[0].routes = routes }
    return configuration
  }

  private static func eject(_ service: Service, _ proxy: RunningProxy) async throws {
    service.become(.failing)
    for _ in 0..<2 { _ = try await proxy.get() }
    try await proxy.waitForLog("is ejected for")
  }

  /// A breaker for a service of one: open, half open, closed.
  @Test func aSingleEndpointIsMetByOneRequestAtATime() async throws {
    let service = try Service()
    let proxy = try await RunningProxy.start(Self.configuration(service, []))
    try await Self.eject(service, proxy)
    // Open: answered at once.
    try await eventually("requests are refused") { try await proxy.get().status == 503 }
    service.become(.hanging)
    try await proxy.waitForLog("one request at a time goes to it until one succeeds")
    // Half open: a crowd comes, and one of it gets through; the others have their answer without waiting for it.
    let answers = Monitor<[Int]>([])
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<40 {
        group.addTask {
          let status = try await proxy.get().status
          answers.change { $0.append(status) }
        }
      }
      try await eventually("all but the probes have an answer") {
        service.waiting > 0 && answers.read { $0.count } + service.waiting == 40
      }
      // One, and one more for each second.
      #expect(service.waiting <= 5)
      #expect(answers.read { $0.allSatisfy { $0 == 503 } })
      service.become(.well)
      try await group.waitForAll()
    }
    try await proxy.waitForLog("serves again: a request to it succeeded")
    // Closed: everybody.
    for _ in 0..<10 { #expect(try await proxy.get().status == 200) }
    #expect(try await proxy.stat("cluster.backend.membership_healthy") == 1)
    #expect(try await proxy.admin("/clusters").text.contains("::health_flags::healthy\n"))
  }

  /// The probe fails: it is out again, for longer, after one request.
  @Test func aFailedProbeEjectsAgain() async throws {
    let service = try Service()
    let proxy = try await RunningProxy.start(Self.configuration(service, ["consecutive_gateway_failure: 2"]))
    try await Self.eject(service, proxy)
    try await proxy.waitForLog("one request at a time goes to it")
    service.become(.failing)
    try await eventually("it is tried") {
      _ = try await proxy.get()
      return proxy.count("is ejected for") == 2
    }
    #expect(service.requests == 1)
    #expect(proxy.count("is ejected for 0.6 s: its probe failed") == 1)
    #expect(try await proxy.stat("cluster.backend.outlier_detection.ejections_enforced_total") == 2)
    service.become(.well)
    try await eventually("it returns") { try await proxy.get().status == 200 }
    #expect(try await proxy.stat("cluster.backend.outlier_detection.ejections_active") == 0)
  }

  /// With a fallback nobody sees that the service is away, and its cluster comes back by itself.
  @Test func aFallbackHasTheRequestsMeanwhile() async throws {
    let service = try Service()
    let fallback = try EchoBackend("fallback")
    var configuration = Self.configuration(service, [])
    configuration.clusters[0].fields.append("connect_timeout: 1s")
    configuration.clusters.append(.init(name: "fallback", endpoints: [("127.0.0.1", fallback.port)]))
    configuration.resourceFields = []
    configuration.listeners[0].routes = ["{match: {prefix: /}, route: {cluster: both, timeout: 60s}}"]
    let both =
      "{name: both, connect_timeout: 1s, lb_policy: CLUSTER_PROVIDED, cluster_type: "
      + ProxyConfiguration.typed(
        "a", "clusters.aggregate.v3.ClusterConfig", ["clusters: [backend, fallback]"]) + "}"
    let directory = try TemporaryDirectory()
    try directory.write("proxy.yaml", configuration.yaml + "  - \(both)\n")
    let proxy = try RunningProxy(directory)
    try await proxy.waitUntilReady()
    #expect(try await proxy.get().text.contains("service"))
    try await Self.eject(service, proxy)
    try await eventually("the fallback answers") { try await proxy.get().text.contains("fallback GET") }
    #expect(try await proxy.get().status == 200)
    // Away, and tried one request at a time: everybody else has the fallback.
    service.become(.hanging)
    try await eventually("it is tried", every: .milliseconds(20)) {
      if service.waiting > 0 { return true }
      let port = try proxy.port()
      startThread {
        if let client = try? RawConnection(port: port) {
          try? client.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
          _ = try? client.receiveToEnd(within: Deadline(.seconds(60)))
        }
      }
      return false
    }
    var answers = 0
    for _ in 0..<20 where try await Self.isFallback(proxy) { answers += 1 }
    #expect(answers >= 18)
    service.become(.well)
    try await eventually("the service answers again") { try await proxy.get().text.contains("service") }
    #expect(try await proxy.stat("cluster.backend.outlier_detection.ejections_active") == 0)
  }

  /// One request, given a moment: a probe has no answer.
  private static func isFallback(_ proxy: RunningProxy) async throws -> Bool {
    let port = try proxy.port()
    return try await blocking {
      let client = try RawConnection(port: port)
      try client.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
      guard client.hasSomething(within: .milliseconds(500)) else { return false }
      return try client.receiveResponse(within: Deadline(.seconds(5))).text.contains("fallback")
    }
  }

  /// Its client leaves before the probe is answered: the endpoint is tried again all the same.
  @Test func aProbeWithoutAnAnswerLocksNobodyOut() async throws {
    let service = try Service()
    let proxy = try await RunningProxy.start(Self.configuration(service, []))
    try await Self.eject(service, proxy)
    service.become(.hanging)
    try await proxy.waitForLog("one request at a time goes to it")
    let port = try proxy.port()
    // The workers may not have heard yet: then it is answered, and another one is the probe.
    let clients = Monitor<[RawConnection]>([])
    try await eventually("the probe is there", every: .milliseconds(20)) {
      if service.waiting == 1 { return true }
      try await blocking {
        let client = try RawConnection(port: port)
        try client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        clients.change { $0.append(client) }
      }
      return false
    }
    clients.read { for client in $0 { client.reset() } }
    service.become(.well)
    try await eventually("it is tried again") { try await proxy.get().status == 200 }
    try await proxy.waitForLog("serves again")
  }

  /// Requests that are under way when the endpoint is ejected have their answers.
  @Test func requestsUnderWayGoOn() async throws {
    let service = try Service()
    let proxy = try await RunningProxy.start(Self.configuration(service, []))
    service.become(.hanging)
    async let slow = proxy.get("/slow")
    try await eventually("it is under way") { service.waiting == 1 }
    service.become(.failing)
    #expect(try await slow.status == 500)
    _ = try await proxy.get()
    try await proxy.waitForLog("is ejected for")
  }

  /// Two workers, many clients, all failures: exactly one ejection.
  @Test func manyFailuresAtOnceAreOneEjection() async throws {
    let service = try Service()
    let proxy = try await RunningProxy.start(
      Self.configuration(service, []).with { $0.changing("base_ejection_time: 0.3s", to: "base_ejection_time: 60s") })
    service.become(.hanging)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<30 { group.addTask { _ = try await proxy.get() } }
      try await eventually("all are there") { service.waiting == 30 }
      service.become(.failing)
      try await group.waitForAll()
    }
    try await proxy.waitForLog("is ejected for")
    #expect(try await proxy.stat("cluster.backend.outlier_detection.ejections_enforced_total") == 1)
    #expect(try await proxy.stat("cluster.backend.outlier_detection.ejections_active") == 1)
    #expect(proxy.count("is ejected for") == 1)
  }

  /// Why nothing is ejected is told, and shown.
  @Test func refusalsAreTold() async throws {
    let service = try Service()
    let proxy = try await RunningProxy.start(
      Self.configuration(service, []).with { $0.changing("max_ejection_percent: 100", to: "max_ejection_percent: 10") })
    service.become(.failing)
    for _ in 0..<2 { _ = try await proxy.get() }
    try await proxy.waitForLog(
      "is not ejected though 2 responses in a row were failures (5xx): max_ejection_percent 10 lets no more than 0 of 1"
        + " endpoints be ejected, and 0 are")
    let text = try await proxy.admin("/clusters").text
    #expect(text.contains("::last_ejection_refusal::consecutive_5xx: max_ejection_percent 10 lets no more than 0 of 1"))
    #expect(text.contains("::ejections::0\n"))
    #expect(
      try await proxy.admin("/clusters?format=json").text.contains(#""last_ejection_refusal": "consecutive_5xx: "#))
  }

  /// Ejections and returns as lines of JSON; ejections outlive a reload that changes something else.
  @Test func eventsAndReload() async throws {
    let service = try Service()
    var configuration = Self.configuration(service, []).with {
      $0.changing("base_ejection_time: 0.3s", to: "base_ejection_time: 1s")
    }
    let directory = try TemporaryDirectory()
    configuration.fields = [
      "cluster_manager: {outlier_detection: {event_log_path: \"\(directory.file("events.log"))\"}}"
    ]
    let proxy = try await RunningProxy.start(configuration)
    try await Self.eject(service, proxy)
    configuration.clusters.append(.init(name: "other", endpoints: [("127.0.0.1", 1)]))
    try proxy.directory.write("proxy.yaml", configuration.yaml)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use")
    #expect(try await proxy.admin("/clusters").text.contains("::health_flags::/failed_outlier_check\n"))
    #expect(try await proxy.get().status == 503)
    service.become(.well)
    try await eventually("it returns") { try await proxy.get().status == 200 }
    try await eventually("both events are in the file") {
      TemporaryDirectory.contents(directory.file("events.log")).split(separator: "\n").count == 2
    }
    let lines = TemporaryDirectory.contents(directory.file("events.log")).split(separator: "\n")
    #expect(lines[0].hasPrefix(#"{"type":"CONSECUTIVE_5XX","timestamp":"20"#))
    let rest =
      #"","cluster_name":"backend","upstream_url":"127.0.0.1:\#(service.port)","action":"EJECT","num_ejections":1,"#
      + #""enforced":true,"eject_consecutive_event":{}}"#
    #expect(lines[0].hasSuffix(rest))
    #expect(lines[1].contains(#""secs_since_last_action":"1","#))
    #expect(lines[1].hasSuffix(#""action":"UNEJECT","num_ejections":1,"enforced":false}"#))
  }

  /// Without outlier detection nobody stays ejected.
  @Test func aReloadWithoutItEndsEjections() async throws {
    let service = try Service()
    var configuration = Self.configuration(service, []).with {
      $0.changing("base_ejection_time: 0.3s", to: "base_ejection_time: 60s")
    }
    let proxy = try await RunningProxy.start(configuration)
    try await Self.eject(service, proxy)
    service.become(.well)
    configuration.clusters[0].fields.removeFirst()
    try proxy.directory.write("proxy.yaml", configuration.yaml)
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use")
    #expect(try await proxy.get().status == 200)
    #expect(try await proxy.admin("/clusters").text.contains("::health_flags::healthy\n"))
  }
}

extension String {
  fileprivate func changing(_ text: String, to other: String) -> String {
    guard let at = MeshTesting.firstRange(of: Array(text.utf8), in: Array(utf8)) else { return self }
    let bytes = Array(utf8)
    return String(decoding: bytes[..<at] + other.utf8 + bytes[(at + text.utf8.count)...], as: UTF8.self)
  }
}

extension ProxyConfiguration {
  /// The same with other words in the fields of its clusters.
  fileprivate func with(_ change: (String) -> String) -> Self {
    var other = self
    other.clusters = clusters.map { cluster in
      var cluster = cluster
      cluster.fields = cluster.fields.map(change)
      return cluster
    }
    return other
  }
}
