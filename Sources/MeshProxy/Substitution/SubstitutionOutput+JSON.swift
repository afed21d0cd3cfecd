import MeshPrimitives
import SwiftProtobuf

/// Values as JSON.
extension SubstitutionOutput {
  /// A number as JSON has it: whole ones without a fraction. What JSON has no number for is `null`.
  static func jsonNumber(_ value: Double) -> String {
    guard value.isFinite else { return "null" }
    if value.rounded(.towardZero) == value, value.magnitude < 9_007_199_254_740_992 { return "\(Int64(value))" }
    return "\(value)"
  }

  /// Appends a value as JSON, the members of objects sorted by name.
  mutating func append(json value: Google_Protobuf_Value) {
    switch value.kind {
    case .nullValue, nil: append("null")
    case .boolValue(let value): append(value ? "true" : "false")
    case .numberValue(let value): append(plain: Self.jsonNumber(value))
    case .stringValue(let text): append(jsonString: text)
    case .listValue(let list):
      append(UInt8(ascii: "["))
      for (index, value) in list.values.enumerated() {
        if index > 0 { append(UInt8(ascii: ",")) }
        append(json: value)
      }
      append(UInt8(ascii: "]"))
    case .structValue(let structure):
      append(UInt8(ascii: "{"))
      for (index, member) in structure.fields.sorted(by: { $0.key < $1.key }).enumerated() {
        if index > 0 { append(UInt8(ascii: ",")) }
        append(jsonString: member.key)
        append(UInt8(ascii: ":"))
        append(json: member.value)
      }
      append(UInt8(ascii: "}"))
    }
  }

  /// Appends text as a JSON string, whatever the output's escaping.
  mutating func append(jsonString text: String) {
    let escaping = self.escaping
    self.escaping = .json
    append(UInt8(ascii: "\""))
    appendEscaped(text)
    append(UInt8(ascii: "\""))
    self.escaping = escaping
  }

  /// Appends text that no peer had a hand in.
  mutating func append(plain text: String) {
    var text = text
    text.withUTF8 { append($0) }
  }
}
