import MeshPrimitives

/// The argument of `%START_TIME(…)%`: a strftime(3) format, with `%f` for the fraction of the second (`%f` nine
/// digits, `%3f` milliseconds, `%1f` … `%9f`).
struct SubstitutionTimeFormat: Sendable {
  /// The specifiers understood, each after a `%`.
  static let supported =
    "%Y %y %C %m %d %e %j %F %D %b %h %B %a %A %u %w %H %I %p %M %S %T %R %s %f %1f … %9f %z %Z %%"

  private enum Piece: Sendable {
    case literal([UInt8])
    case specifier(UInt8)
    /// The first so many digits of the fraction.
    case fraction(Int)
  }

  private var pieces: [Piece] = []

  /// - Throws: where in `text` (an offset in bytes) which problem is.
  init(_ text: ArraySlice<UInt8>) throws(FormatProblem) {
    var literal: [UInt8] = []
    var at = text.startIndex
    while at < text.endIndex {
      let byte = text[at]
      guard byte == UInt8(ascii: "%") else {
        guard byte >= 0x20, byte != 0x7f else {
          throw FormatProblem(offset: at, message: "a time format cannot hold a control character")
        }
        literal.append(byte)
        at += 1
        continue
      }
      guard at + 1 < text.endIndex else {
        throw FormatProblem(offset: at, message: "'%' at the end of a time format (write %% for a percent sign)")
      }
      let next = text[at + 1]
      var length = 2
      var piece: Piece?
      switch next {
      case UInt8(ascii: "%"): literal.append(next)
      case UInt8(ascii: "f"): piece = .fraction(9)
      case UInt8(ascii: "1")...UInt8(ascii: "9") where at + 2 < text.endIndex && text[at + 2] == UInt8(ascii: "f"):
        piece = .fraction(Int(next - 0x30))
        length = 3
      case _ where "YyCmdejFDbhBaAuwHIpMSTRszZ".utf8.contains(next): piece = .specifier(next)
      default:
        let shown = next > 0x20 && next < 0x7f ? "%\(Character(Unicode.Scalar(next)))" : "'%'"
        throw FormatProblem(
          offset: at, message: "\(shown) in a time format is not supported (supported: \(Self.supported))")
      }
      if let piece {
        if !literal.isEmpty { pieces.append(.literal(literal)) }
        literal = []
        pieces.append(piece)
      }
      at += length
    }
    if !literal.isEmpty { pieces.append(.literal(literal)) }
  }

  /// Writes a time.
  /// - Parameters:
  ///   - wallClock: nanoseconds since 1970 (UTC).
  ///   - offset: seconds by which the clock that is shown is ahead of UTC.
  ///   - zone: the abbreviation of its time zone.
  func write(_ wallClock: UInt64, offset: Int = 0, zone: String = "UTC", into output: inout SubstitutionOutput) {
    let unix = wallClock / 1_000_000_000
    let seconds = UInt64(max(0, Int64(unix) + Int64(offset)))
    // The calendar fields are taken from the standard form: YYYY-MM-DDTHH:MM:SS.
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: ISO8601.length) { stamp in
      guard let start = stamp.baseAddress else { return }
      ISO8601.write(unixMilliseconds: Int64(seconds * 1_000), into: start)
      let standard = Bytes(start: start, count: ISO8601.length)
      for piece in pieces {
        switch piece {
        case .literal(let bytes): bytes.withUnsafeBufferPointer { output.append($0) }
        case .fraction(let digits): Self.writeFraction(wallClock % 1_000_000_000, digits, &output)
        case .specifier(UInt8(ascii: "s")): output.append(decimal: unix)
        case .specifier(UInt8(ascii: "z")): Self.writeOffset(offset, &output)
        case .specifier(UInt8(ascii: "Z")): output.append(plain: zone)
        case .specifier(let letter): Self.write(letter, standard, seconds, &output)
        }
      }
    }
  }

  private static func writeFraction(_ nanoseconds: UInt64, _ digits: Int, _ output: inout SubstitutionOutput) {
    var unit: UInt64 = 100_000_000
    for _ in 0..<digits {
      output.append(0x30 &+ UInt8(truncatingIfNeeded: nanoseconds / unit % 10))
      unit = max(unit / 10, 1)
    }
  }

  private static func write(
    _ letter: UInt8, _ standard: Bytes, _ seconds: UInt64, _ output: inout SubstitutionOutput
  ) {
    let month = number(standard, 5)
    let hour = number(standard, 11)
    let weekday = Int((seconds / 86_400 + 4) % 7)
    switch letter {
    case UInt8(ascii: "Y"): output.append(standard.slice(0, 4))
    case UInt8(ascii: "y"): output.append(standard.slice(2, 2))
    case UInt8(ascii: "C"): output.append(standard.slice(0, 2))
    case UInt8(ascii: "m"): output.append(standard.slice(5, 2))
    case UInt8(ascii: "d"): output.append(standard.slice(8, 2))
    case UInt8(ascii: "e"):
      output.append(standard[8] == 0x30 ? 0x20 : standard[8])
      output.append(standard[9])
    case UInt8(ascii: "j"): append(dayOfYear(standard), digits: 3, &output)
    case UInt8(ascii: "F"): output.append(standard.slice(0, 10))
    case UInt8(ascii: "D"):
      output.append(standard.slice(5, 2))
      output.append(UInt8(ascii: "/"))
      output.append(standard.slice(8, 2))
      output.append(UInt8(ascii: "/"))
      output.append(standard.slice(2, 2))
    case UInt8(ascii: "b"), UInt8(ascii: "h"): output.append(Bytes(monthNames[month - 1]).slice(0, 3))
    case UInt8(ascii: "B"): output.append(monthNames[month - 1])
    case UInt8(ascii: "a"): output.append(Bytes(dayNames[weekday]).slice(0, 3))
    case UInt8(ascii: "A"): output.append(dayNames[weekday])
    case UInt8(ascii: "u"): append(weekday == 0 ? 7 : weekday, digits: 1, &output)
    case UInt8(ascii: "w"): append(weekday, digits: 1, &output)
    case UInt8(ascii: "H"): output.append(standard.slice(11, 2))
    case UInt8(ascii: "I"): append(hour % 12 == 0 ? 12 : hour % 12, digits: 2, &output)
    case UInt8(ascii: "p"): output.append(hour < 12 ? "AM" : "PM")
    case UInt8(ascii: "M"): output.append(standard.slice(14, 2))
    case UInt8(ascii: "S"): output.append(standard.slice(17, 2))
    case UInt8(ascii: "T"): output.append(standard.slice(11, 8))
    default: output.append(standard.slice(11, 5))
    }
  }

  /// `+0130`.
  private static func writeOffset(_ offset: Int, _ output: inout SubstitutionOutput) {
    let minutes = abs(offset) / 60
    output.append(UInt8(ascii: offset < 0 ? "-" : "+"))
    append(minutes / 60, digits: 2, &output)
    append(minutes % 60, digits: 2, &output)
  }

  private static let monthNames: [StaticString] = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
  ]
  private static let dayNames: [StaticString] = [
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
  ]

  private static func number(_ standard: Bytes, _ offset: Int, digits: Int = 2) -> Int {
    var value = 0
    for byte in standard[offset..<offset + digits] { value = value * 10 + Int(byte & 15) }
    return value
  }

  private static func dayOfYear(_ standard: Bytes) -> Int {
    let daysBefore = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]
    let year = number(standard, 0, digits: 4)
    let month = number(standard, 5)
    let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    return daysBefore[month - 1] + number(standard, 8) + (isLeap && month > 2 ? 1 : 0)
  }

  private static func append(_ value: Int, digits: Int, _ output: inout SubstitutionOutput) {
    if digits > 2 { output.append(0x30 &+ UInt8(truncatingIfNeeded: value / 100 % 10)) }
    if digits > 1 { output.append(0x30 &+ UInt8(truncatingIfNeeded: value / 10 % 10)) }
    output.append(0x30 &+ UInt8(truncatingIfNeeded: value % 10))
  }
}
