import MeshPrimitives

/// The value of a label that a configuration asks for (`MetricConfig.dimensions`). Istio takes any expression of CEL; this
/// proxy has constants and single attributes. Immutable; shared by all threads.
enum IstioDimension: Sendable {
  case constant([UInt8])
  /// Filled in for each stream; what is not known is `-`.
  case format(SubstitutionFormat)

  /// What stands for a value that is not there.
  static let unknown: StaticString = "unknown"

  /// No longer than a label can be: what is told apart is kept.
  private static let attributes: [String: String] = [
    "request.method": "%REQ(:METHOD)%", "request.host": "%REQ(:AUTHORITY):256%", "request.scheme": "%REQ(:SCHEME)%",
    "request.path": "%REQ(:PATH):256%", "request.url_path": "%PATH(NQ:PATH):256%", "request.protocol": "%PROTOCOL%",
    "request.useragent": "%REQ(USER-AGENT):256%", "response.code": "%RESPONSE_CODE%",
    "destination.port": "%DOWNSTREAM_LOCAL_PORT%", "source.port": "%DOWNSTREAM_REMOTE_PORT%",
  ]

  /// - Parameter node: what `node.…` stands for, by attribute: `node.id`, `node.metadata['A']`.
  /// - Returns: nil if the expression is none of those that are known.
  static func compile(_ expression: String, node: (String) -> String?) -> IstioDimension? {
    var text = trimmed(expression)
    if text.hasPrefix("string("), text.hasSuffix(")") { text = trimmed(String(text.dropFirst(7).dropLast())) }
    if let constant = quoted(text) { return .constant(Array(constant.utf8)) }
    if let format = attributes[text] { return compile(format: format) }
    if let name = element(of: "request.headers", text) { return header(name, "REQ") }
    if let name = element(of: "response.headers", text) { return header(name, "RESP") }
    guard text == "node.id" || text == "node.cluster" || element(of: "node.metadata", text) != nil else { return nil }
    let value = node(element(of: "node.metadata", text) ?? text)
    return .constant(value.map { Array($0.utf8) } ?? Array(Bytes(unknown)))
  }

  private static func header(_ name: String, _ operation: String) -> IstioDimension? {
    let isToken = name.utf8.allSatisfy {
      $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ":") || $0 &- 0x30 < 10
        || $0.asciiLowercased &- 0x61 < 26
    }
    return isToken && !name.isEmpty ? compile(format: "%\(operation)(\(name)):\(LabelSet.maximumValue)%") : nil
  }

  private static func compile(format: String) -> IstioDimension? {
    guard case .success(let format) = SubstitutionFormat.compile(format, for: .body) else { return nil }
    return .format(format)
  }

  /// `name` of `map['name']`.
  private static func element(of map: String, _ text: String) -> String? {
    guard text.hasPrefix(map + "["), text.hasSuffix("]") else { return nil }
    return quoted(trimmed(String(text.dropFirst(map.count + 1).dropLast())))
  }

  /// The text between quotes, if it has nothing in it that would have to be looked at more closely.
  private static func quoted(_ text: String) -> String? {
    guard let quote = text.first, quote == "'" || quote == "\"", text.count >= 2, text.last == quote else { return nil }
    let inner = text.dropFirst().dropLast()
    return inner.contains(quote) || inner.contains("\\") ? nil : String(inner)
  }

  private static func trimmed(_ text: String) -> String {
    let front = text.drop { $0 == " " }
    return String(front.reversed().drop { $0 == " " }.reversed())
  }
}
