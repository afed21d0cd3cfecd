/// Labels with their values, in the order in which they were added, as Prometheus writes them: `a="1",b="2"`. What tells
/// one series of a `LabelledFamily` from another. A value; any thread.
public struct LabelSet: Hashable, Sendable {
  /// Bytes of a value at most: values come from peers. Longer ones are cut.
  public static let maximumValue = 256

  /// `a="1",b="2"`, without braces; empty: no labels.
  public private(set) var text: [UInt8] = []

  /// No labels.
  public init() {}

  /// Adds a label.
  /// - Parameters:
  ///   - name: what is not a letter, a digit or `_` becomes `_`.
  ///   - value: whatever a peer has said; what is no UTF-8 in it becomes U+FFFD, because Prometheus refuses a whole scrape
  ///     for one byte that is not.
  public mutating func append(_ name: Bytes, _ value: Bytes) {
    if !text.isEmpty { text.append(0x2c) }
    text.append(metricName: name)
    text.append(0x3d)
    let shown = value.count > Self.maximumValue ? value.slice(0, Self.maximumValue) : value
    if shown.isUTF8 {
      text.append(labelValue: shown)
    } else {
      text.append(labelValue: String(decoding: shown, as: UTF8.self).utf8)
    }
  }

  public mutating func append(_ name: StaticString, _ value: Bytes) { append(Bytes(name), value) }
  public mutating func append(_ name: StaticString, _ value: StaticString) { append(Bytes(name), Bytes(value)) }
  public mutating func append(_ name: StaticString, _ value: [UInt8]) {
    value.withUnsafeBufferPointer { append(Bytes(name), $0) }
  }
}

extension [UInt8] {
  /// Labels as Envoy has them in the name of a statistic: `.a.1.b.2`.
  /// - Parameter labels: as `LabelSet.text` has them.
  mutating func append(labelsInName labels: [UInt8]) {
    guard !labels.isEmpty else { return }
    append(0x2e)
    var isInValue = false
    var isEscaped = false
    for byte in labels {
      switch byte {
      case _ where isEscaped:
        isEscaped = false
        // A name is one line.
        append(byte == UInt8(ascii: "n") ? 0x20 : byte)
      case UInt8(ascii: "\\"): isEscaped = true
      case UInt8(ascii: "\""): isInValue.toggle()
      case UInt8(ascii: "=") where !isInValue, UInt8(ascii: ",") where !isInValue: append(0x2e)
      default: append(byte)
      }
    }
  }
}
