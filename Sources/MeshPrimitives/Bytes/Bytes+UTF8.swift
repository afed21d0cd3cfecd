extension UnsafeBufferPointer where Element == UInt8 {
  /// Whether this is UTF-8 (RFC 3629 §4): no overlong forms, no surrogates, nothing beyond U+10FFFF, nothing cut off.
  public var isUTF8: Bool {
    var at = asciiPrefix
    while at < count {
      let byte = self[at]
      at &+= 1
      if byte < 0x80 { continue }
      let following: Int
      // The range of the first byte that follows excludes what the first byte alone does not.
      var lowest: UInt8 = 0x80
      var highest: UInt8 = 0xbf
      switch byte {
      case 0xc2...0xdf: following = 1
      case 0xe0...0xef:
        following = 2
        if byte == 0xe0 { lowest = 0xa0 }
        if byte == 0xed { highest = 0x9f }
      case 0xf0...0xf4:
        following = 3
        if byte == 0xf0 { lowest = 0x90 }
        if byte == 0xf4 { highest = 0x8f }
      default: return false
      }
      guard count &- at >= following, self[at] >= lowest, self[at] <= highest else { return false }
      var next = 1
      while next < following {
        if self[at &+ next] & 0xc0 != 0x80 { return false }
        next &+= 1
      }
      at &+= following
    }
    return true
  }

  /// How many bytes at the beginning are certainly ASCII: all of them, most often. Looks at eight at a time.
  @inline(__always)
  private var asciiPrefix: Int {
    guard let base = baseAddress else { return 0 }
    let raw = UnsafeRawPointer(base)
    var at = 0
    while count &- at >= 8 {
      if raw.loadUnaligned(fromByteOffset: at, as: UInt64.self) & 0x8080_8080_8080_8080 != 0 { return at }
      at &+= 8
    }
    return at
  }
}
