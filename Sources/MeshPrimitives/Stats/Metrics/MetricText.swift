// How values are spelled in Prometheus' text formats, beyond what all formats of statistics share.

extension [UInt8] {
  /// A series' labels: the one that its value has, then its entry's.
  mutating func append(labels: [UInt8], _ label: MetricSample.Label) {
    switch label {
    case .none: break
    case .codeClass(let number):
      append("envoy_response_code_class=\"")
      append(decimal: Int64(number))
      append(labels.isEmpty ? "\"" : "\",")
    case .code(let code):
      append("envoy_response_code=\"")
      append(decimal: Int64(code))
      append(labels.isEmpty ? "\"" : "\",")
    }
    self += labels
  }

  /// A bound or a quantile. - Parameter isCanonical: whole numbers have a decimal, as OpenMetrics asks for (§5.3.3).
  mutating func append(_ bound: Double, isCanonical: Bool) {
    let start = count
    append(bound, scale: 1)
    if isCanonical, !self[start...].contains(0x2e) { append(".0") }
  }

  /// An exemplar behind a value (OpenMetrics 1.0 §4.6.1): at most 63 characters of labels where 128 are allowed.
  mutating func append(_ exemplar: Exemplar, value: UInt64, scale: UInt64) {
    append(" # {trace_id=\"")
    append(hex: exemplar.traceIDHigh)
    append(hex: exemplar.traceIDLow)
    if exemplar.spanID != 0 {
      append("\",span_id=\"")
      append(hex: exemplar.spanID)
    }
    append("\"} ")
    append(Double(value), scale: scale)
    append(0x20)
    append(decimal: exemplar.time / 1_000_000_000)
    let milliseconds = exemplar.time / 1_000_000 % 1_000
    append(0x2e)
    append(0x30 + UInt8(milliseconds / 100))
    append(0x30 + UInt8(milliseconds / 10 % 10))
    append(0x30 + UInt8(milliseconds % 10))
  }

  /// Sixteen digits.
  mutating func append(hex number: UInt64) {
    for shift in stride(from: UInt64(60), through: 0, by: -4) {
      let nibble = UInt8(truncatingIfNeeded: number >> shift & 15)
      append(nibble < 10 ? 0x30 + nibble : 0x57 + nibble)
    }
  }
}

/// The labels that are written in a text as Prometheus has it: `a="1",b="2"`.
struct LabelText: Sequence, IteratorProtocol {
  private let text: [UInt8]
  private var position = 0

  init(_ text: [UInt8]) { self.text = text }

  /// The next label; nil at the end, or where the text is none of ours.
  mutating func next() -> (name: ArraySlice<UInt8>, value: [UInt8])? {
    guard position < text.count, let equals = text[position...].firstIndex(of: 0x3d), equals + 1 < text.count else {
      return nil
    }
    let name = text[position..<equals]
    var value: [UInt8] = []
    var index = equals + 2
    while index < text.count, text[index] != 0x22 {
      if text[index] == 0x5c, index + 1 < text.count {
        index += 1
        value.append(text[index] == 0x6e ? 0x0a : text[index])
      } else {
        value.append(text[index])
      }
      index += 1
    }
    // Behind the quote and the comma.
    position = index + 2
    return (name, value)
  }
}
