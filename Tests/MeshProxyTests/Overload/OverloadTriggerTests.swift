import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("What pressure means")
struct OverloadTriggerTests {
  @Test("a threshold is all or nothing")
  func threshold() {
    let trigger = OverloadTrigger.threshold(0.5)
    #expect(trigger.strength(at: 0.49) == 0)
    #expect(trigger.strength(at: 0.5) == 1)
    #expect(trigger.strength(at: 40) == 1)
    #expect(trigger.onset == 0.5)
    // As in Envoy: a threshold of 0 always holds.
    #expect(OverloadTrigger.threshold(0).strength(at: 0) == 1)
  }

  @Test("between two pressures it is in proportion")
  func scaled() {
    let trigger = OverloadTrigger.scaled(from: 0.4, to: 0.8)
    #expect(trigger.strength(at: 0) == 0)
    #expect(trigger.strength(at: 0.4) == 0)
    #expect(abs(trigger.strength(at: 0.6) - 0.5) < 1e-6)
    #expect(trigger.strength(at: 0.8) == 1)
    #expect(trigger.strength(at: 7) == 1)
    #expect(trigger.onset == 0.4)
  }

  @Test("timeouts shrink to what is left at least, and never grow")
  func reductions() {
    let span = TimeoutReduction(least: .span(.seconds(2)))
    #expect(span.apply(to: .seconds(600), strength: 0) == .seconds(600))
    #expect(span.apply(to: .seconds(600), strength: 1) == .seconds(2))
    #expect(span.apply(to: .seconds(600), strength: 0.5) == .seconds(301))
    #expect(span.apply(to: .seconds(1), strength: 1) == .seconds(1))
    #expect(span.apply(to: .seconds(600), strength: 9) == .seconds(2))
    let share = TimeoutReduction(least: .share(0.1))
    #expect(share.apply(to: .seconds(600), strength: 1) == .seconds(60))
    #expect(share.apply(to: .zero, strength: 1) == .zero)
    let whole = TimeoutReduction(least: .share(1))
    #expect(whole.apply(to: .seconds(600), strength: 1) == .seconds(600))
    #expect(span.apply(to: Nanoseconds(rawValue: .max), strength: 0.5).rawValue <= .max)
  }

  @Test("the stronger the action, the smaller the streams it is for")
  func classes() {
    #expect(WorkerOverload.floor(least: 1 << 20, strength: 0) == nil)
    #expect(WorkerOverload.floor(least: 1 << 20, strength: 0.01) == 128 << 20)
    #expect(WorkerOverload.floor(least: 1 << 20, strength: 0.126) == 64 << 20)
    #expect(WorkerOverload.floor(least: 1 << 20, strength: 0.99) == 1 << 20)
    #expect(WorkerOverload.floor(least: 1 << 20, strength: 1) == 1 << 20)
    // No stream holds as much as a number cannot.
    #expect(WorkerOverload.floor(least: 1 << 56, strength: 0.01) == nil)
  }
}
