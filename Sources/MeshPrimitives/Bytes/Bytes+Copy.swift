extension UnsafeBufferPointer where Element == UInt8 {
  /// Copies `n` bytes and touches no others. Overlap is fine. A call to the library costs more than the copy where most
  /// values are short.
  @inlinable @inline(__always)
  public static func copyExactly(_ to: UnsafeMutablePointer<UInt8>, _ from: UnsafePointer<UInt8>, _ n: Int) {
    let source = UnsafeRawPointer(from)
    let target = UnsafeMutableRawPointer(to)
    if n > 32 {
      target.copyMemory(from: source, byteCount: n)
    } else if n >= 16 {
      copyEnds(target, source, n, SIMD16<UInt8>.self)
    } else if n >= 8 {
      copyEnds(target, source, n, UInt64.self)
    } else if n >= 4 {
      copyEnds(target, source, n, UInt32.self)
    } else if n >= 2 {
      copyEnds(target, source, n, UInt16.self)
    } else if n == 1 {
      to.pointee = from.pointee
    }
  }

  /// Copies `n` bytes as two words that may overlap; `n` is between one and two words.
  @inlinable @inline(__always)
  static func copyEnds<Word: BitwiseCopyable>(
    _ to: UnsafeMutableRawPointer, _ from: UnsafeRawPointer, _ n: Int, _: Word.Type
  ) {
    let back = n &- MemoryLayout<Word>.size
    let head = from.loadUnaligned(as: Word.self)
    let tail = from.loadUnaligned(fromByteOffset: back, as: Word.self)
    to.storeBytes(of: head, as: Word.self)
    to.storeBytes(of: tail, toByteOffset: back, as: Word.self)
  }
}
