/// Base64 as protobuf's JSON has it: the standard or the URL alphabet (RFC 4648 sections 4 and 5), with or without
/// padding; line breaks and blanks are skipped, because YAML block scalars have them.
public enum Base64 {
  /// Nil when the text is no base64.
  public static func decode(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    var out: [UInt8] = []
    out.reserveCapacity(text.count / 4 * 3)
    var group: UInt32 = 0
    var digits = 0
    var padding = 0
    for byte in text {
      switch byte {
      case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t"): continue
      case UInt8(ascii: "="): padding += 1
      default:
        guard padding == 0, let digit = value(byte) else { return nil }
        group = group << 6 | UInt32(digit)
        digits += 1
        if digits == 4 {
          out += [UInt8(truncatingIfNeeded: group >> 16), UInt8(truncatingIfNeeded: group >> 8)]
          out.append(UInt8(truncatingIfNeeded: group))
          (group, digits) = (0, 0)
        }
      }
    }
    guard padding == 0 || digits + padding == 4 else { return nil }
    switch digits {
    case 0: return padding == 0 ? out : nil
    case 2 where group & 0xf == 0: out.append(UInt8(truncatingIfNeeded: group >> 4))
    case 3 where group & 0x3 == 0:
      out += [UInt8(truncatingIfNeeded: group >> 10), UInt8(truncatingIfNeeded: group >> 2)]
    default: return nil
    }
    return out
  }

  private static func value(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
    case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
    case UInt8(ascii: "+"), UInt8(ascii: "-"): 62
    case UInt8(ascii: "/"), UInt8(ascii: "_"): 63
    default: nil
    }
  }
}
