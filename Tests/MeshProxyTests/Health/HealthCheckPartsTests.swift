import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Health checks: messages, turns, memory")
struct HealthCheckPartsTests {
  // MARK: Payloads

  @Test func payloadsInTheirOrder() {
    func matches(_ runs: [String], _ text: String) -> Bool {
      PayloadMatcher.matches(runs.map { Array($0.utf8) }, Array(text.utf8))
    }
    #expect(matches([], ""))
    #expect(matches(["a"], "xax"))
    #expect(matches(["ab", "cd"], "ab--cd"))
    #expect(!matches(["cd", "ab"], "ab--cd"))
    // No byte counts twice.
    #expect(!matches(["aba", "aba"], "ababa"))
    #expect(matches(["aba", "aba"], "abaaba"))
    #expect(!matches(["abc"], "ab"))
    #expect(matches(["aab"], "aaab"))
  }

  // MARK: gRPC

  @Test func requestsOfTheHealthService() {
    #expect(HealthServiceMessage.request(service: "") == [])
    #expect(HealthServiceMessage.request(service: "ab") == [0x0a, 2, 0x61, 0x62])
    let long = HealthServiceMessage.request(service: String(repeating: "a", count: 300))
    #expect(long.prefix(3) == [0x0a, 0xac, 0x02])
    #expect(long.count == 303)
  }

  @Test func responsesOfTheHealthService() {
    func status(_ message: [UInt8]) -> UInt64? {
      HealthServiceMessage.status(ofResponse: [0, 0, 0, 0, UInt8(message.count)] + message)
    }
    #expect(status([]) == 0)
    #expect(status([0x08, 1]) == 1)
    #expect(status([0x08, 2]) == 2)
    // Fields that are not known: a number, eight bytes, text, four bytes.
    #expect(status([0x10, 0x96, 1, 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x22, 2, 9, 9, 0x2d, 1, 2, 3, 4, 0x08, 1]) == 1)
    #expect(status([0x08]) == nil)
    #expect(status([0x08, 0x80]) == nil)
    #expect(status([0x0b]) == nil)
    #expect(status([0x22, 5, 1]) == nil)
    #expect(status([0x22, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]) == nil)
    #expect(status([0x19, 1]) == nil)
    #expect(status([0x2d, 1]) == nil)
  }

  @Test func everyCutAndEveryByteOfAResponse() {
    let whole: [UInt8] = [0, 0, 0, 0, 2, 0x08, 1]
    #expect(HealthServiceMessage.status(ofResponse: whole) == 1)
    for count in 0..<whole.count { #expect(HealthServiceMessage.status(ofResponse: Array(whole.prefix(count))) == nil) }
    #expect(HealthServiceMessage.status(ofResponse: whole + [0]) == nil)
    // Compressed.
    #expect(HealthServiceMessage.status(ofResponse: [1] + whole.dropFirst()) == nil)
    for place in whole.indices {
      for byte in UInt8.min...UInt8.max {
        var changed = whole
        changed[place] = byte
        _ = HealthServiceMessage.status(ofResponse: changed)
      }
    }
  }

  // MARK: The gate

  private final class Waiter: HealthCheckGate.Waiter {
    let name: String
    var wants = true
    private(set) var turns = 0
    init(_ name: String) { self.name = name }
    func gateOpened() -> Bool {
      if wants { turns += 1 }
      return wants
    }
  }

  @Test func turnsInTheirOrder() {
    let gate = HealthCheckGate(limit: 2)
    let waiters = ["a", "b", "c", "d", "e"].map { Waiter($0) }
    for waiter in waiters { gate.enter(waiter) }
    #expect(waiters.map(\.turns) == [1, 1, 0, 0, 0])
    gate.leave()
    #expect(waiters.map(\.turns) == [1, 1, 1, 0, 0])
    // One that wants no more costs nobody a turn.
    waiters[3].wants = false
    gate.leave()
    #expect(waiters.map(\.turns) == [1, 1, 1, 0, 1])
    gate.leave()
    gate.leave()
    #expect(gate.active == 0)
  }

  @Test func whoIsGoneHasNoTurn() {
    let gate = HealthCheckGate(limit: 1)
    let first = Waiter("a")
    gate.enter(first)
    do { gate.enter(Waiter("gone")) }
    let last = Waiter("b")
    gate.enter(last)
    gate.leave()
    #expect(last.turns == 1)
  }

  // MARK: The filter's memory

  @Test func answersAreRememberedForATime() {
    let cache = HealthCheckCache(for: .milliseconds(100))
    func at(_ milliseconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: milliseconds * 1_000_000) }
    #expect(cache.current(at(0)) == nil)
    cache.note(503, isDegraded: true, at(1000))
    #expect(cache.current(at(1099)).map { $0 == (503, true) } == true)
    #expect(cache.current(at(1100)) == nil)
    cache.note(200, isDegraded: false, at(2000))
    #expect(cache.current(at(2000)).map { $0 == (200, false) } == true)
  }

  // MARK: gRPC's statuses

  @Test(arguments: [
    (0, 200), (1, 499), (2, 500), (4, 504), (12, 501), (13, 500), (14, 503), (16, 401), (99, 500), (-1, 500),
  ])
  func statusesOfCalls(_ code: Int, _ status: Int) { #expect(GRPCStatus(code: code).httpStatus == status) }
}
