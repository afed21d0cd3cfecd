/// A borrowed run of bytes. Valid only for as long as its owner says (usually: until the owner's next mutation, or
/// until the call it was passed to returns). Never stored across events.
public typealias Bytes = UnsafeBufferPointer<UInt8>

extension UnsafeBufferPointer where Element == UInt8 {
  /// The bytes of a literal; valid for the life of the process.
  @inlinable @inline(__always)
  public init(_ literal: StaticString) {
    self.init(start: literal.utf8Start, count: literal.utf8CodeUnitCount)
  }

  /// A sub-run. `offset + length` must lie within this run.
  @inlinable @inline(__always)
  public func slice(_ offset: Int, _ length: Int) -> Bytes {
    Bytes(start: baseAddress.map { $0 + offset }, count: length)
  }

  /// Byte-wise equality.
  @inlinable @inline(__always)
  public func equals(_ other: Bytes) -> Bool {
    guard count == other.count else { return false }
    var i = 0
    while i < count {
      if self[i] != other[i] { return false }
      i &+= 1
    }
    return true
  }

  /// Byte-wise equality with a literal.
  @inlinable @inline(__always)
  public func equals(_ literal: StaticString) -> Bool { equals(Bytes(literal)) }

  /// Equality that ignores the case of ASCII letters. `lowercased` must hold no upper-case ASCII letter.
  @inlinable
  public func equalsIgnoringCase(_ lowercased: Bytes) -> Bool {
    guard count == lowercased.count else { return false }
    var i = 0
    while i < count {
      if self[i].asciiLowercased != lowercased[i] { return false }
      i &+= 1
    }
    return true
  }

  /// Equality with a lower-case literal that ignores the case of ASCII letters.
  @inlinable
  public func equalsIgnoringCase(_ lowercased: StaticString) -> Bool { equalsIgnoringCase(Bytes(lowercased)) }

  /// Whether this run begins with `prefix`.
  @inlinable @inline(__always)
  public func starts(with prefix: Bytes) -> Bool {
    count >= prefix.count && slice(0, prefix.count).equals(prefix)
  }

  /// A copy as text; bytes that are no UTF-8 become U+FFFD. For logs and configuration, never for the request path.
  public var text: String { String(decoding: self, as: UTF8.self) }
}

extension UInt8 {
  /// This byte with ASCII `A`–`Z` folded to `a`–`z`; every other byte unchanged.
  @inlinable @inline(__always)
  public var asciiLowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }
}
