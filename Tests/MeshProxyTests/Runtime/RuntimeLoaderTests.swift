import Glibc
import MeshIO
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

@Suite("Loading the runtime", .timeLimit(.minutes(1)))
struct RuntimeLoaderTests {
  private let directory: TemporaryDirectory
  private let loop: EventLoop
  private let runtime = Runtime()
  private let store = StatsStore(lanes: 1)
  private let loader: RuntimeLoader

  init() throws {
    directory = try TemporaryDirectory()
    loop = try EventLoop()
    loader = RuntimeLoader(runtime, loop: loop, store: store, lane: 0)
  }

  private var disk: RuntimeLayerConfiguration {
    .init(
      name: "disk",
      source: .disk(.init(link: directory.file("current"), subdirectory: "envoy", appendsServiceCluster: false)))
  }

  private func apply(_ layers: [RuntimeLayerConfiguration]) throws {
    loader.apply(try loader.prepare(layers), serviceCluster: "")
  }

  /// As people are told to do it: a new link, renamed over the old one.
  private func swap(to version: String) {
    symlink(version, directory.file("next"))
    rename(directory.file("next"), directory.file("current"))
  }

  private func turn(until condition: () -> Bool) -> Bool {
    let deadline = ProcessClock.monotonic() + .seconds(10)
    while !condition() {
      if ProcessClock.monotonic() > deadline { return false }
      loop.turn(upTo: .milliseconds(20))
    }
    return true
  }

  private func count(_ stat: RuntimeStat) -> Int64 {
    store.scope("runtime", prometheus: PrometheusScope("envoy_runtime"), RuntimeStat.self).total(stat)
  }

  @Test("files are keys; comments and white space at the end do not count")
  func files() throws {
    try directory.write("v1/envoy/fault/http/x", "7\n")
    try directory.write("v1/envoy/placeholder", "# nothing yet\n")
    try directory.write("v1/envoy/text", "  two\n# no\nlines \n\n")
    swap(to: "v1")
    try apply([disk])
    #expect(runtime.value("fault.http.x").integer(or: 0) == 7)
    #expect(
      loader.layers.first?.entries.mapValues(\.text) == [
        "fault.http.x": "7", "placeholder": "", "text": "  two\nlines",
      ])
    #expect(count(.keys) == 3)
    #expect(count(.layers) == 1)
    #expect(count(.loadSuccess) == 1)
    #expect(count(.overrideDirectoryExists) == 1)
  }

  @Test("a link that is swapped brings the new directory's values")
  func swapping() throws {
    try directory.write("v1/envoy/k", "1")
    try directory.write("v2/envoy/k", "2")
    swap(to: "v1")
    try apply([disk])
    let value = runtime.value("k")
    #expect(value.integer(or: 0) == 1)
    try directory.write("v1/envoy/k", "9")
    swap(to: "v2")
    #expect(turn { value.integer(or: 0) == 2 })
    #expect(count(.loadSuccess) == 2)
    // A directory that is not there says that there are no values.
    swap(to: "v3")
    #expect(turn { value.integer(or: 0) == 0 })
    #expect(count(.overrideDirectoryMissing) == 1)
  }

  @Test("what cannot be read changes nothing and is counted")
  func unreadable() throws {
    try directory.write("v1/envoy/k", "1")
    swap(to: "v1")
    try apply([disk])
    try directory.write("v2/envoy/k", "2")
    try directory.write("v2/envoy/large", String(repeating: "x", count: RuntimeDirectory.sizeLimit + 1))
    swap(to: "v2")
    #expect(turn { count(.loadError) == 1 })
    #expect(runtime.value("k").integer(or: 0) == 1)
    // A link that leads back up has no end; the walk has.
    try directory.write("v3/envoy/k", "3")
    symlink("..", directory.file("v3/envoy/loop"))
    swap(to: "v3")
    #expect(turn { count(.loadError) == 2 })
    #expect(runtime.value("k").integer(or: 0) == 1)
    try directory.write("v4/envoy/k", "4")
    swap(to: "v4")
    #expect(turn { runtime.value("k").integer(or: 0) == 4 })
  }

  @Test("the admin layer overrides what is before it, and gives it back")
  func admin() throws {
    #expect(!loader.modify([("k", "1")]))
    try apply([
      .init(name: "static", source: .fixed(["k": RuntimeEntry("1")])), .init(name: "admin", source: .admin),
    ])
    #expect(loader.modify([("k", "5"), ("l", "6")]))
    #expect(runtime.value("k").integer(or: 0) == 5)
    #expect(count(.adminOverridesActive) == 1)
    #expect(count(.keys) == 2)
    #expect(loader.modify([("k", ""), ("l", "")]))
    #expect(runtime.value("k").integer(or: 0) == 1)
    #expect(count(.adminOverridesActive) == 0)
  }

  @Test("what was overridden outlives a new configuration that has a layer for it")
  func reload() throws {
    try apply([.init(name: "admin", source: .admin)])
    #expect(loader.modify([("k", "5")]))
    try apply([.init(name: "static", source: .fixed([:])), .init(name: "later", source: .admin)])
    #expect(runtime.value("k").integer(or: 0) == 5)
    try apply([])
    #expect(runtime.value("k").integer(or: 0) == 0)
    try apply([.init(name: "admin", source: .admin)])
    #expect(runtime.value("k").integer(or: 0) == 0)
  }

  @Test("a configuration that is prepared and not taken leaves no watch behind")
  func rejected() throws {
    try apply([])
    #expect(loop.registrations == 0)
    do { _ = try loader.prepare([disk]) }
    #expect(loop.registrations == 0)
    try apply([disk])
    do { _ = try loader.prepare([disk]) }
    #expect(loop.registrations == 1)
    try apply([])
    #expect(loop.registrations == 0)
    let missing = RuntimeLayerConfiguration.Disk(
      link: "/nonexistent/current", subdirectory: "", appendsServiceCluster: false)
    #expect(throws: SystemError.self) { try loader.prepare([.init(name: "d", source: .disk(missing))]) }
  }
}
