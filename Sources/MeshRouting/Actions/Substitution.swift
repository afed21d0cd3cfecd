import MeshPrimitives

/// A search and what takes the place of what it finds (Envoy's `RegexMatchAndSubstitute`). Immutable; any thread.
public struct Substitution: Sendable {
  let pattern: RegularExpression
  /// Checked against the pattern.
  let text: [UInt8]

  /// The text with every match replaced; nil if there is none.
  func apply(to subject: Bytes) -> [UInt8]? {
    text.withUnsafeBufferPointer { pattern.replaceAll(in: subject, with: $0) }
  }
}
