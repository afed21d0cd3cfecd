import MeshPrimitives
import Testing

@Suite struct HTTPDateTests {
  static func httpDate(_ seconds: Int64) -> String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: HTTPDate.length) { buffer in
      HTTPDate.write(unixSeconds: seconds, into: buffer.baseAddress!)
      return Bytes(buffer).text
    }
  }

  static func iso(_ milliseconds: Int64) -> String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: ISO8601.length) { buffer in
      ISO8601.write(unixMilliseconds: milliseconds, into: buffer.baseAddress!)
      return Bytes(buffer).text
    }
  }

  @Test(arguments: [
    (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
    (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),  // RFC 9110 §5.6.7
    (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
    (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
    (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
    (1_709_251_200, "Fri, 01 Mar 2024 00:00:00 GMT"),
    (1_795_317_556, "Sun, 22 Nov 2026 03:19:16 GMT"),
    (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
    (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
    (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
  ])
  func dates(seconds: Int64, text: String) {
    #expect(Self.httpDate(seconds) == text)
  }

  @Test func timesOutsideOfFourDigitYearsAreClamped() {
    #expect(Self.httpDate(.min) == "Thu, 01 Jan 1970 00:00:00 GMT")
    #expect(Self.httpDate(.max) == "Fri, 31 Dec 9999 23:59:59 GMT")
    #expect(Self.iso(.min) == "1970-01-01T00:00:00.000Z")
    #expect(Self.iso(.max) == "9999-12-31T23:59:59.999Z")
  }

  @Test func timeStampsHaveMilliseconds() {
    #expect(Self.iso(1_795_317_001_774) == "2026-11-22T03:10:01.774Z")
    #expect(Self.iso(1_795_317_001_007) == "2026-11-22T03:10:01.007Z")
  }

  /// Every day from 1970 to 2105: the calendar is counted up beside.
  @Test func everyDay() {
    var (year, month, day) = (1970, 1, 1)
    for number in 0..<49_310 {
      let text = Self.iso(Int64(number) * 86_400_000)
      func pad(_ n: Int) -> String { n < 10 ? "0\(n)" : "\(n)" }
      let expected = "\(year)-\(pad(month))-\(pad(day))T00:00:00.000Z"
      if text != expected {
        Issue.record("day \(number): \(text), not \(expected)")
        return
      }
      let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
      let lengths = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
      day += 1
      if day > lengths[month - 1] { (day, month) = (1, month + 1) }
      if month > 12 { (month, year) = (1, year + 1) }
    }
  }
}
