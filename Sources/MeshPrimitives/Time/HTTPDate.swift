/// The date of HTTP header fields: IMF-fixdate, `Sun, 22 Nov 2026 03:19:16 GMT` (RFC 9110 §5.6.7).
public enum HTTPDate {
  /// The length of every date, in bytes.
  public static let length = 29

  /// Writes `length` bytes. Worth keeping for a second: the date changes no faster.
  ///
  /// - Parameters:
  ///   - unixSeconds: seconds since 1970-01-01T00:00:00Z, clamped to the years 1970 … 9999.
  ///   - buffer: room for `length` bytes.
  public static func write(unixSeconds: Int64, into buffer: UnsafeMutablePointer<UInt8>) {
    let time = CivilTime(unixSeconds: unixSeconds)
    let dayNames: StaticString = "SunMonTueWedThuFriSat"
    let monthNames: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"
    buffer.update(from: dayNames.utf8Start + time.weekday * 3, count: 3)
    buffer.write(", ", at: 3)
    buffer.writeTwoDigits(time.day, at: 5)
    buffer[7] = 0x20
    (buffer + 8).update(from: monthNames.utf8Start + (time.month - 1) * 3, count: 3)
    buffer[11] = 0x20
    buffer.writeFourDigits(time.year, at: 12)
    buffer[16] = 0x20
    buffer.writeTwoDigits(time.hour, at: 17)
    buffer[19] = 0x3a
    buffer.writeTwoDigits(time.minute, at: 20)
    buffer[22] = 0x3a
    buffer.writeTwoDigits(time.second, at: 23)
    buffer.write(" GMT", at: 25)
  }
}

/// The time stamp of logs: ISO 8601 (RFC 3339) in UTC with milliseconds, `2026-11-22T03:10:01.774Z`.
public enum ISO8601 {
  /// The length of every time stamp, in bytes.
  public static let length = 24

  /// Writes `length` bytes.
  ///
  /// - Parameters:
  ///   - unixMilliseconds: milliseconds since 1970-01-01T00:00:00Z, clamped to the years 1970 … 9999.
  ///   - buffer: room for `length` bytes.
  ///   - separator: the byte between date and time; `T` by the standard, a space in the process log.
  @inline(__always)
  public static func write(
    unixMilliseconds: Int64, into buffer: UnsafeMutablePointer<UInt8>, separator: UInt8 = 0x54
  ) {
    let clamped = min(max(unixMilliseconds, 0), CivilTime.latest * 1_000 + 999)
    let time = CivilTime(unixSeconds: clamped / 1_000)
    let milliseconds = Int(clamped % 1_000)
    buffer.writeFourDigits(time.year, at: 0)
    buffer[4] = 0x2d
    buffer.writeTwoDigits(time.month, at: 5)
    buffer[7] = 0x2d
    buffer.writeTwoDigits(time.day, at: 8)
    buffer[10] = separator
    buffer.writeTwoDigits(time.hour, at: 11)
    buffer[13] = 0x3a
    buffer.writeTwoDigits(time.minute, at: 14)
    buffer[16] = 0x3a
    buffer.writeTwoDigits(time.second, at: 17)
    buffer[19] = 0x2e
    buffer[20] = 0x30 &+ UInt8(truncatingIfNeeded: milliseconds / 100)
    buffer.writeTwoDigits(milliseconds % 100, at: 21)
    buffer[23] = 0x5a
  }
}
