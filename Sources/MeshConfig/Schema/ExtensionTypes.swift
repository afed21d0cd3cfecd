/// Envoy's extension types that are not supported. Looked up only when an error is explained: the list stays in the
/// program's file and is not copied.
enum ExtensionTypes {
  /// Whether Envoy has the type `name` and this proxy does not.
  static func isKnown(_ name: String) -> Bool {
    let wanted = Array(name.utf8)
    guard !wanted.isEmpty, !wanted.contains(UInt8(ascii: "\n")) else { return false }
    return unsupportedExtensionTypes.withUTF8Buffer { list in
      list.split(separator: UInt8(ascii: "\n")).contains { $0.elementsEqual(wanted) }
    }
  }
}
