import MeshConfig
import MeshIO
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

@Suite("The overload manager")
struct OverloadWatchTests {
  private static let types = "type.googleapis.com/envoy.extensions.resource_monitors"

  static func monitor(_ name: String, _ path: String) -> String {
    "{name: \(name), typed_config: "
      + "{\"@type\": \(types).injected_resource.v3.InjectedResourceConfig, filename: \"\(path)\"}}"
  }

  /// Compiles an overload manager; what is wrong with it otherwise.
  static func compile(
    _ yaml: String, store: StatsStore = StatsStore(lanes: 2)
  ) -> Result<OverloadConfiguration?, FixtureError> {
    let identities = Identities(store: store, accessLogFiles: AccessLogFiles(opensFiles: false))
    do {
      let loaded = try ConfigurationReader.readBootstrap(path: nil, yaml: "overload_manager: \(yaml)\n")
      var builder = SnapshotBuilder(identities: identities)
      guard let snapshot = builder.build(loaded.bootstrap) else {
        return .failure(FixtureError(problems: builder.problems.map { "\($0.path): \($0.message)" }))
      }
      return .success(snapshot.overload)
    } catch {
      return .failure(FixtureError(problems: error.problems.map(\.description)))
    }
  }

  private static func timers(_ timers: String) -> String {
    ", typed_config: {\"@type\": type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig, "
      + "timer_scale_factors: [\(timers)]}"
  }

  private static func problem(_ yaml: String) -> String {
    if case .failure(let error) = compile(yaml) { return error.problems.joined(separator: "\n") }
    return ""
  }

  private final class Fixture {
    let directory: TemporaryDirectory
    let loop: EventLoop
    let store = StatsStore(lanes: 2)
    let watch: OverloadWatch
    var states: [OverloadState] = []

    init() throws {
      directory = try TemporaryDirectory()
      loop = try EventLoop()
      watch = OverloadWatch(loop: loop, store: store, lane: 1, log: Log.main)
      watch.onChange = { [unowned self] in states.append($0) }
    }

    func configure(_ actions: String, points: String = "[]") throws {
      let monitors = OverloadWatchTests.monitor("test", directory.file("pressure"))
      let configuration = try OverloadWatchTests.compile(
        "{refresh_interval: 0.005s, resource_monitors: [\(monitors)], actions: \(actions), loadshed_points: \(points)}",
        store: store
      ).get()
      watch.configure(configuration)
    }

    func turn(until condition: () -> Bool) -> Bool {
      let deadline = ProcessClock.monotonic() + .seconds(10)
      while !condition() {
        if ProcessClock.monotonic() > deadline { return false }
        loop.turn(upTo: .milliseconds(20))
      }
      return true
    }
  }

  private static let stop =
    "[{name: envoy.overload_actions.stop_accepting_requests, triggers: [{name: test, threshold: {value: 0.5}}]}]"

  @Test("tells every change, and only changes")
  func changes() throws {
    let fixture = try Fixture()
    try fixture.directory.write("pressure", "0")
    try fixture.configure(Self.stop)
    #expect(fixture.states.isEmpty)
    try fixture.directory.write("pressure", "0.9")
    #expect(fixture.turn { fixture.states.last?[.stopAcceptingRequests] == 1 })
    let stats = fixture.store.scope(
      "overload.test", prometheus: PrometheusScope("envoy_overload_test"), ResourceStat.self)
    #expect(stats.total(.pressure) == 90)
    // What cannot be read leaves all as it is, and is counted.
    try fixture.directory.write("pressure", "gone")
    #expect(fixture.turn { stats.total(.failedUpdates) > 2 })
    #expect(fixture.states.count == 1)
    #expect(stats.total(.pressure) == 90)
    try fixture.directory.write("pressure", "0.1")
    #expect(fixture.turn { fixture.states.count == 2 })
    #expect(fixture.states.last == OverloadState())
  }

  @Test("a new configuration begins anew, the same one changes nothing")
  func reconfigured() throws {
    let fixture = try Fixture()
    try fixture.directory.write("pressure", "1")
    try fixture.configure(Self.stop)
    #expect(fixture.states.count == 1)
    try fixture.configure(Self.stop)
    #expect(fixture.states.count == 1)
    try fixture.configure(
      "[{name: envoy.overload_actions.disable_http_keepalive, triggers: [{name: test, threshold: {value: 0.5}}]}]",
      points: "[{name: envoy.load_shed_points.tcp_listener_accept, triggers: [{name: test, threshold: {value: 1}}]}]")
    #expect(fixture.states.count == 2)
    #expect(fixture.states.last?[.stopAcceptingRequests] == 0)
    #expect(fixture.states.last?[.disableKeepAlive] == 1)
    #expect(fixture.states.last?[.listenerAccept] == 1)
    fixture.watch.configure(nil)
    try fixture.directory.write("pressure", "0")
    for _ in 0..<5 { fixture.loop.turn(upTo: .milliseconds(10)) }
    #expect(fixture.states.count == 2)
  }

  @Test("of two triggers the stronger counts")
  func strongest() throws {
    let fixture = try Fixture()
    try fixture.directory.write("pressure", "0.5")
    try fixture.directory.write("other", "0.75")
    let monitors = [("test", "pressure"), ("other", "other")].map {
      Self.monitor($0.0, fixture.directory.file($0.1))
    }
    let configuration = try Self.compile(
      """
      {resource_monitors: [\(monitors.joined(separator: ", "))], actions: [{name: \
      envoy.overload_actions.stop_accepting_requests, triggers: [{name: test, scaled: {scaling_threshold: 0, \
      saturation_threshold: 1}}, {name: other, scaled: {scaling_threshold: 0.5, saturation_threshold: 1}}]}]}
      """
    ).get()
    fixture.watch.configure(configuration)
    #expect(fixture.states.last?[.stopAcceptingRequests] == 0.5)
  }

  @Test("a worker turns as many away as the action is strong")
  func share() throws {
    let configuration = try #require(
      try Self.compile("{resource_monitors: [\(Self.monitor("test", "/dev/null"))], actions: \(Self.stop)}").get())
    let worker = try Worker(index: 0, seed: 7)
    let overload = WorkerOverload(configuration, worker)
    var state = OverloadState()
    state[.stopAcceptingRequests] = 0.25
    overload.take(state)
    #expect(overload.refusesRequests)
    let refused = (0..<4000).filter { _ in overload.refusesRequest() }.count
    #expect((850...1150).contains(refused))
    overload.take(OverloadState())
    #expect(!overload.refusesRequests)
    #expect(!overload.refusesRequest())
  }

  @Test("mistakes are told with their place")
  func mistakes() {
    let monitor = Self.monitor("test", "/dev/null")
    func action(_ name: String, _ trigger: String = "{name: test, threshold: {value: 1}}", more: String = "") -> String
    {
      Self.problem("{resource_monitors: [\(monitor)], actions: [{name: \(name), triggers: [\(trigger)]\(more)}]}")
    }
    let stop = "envoy.overload_actions.stop_accepting_requests"
    #expect(action(stop).isEmpty)
    #expect(
      action("envoy.overload_actions.stop_accepting_request").contains(
        "overload_manager.actions[0].name: there is no overload action"))
    #expect(action("envoy.overload_actions.stop_accepting_request").contains("did you mean"))
    #expect(action("envoy.overload_actions.close_idle_http_connections").contains("not supported yet"))
    #expect(action(stop, "{name: tets, threshold: {value: 1}}").contains("actions[0].triggers[0].name: there is no"))
    #expect(action(stop, "{name: test, threshold: {value: 2}}").contains("must be 0 to 1, not 2"))
    #expect(action(stop, "{name: test}").contains("needs one of"))
    #expect(
      action(stop, "{name: test, threshold: {value: 1}}, {name: test, threshold: {value: 0.5}}")
        .contains("another trigger is for test already"))
    #expect(
      action(stop, "{name: test, scaled: {scaling_threshold: 0.9, saturation_threshold: 0.8}}")
        .contains("must be less than saturation_threshold"))
    func reduce(_ timer: String) -> String {
      action("envoy.overload_actions.reduce_timeouts", more: Self.timers(timer))
    }
    #expect(reduce("{timer: HTTP_DOWNSTREAM_STREAM_IDLE, min_timeout: 1s}").isEmpty)
    #expect(reduce("{timer: HTTP_DOWNSTREAM_STREAM_IDLE}").contains("needs one of"))
    #expect(
      reduce(
        "{timer: HTTP_DOWNSTREAM_STREAM_IDLE, min_timeout: 1s}, {timer: HTTP_DOWNSTREAM_STREAM_IDLE, min_timeout: 2s}"
      ).contains("timer_scale_factors[1].timer: is given twice"))
    #expect(
      action(stop, more: Self.timers("{timer: HTTP_DOWNSTREAM_STREAM_IDLE, min_timeout: 1s}"))
        .contains("takes none"))
    #expect(
      Self.problem(
        "{resource_monitors: [\(monitor)], loadshed_points: [{name: envoy.load_shed_points.http3_server_go_away_on_dispatch, "
          + "triggers: [{name: test, threshold: {value: 1}}]}]}"
      ).contains("not supported yet"))
    #expect(Self.problem("{resource_monitors: [\(monitor), \(monitor)]}").contains("has the name \"test\" already"))
    #expect(
      Self.problem("{refresh_interval: 0s, resource_monitors: [\(monitor)]}").contains("must be at least 1ms"))
  }
}
