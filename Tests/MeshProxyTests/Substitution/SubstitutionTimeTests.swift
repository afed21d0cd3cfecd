import Glibc
import MeshTesting
import Testing

@testable import MeshProxy

@Suite struct SubstitutionTimeTests {
  static func line(_ format: String, _ nanoseconds: UInt64) -> String {
    let source = ExampleSource()
    source.info.startedAtWallClock = nanoseconds
    return source.line("%START_TIME(\(format))%")
  }

  @Test func envoysExamples() {
    let time: UInt64 = 1_527_590_590_528_123_456
    #expect(Self.line("%Y/%m/%dT%H:%M:%S%z %s", time) == "2018/05/29T10:43:10+0000 1527590590")
    #expect(Self.line("%s.%3f", time) == "1527590590.528")
    #expect(Self.line("%s.%6f", time) == "1527590590.528123")
    #expect(Self.line("%s.%9f", time) == "1527590590.528123456")
    #expect(Self.line("%f %1f", time) == "528123456 5")
    #expect(Self.line("", time) == "2018-05-29T10:43:10.528Z")
    #expect(Self.line("100%% %Z", time) == "100% UTC")
  }

  @Test func fractionsKeepTheirZeros() {
    #expect(Self.line("%3f|%6f|%f|%7f", 1_000_000_000_001_000_000) == "001|001000|001000000|0010000")
  }

  /// The C library is the reference for what it knows as well.
  @Test func likeTheLibrary() throws {
    var random = SeededRandom(seed: 3)
    let format = "%Y %y %C %m %d %e %j %F %D %b %h %B %a %A %u %w %H %I %p %M %S %T %R %s"
    let edges: [UInt64] = [0, 951_782_400, 951_868_800, 1_709_164_800, 1_735_689_599, 4_107_542_400, 86_399, 43_200]
    for round in 0..<3_000 {
      let second = round < edges.count ? edges[round] : UInt64.random(in: 0..<18_000_000_000, using: &random)
      var time = time_t(second)
      var calendar = tm()
      gmtime_r(&time, &calendar)
      var text = [CChar](repeating: 0, count: 512)
      let length = strftime(&text, text.count, format.replacing("%s", with: "\(second)"), &calendar)
      let expected = String(decoding: text[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
      #expect(Self.line(format, second * 1_000_000_000) == expected)
    }
  }

  /// The time stamp of the default format keeps its second between lines; it must not keep it for too long.
  @Test func theStampFollowsTheClock() {
    var output = SubstitutionOutput()
    let start: UInt64 = 1_700_000_000_999_000_000
    for (nanoseconds, text) in [
      (start, "2023-11-14T22:13:20.999Z"), (start + 999_999, "2023-11-14T22:13:20.999Z"),
      (start + 1_000_000, "2023-11-14T22:13:21.000Z"), (start + 61_000_000_000, "2023-11-14T22:14:21.999Z"),
      (start, "2023-11-14T22:13:20.999Z"), (start - 1_000_000_000, "2023-11-14T22:13:19.999Z"),
      (0, "1970-01-01T00:00:00.000Z"), (UInt64.max, "2554-07-21T23:34:33.709Z"),
    ] {
      output.removeAll()
      output.append(timeStamp: nanoseconds)
      #expect(output.bytes.text == text)
    }
  }
}
