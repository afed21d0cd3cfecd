import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("When names are asked for again")
struct RefreshScheduleTests {
  private func settings(_ change: (inout DNSSettings) -> Void = { _ in }) -> DNSSettings {
    var settings = DNSSettings()
    settings.refreshRate = .seconds(4)
    change(&settings)
    return settings
  }

  @Test("at the refresh rate, whatever the time to live, unless it is to be respected")
  func rate() {
    var random = Random(seed: 1)
    var schedule = RefreshSchedule(settings())
    #expect(schedule.afterSuccess(timeToLive: .seconds(60), &random) == .seconds(4))
    #expect(schedule.afterFailure(&random) == .seconds(4))
    schedule = RefreshSchedule(settings { $0.respectsTimeToLive = true })
    #expect(schedule.afterSuccess(timeToLive: .seconds(60), &random) == .seconds(60))
    #expect(schedule.afterSuccess(timeToLive: .seconds(1), &random) == .seconds(1))
    // From a hosts file, or not to be kept at all.
    #expect(schedule.afterSuccess(timeToLive: .zero, &random) == .seconds(4))
  }

  @Test("jitter is added, evenly up to its bound")
  func jitter() {
    var random = Random(seed: 2)
    var schedule = RefreshSchedule(settings { $0.jitter = .seconds(2) })
    let waits = (0..<1000).map { _ in schedule.afterSuccess(timeToLive: .zero, &random) }
    #expect(waits.allSatisfy { $0 >= .seconds(4) && !(.seconds(6) < $0) })
    #expect(waits.count { $0 < .seconds(5) } > 400)
    #expect(waits.count { $0 < .seconds(5) } < 600)
  }

  @Test("failures wait for a random time whose bound doubles up to its maximum; success begins anew")
  func backoff() {
    var random = Random(seed: 3)
    let backoff = DNSSettings.Backoff(base: .milliseconds(100), maximum: .milliseconds(350))
    var longest: [Nanoseconds] = [.zero, .zero, .zero, .zero]
    var total: [UInt64] = [0, 0, 0, 0]
    var schedule = RefreshSchedule(settings { $0.failure = backoff })
    for _ in 0..<2000 {
      for turn in 0..<4 {
        let wait = schedule.afterFailure(&random)
        #expect(wait >= .milliseconds(1))
        longest[turn] = max(longest[turn], wait)
        total[turn] += wait.rawValue
      }
      _ = schedule.afterSuccess(timeToLive: .zero, &random)
    }
    for (turn, bound) in [100, 200, 350, 350].enumerated() {
      #expect(!(.milliseconds(UInt64(bound)) < longest[turn]))
      // The mean of an even distribution is half its bound.
      let mean = Double(total[turn]) / 2000 / 1_000_000
      #expect(abs(mean - Double(bound) / 2) < Double(bound) * 0.05)
    }
  }

  @Test("times of any size overflow nothing")
  func extremes() {
    var random = Random(seed: 4)
    let most = Nanoseconds(rawValue: .max)
    var schedule = RefreshSchedule(
      settings {
        $0.refreshRate = most
        $0.jitter = most
        $0.failure = .init(base: most, maximum: most)
      })
    #expect(schedule.afterSuccess(timeToLive: .zero, &random) == most)
    for _ in 0..<3 { _ = schedule.afterFailure(&random) }
  }
}
