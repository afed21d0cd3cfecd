import MeshPrimitives

/// One line of the process log about a failure: a phrase for people, ` | `, then fields for programs, `name=value`, as logfmt
/// has them. Bounded; printable ASCII only, so that nobody can forge a line or a field.
struct FailureLine {
  /// The longest line in bytes: what a pipe takes in one piece.
  static let maximum = 3_500
  /// What is taken of a value, before it is escaped.
  static let valueLimit = 256

  private var bytes: [UInt8] = []

  init(_ phrase: String) {
    bytes.reserveCapacity(512)
    for byte in phrase.utf8.prefix(1024) { bytes.append(Self.isPrintable(byte) ? byte : UInt8(ascii: "?")) }
    bytes += " |".utf8
  }

  var text: String { String(decoding: bytes, as: UTF8.self) }

  /// Appends a field. Nothing is said of what is empty.
  /// - Parameter limit: how many bytes of the value are taken.
  mutating func add(_ name: StaticString, _ value: Bytes, limit: Int = Self.valueLimit) {
    guard !value.isEmpty, bytes.count < Self.maximum else { return }
    let before = bytes.count
    bytes.append(UInt8(ascii: " "))
    bytes.append(contentsOf: Bytes(name))
    bytes.append(UInt8(ascii: "="))
    let taken = value.prefix(limit)
    let isCut = taken.count < value.count
    if taken.allSatisfy(Self.isBare) {
      bytes.append(contentsOf: taken)
      if isCut { bytes += "...".utf8 }
    } else {
      bytes.append(UInt8(ascii: "\""))
      for byte in taken { appendEscaped(byte) }
      if isCut { bytes += "...".utf8 }
      bytes.append(UInt8(ascii: "\""))
    }
    if bytes.count > Self.maximum { bytes.removeLast(bytes.count - before) }
  }

  mutating func add(_ name: StaticString, _ value: String, limit: Int = Self.valueLimit) {
    var value = value
    value.withUTF8 { add(name, $0, limit: limit) }
  }

  mutating func add(_ name: StaticString, _ value: StaticString) { add(name, Bytes(value)) }

  mutating func add(_ name: StaticString, number: some BinaryInteger) { add(name, "\(number)") }

  private mutating func appendEscaped(_ byte: UInt8) {
    if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
      bytes.append(UInt8(ascii: "\\"))
      bytes.append(byte)
    } else if Self.isPrintable(byte) {
      bytes.append(byte)
    } else {
      bytes += "\\x".utf8
      for nibble in [byte >> 4, byte & 15] { bytes.append(nibble < 10 ? 0x30 &+ nibble : 0x57 &+ nibble) }
    }
  }

  private static func isPrintable(_ byte: UInt8) -> Bool { byte >= 0x20 && byte < 0x7f }

  /// Needs no quotation marks.
  private static func isBare(_ byte: UInt8) -> Bool {
    byte > 0x20 && byte < 0x7f && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "=") && byte != UInt8(ascii: "\\")
  }

  /// A name of the configuration as phrases have it: what could be taken for something else becomes `_`.
  static func plain(_ name: String) -> String {
    String(
      decoding: name.utf8.prefix(128).map { isBare($0) && $0 != UInt8(ascii: "{") ? $0 : UInt8(ascii: "_") },
      as: UTF8.self)
  }
}
