import MeshPrimitives

extension HeaderMap {
  /// Whether a text may be the value of `host`: a name or an address, with or without a port (RFC 9110 §7.2). For those
  /// who make one from what peers say. At most 512 bytes.
  public static func isAuthority(_ text: [UInt8]) -> Bool {
    guard !text.isEmpty, text.count <= 512 else { return false }
    // The check reads in blocks, beyond the end.
    let padded = text + [UInt8](repeating: 0, count: 16)
    return padded.withUnsafeBufferPointer { Authority.isValid($0.slice(0, text.count)) }
  }
}
