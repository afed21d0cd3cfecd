/// A point in UTC taken apart into calendar fields, by arithmetic alone (proleptic Gregorian calendar; the algorithm is
/// Hinnant's `civil_from_days`). Leap seconds do not exist in Unix time, nor here.
struct CivilTime {
  let year: Int
  let month: Int
  let day: Int
  let hour: Int
  let minute: Int
  let second: Int
  /// 0 is Sunday.
  let weekday: Int

  /// The last second of the year 9999: later times cannot be written in four digits and are clamped to it.
  static let latest: Int64 = 253_402_300_799

  /// - Parameter unixSeconds: seconds since 1970-01-01T00:00:00Z, clamped to 1970 … 9999.
  @inline(__always)
  init(unixSeconds: Int64) {
    let seconds = Int(min(max(unixSeconds, 0), Self.latest))
    let days = seconds / 86_400
    let rest = seconds % 86_400
    hour = rest / 3_600
    minute = rest % 3_600 / 60
    second = rest % 60
    weekday = (days + 4) % 7
    let shifted = days + 719_468
    let era = shifted / 146_097
    let dayOfEra = shifted % 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  }
}

extension UnsafeMutablePointer where Pointee == UInt8 {
  /// Writes `number` (0 … 99) as two decimal digits.
  @inline(__always)
  func writeTwoDigits(_ number: Int, at offset: Int) {
    self[offset] = 0x30 &+ UInt8(truncatingIfNeeded: number / 10)
    self[offset &+ 1] = 0x30 &+ UInt8(truncatingIfNeeded: number % 10)
  }

  /// Writes `number` (0 … 9999) as four decimal digits.
  @inline(__always)
  func writeFourDigits(_ number: Int, at offset: Int) {
    writeTwoDigits(number / 100, at: offset)
    writeTwoDigits(number % 100, at: offset &+ 2)
  }

  /// Writes the bytes of `text`.
  @inline(__always)
  func write(_ text: StaticString, at offset: Int) {
    (self + offset).update(from: text.utf8Start, count: text.utf8CodeUnitCount)
  }
}
