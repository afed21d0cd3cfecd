/// A text with operators (`%REQ(x-user)%`) that stands for a header's value, a path or a host, compiled by whoever knows
/// the operators. Routing carries it to where it is needed and gives it back there, to `HeaderMutationTarget.write`.
public protocol HeaderValueFormat: AnyObject, Sendable {}

/// Turns texts into bytes or formats.
struct FormatText {
  /// A text, compiled.
  enum Compiled {
    /// Always the same bytes.
    case literal([UInt8])
    case format(any HeaderValueFormat)
  }

  /// The bytes of a text without operators, `%%` being a percent sign; nil if there are operators in it.
  static func literal(_ text: String) -> [UInt8]? {
    var result: [UInt8] = []
    var isEscaped = false
    for byte in text.utf8 {
      if byte == UInt8(ascii: "%") {
        isEscaped.toggle()
        if isEscaped { continue }
      } else if isEscaped {
        return nil
      }
      result.append(byte)
    }
    return isEscaped ? nil : result
  }
}
