import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite struct ConnectionLimitTests {
  private let runtime = Runtime()

  private func setRuntime(_ text: String) {
    runtime.update([.init(name: "test", entries: ["limit": RuntimeEntry(text)])])
  }

  @Test func withoutAValueThereIsNone() {
    let limit = ConnectionLimit(runtime.value("limit"))
    for _ in 0..<10_000 { #expect(limit.enter()) }
    #expect(limit.current == 10_000)
  }

  @Test func theRuntimeMayChangeItWhileConnectionsAreOpen() {
    let limit = ConnectionLimit(runtime.value("limit"))
    setRuntime("2")
    #expect(limit.enter() && limit.enter() && !limit.enter())
    setRuntime("3")
    #expect(limit.enter() && !limit.enter())
    setRuntime("1")
    limit.leave()
    limit.leave()
    #expect(!limit.enter())
    limit.leave()
    #expect(limit.enter())
    #expect(limit.current == 1)
  }

  @Test func theConfigurationComesBeforeTheRuntime() {
    let limit = ConnectionLimit(runtime.value("limit"))
    setRuntime("1")
    limit.configure(2)
    #expect(limit.enter() && limit.enter() && !limit.enter())
    limit.configure(nil)
    limit.leave()
    limit.leave()
    #expect(limit.enter() && !limit.enter())
  }

  @Test func whoeverIgnoresItStillCounts() {
    let limit = ConnectionLimit(runtime.value("limit"))
    limit.configure(1)
    limit.enterAlways()
    limit.enterAlways()
    #expect(!limit.enter())
    #expect(limit.current == 2)
  }
}
