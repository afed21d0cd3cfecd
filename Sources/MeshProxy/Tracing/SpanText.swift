import MeshPrimitives

/// Text in spans: bounded, and UTF-8, or receivers refuse all that comes with it.
enum SpanText {
  /// Longer values are cut. They come from heads, which are bounded by less.
  static let maximum = 65_536

  /// The beginning of a text, up to the end of a character if it is UTF-8.
  static func cut(_ text: Bytes) -> Bytes {
    guard text.count > maximum else { return text }
    var length = maximum
    while length > maximum - 3, text[length] & 0xc0 == 0x80 { length -= 1 }
    return text.slice(0, length)
  }

  /// Calls `body` with a text in which U+FFFD stands for what is no UTF-8; it is UTF-8 and bounded.
  static func withRepaired(_ text: Bytes, _ body: (Bytes) -> Void) {
    Array(text.text.utf8).withUnsafeBufferPointer { body(cut($0)) }
  }
}
