extension UnsafeBufferPointer where Element == UInt8 {
  /// Writes this with percent-encoding resolved (RFC 3986 §2.1); a `%` that begins none stays.
  /// - Parameter out: room for `count` bytes.
  /// - Returns: how many bytes were written.
  public func percentDecode(into out: UnsafeMutableBufferPointer<UInt8>) -> Int {
    var at = 0
    var length = 0
    while at < count {
      if self[at] == 0x25, at &+ 2 < count, let high = Self.nibble(self[at &+ 1]), let low = Self.nibble(self[at &+ 2])
      {
        out[length] = high << 4 | low
        at &+= 3
      } else {
        out[length] = self[at]
        at &+= 1
      }
      length &+= 1
    }
    return length
  }

  private static func nibble(_ byte: UInt8) -> UInt8? {
    if byte &- 0x30 < 10 { return byte &- 0x30 }
    let letter = byte.asciiLowercased &- 0x61
    return letter < 6 ? letter &+ 10 : nil
  }
}
