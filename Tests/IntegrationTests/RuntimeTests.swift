import Glibc
import MeshTesting
import Testing

/// Settings that change while the process runs.
@Suite("Runtime", .timeLimit(.minutes(2)))
struct RuntimeTests {
  /// The sandbox of Envoy's users: faults are switched on and off by swapping a link.
  @Test func faultsFollowTheLinkOfADiskLayer() async throws {
    let runtime = try TemporaryDirectory()
    try runtime.write("v1/envoy/fault/http/abort/abort_percent", "0\n")
    try runtime.write("v2/envoy/fault/http/abort/abort_percent", "100\n")
    try runtime.write("v2/envoy/fault/http/abort/http_status", "404\n")
    symlink("v1", runtime.file("current"))
    let proxy = try await RunningProxy.start(
      configuration(
        "[{name: disk, disk_layer: {symlink_root: \(runtime.file("current")), subdirectory: envoy}}]"))
    #expect(try await proxy.get().status == 200)
    for (version, status) in [("v2", 404), ("v1", 200), ("v2", 404)] {
      symlink(version, runtime.file("new"))
      rename(runtime.file("new"), runtime.file("current"))
      try await eventually("\(version) is in use") { try await proxy.get().status == status }
    }
    #expect(try await proxy.admin("/runtime").text.contains(#""fault.http.abort.http_status""#))
    #expect(try await proxy.stat("runtime.load_success") == 4)
    #expect(try await proxy.stat("http.main.fault.aborts_injected") > 0)
  }

  @Test func theAdminInterfaceOverrides() async throws {
    let proxy = try await RunningProxy.start(
      configuration(
        "[{name: base, static_layer: {fault: {http: {abort: {http_status: 418}}}}}, {name: a, admin_layer: {}}]"))
    #expect(try await proxy.get().status == 200)
    let key = "fault.http.abort.abort_percent"
    #expect(try await proxy.admin("/runtime_modify?\(key)=100", method: "POST").text == "OK\n")
    #expect(try await proxy.get().status == 418)
    #expect(try await proxy.stat("runtime.admin_overrides_active") == 1)
    // What was set by hand outlives a new configuration.
    proxy.program.signal(SIGHUP)
    try await proxy.waitForLog("the new configuration is in use")
    #expect(try await proxy.get().status == 418)
    #expect(try await proxy.admin("/runtime_modify?\(key)=", method: "POST").text == "OK\n")
    #expect(try await proxy.get().status == 200)
  }

  @Test func aLayerThatCannotBeWatchedIsAnError() async throws {
    let directory = try TemporaryDirectory()
    try directory.write(
      "proxy.yaml", configuration("[{name: d, disk_layer: {symlink_root: /nonexistent/current}}]").yaml)
    let proxy = try RunningProxy(directory)
    #expect(try await proxy.program.waitForEnd() == .exited(1))
    #expect(proxy.program.errorOutput.contains("layered_runtime: cannot see changes: watch /nonexistent"))
  }

  private func configuration(_ layers: String) -> ProxyConfiguration {
    var configuration = ProxyConfiguration(clusters: [])
    configuration.fields = ["layered_runtime: {layers: \(layers)}"]
    configuration.listeners[0].routes = ["{match: {prefix: /}, direct_response: {status: 200}}"]
    configuration.listeners[0].filters = [
      ProxyConfiguration.typed(
        "envoy.filters.http.fault", "filters.http.fault.v3.HTTPFault", ["abort: {http_status: 503}"])
    ]
    return configuration
  }
}
