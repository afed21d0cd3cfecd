/// Base64 (RFC 4648 §4, with padding) of bytes that come in pieces. Both directions hold at most three bytes.
public enum Base64Stream {
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  /// Bytes to text.
  public struct Encoder: Sendable {
    private var group: UInt32 = 0
    private var count = 0

    public init() {}

    /// Appends the text of what has come, as far as it is in whole groups.
    public mutating func encode(_ bytes: Bytes, into text: inout [UInt8]) {
      text.reserveCapacity(text.count + bytes.count / 3 * 4 + 8)
      for byte in bytes {
        group = group << 8 | UInt32(byte)
        count += 1
        if count == 3 { flush(4, into: &text) }
      }
    }

    /// Appends what is left, with its padding. The next byte begins a new text.
    public mutating func finish(into text: inout [UInt8]) {
      guard count > 0 else { return }
      let digits = count + 1
      let padding = 3 - count
      group <<= UInt32(8 * padding)
      flush(digits, into: &text)
      for _ in 0..<padding { text.append(UInt8(ascii: "=")) }
    }

    private mutating func flush(_ digits: Int, into text: inout [UInt8]) {
      for position in 0..<digits {
        text.append(Base64Stream.alphabet[Int(group >> UInt32(18 - 6 * position) & 63)])
      }
      group = 0
      count = 0
    }
  }

  /// Text to bytes. Several texts may follow each other, each with its padding.
  public struct Decoder: Sendable {
    private var group: UInt32 = 0
    private var digits = 0
    private var padding = 0

    public init() {}

    /// Whether the text may end here.
    public var isComplete: Bool { digits == 0 }

    /// Appends the bytes of what has come, as far as they are in whole groups. False if it is no base64.
    public mutating func decode(_ text: Bytes, into bytes: inout [UInt8]) -> Bool {
      bytes.reserveCapacity(bytes.count + text.count / 4 * 3 + 3)
      for byte in text {
        if byte == UInt8(ascii: "=") {
          guard digits >= 2 else { return false }
          padding += 1
          group <<= 6
        } else {
          guard padding == 0, let value = Self.value(byte) else { return false }
          group = group << 6 | value
        }
        digits += 1
        guard digits == 4 else { continue }
        // What the padding leaves over must be nothing.
        guard padding == 0 || group & (padding == 1 ? 0xff : 0xffff) == 0 else { return false }
        bytes.append(UInt8(truncatingIfNeeded: group >> 16))
        if padding < 2 { bytes.append(UInt8(truncatingIfNeeded: group >> 8)) }
        if padding < 1 { bytes.append(UInt8(truncatingIfNeeded: group)) }
        group = 0
        digits = 0
        padding = 0
      }
      return true
    }

    private static func value(_ byte: UInt8) -> UInt32? {
      switch byte {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(byte - UInt8(ascii: "A"))
      case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(byte - UInt8(ascii: "a") + 26)
      case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0") + 52)
      case UInt8(ascii: "+"): 62
      case UInt8(ascii: "/"): 63
      default: nil
      }
    }
  }
}
