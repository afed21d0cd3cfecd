import MeshPrimitives

/// Follows the headers of a peer's frames, so that what costs us something can be counted whatever nghttp2 makes of it, and
/// rules be held that it does not hold. Payloads are skipped, but for the stream that a PRIORITY frame names.
struct HTTP2FrameScan {
  struct Frame: Equatable {
    var type: UInt8
    var flags: UInt8
    var length: Int
    var stream: Int32
    /// Where its header begins in the bytes that were given; 0 if that was before these.
    var start: Int
    /// A PRIORITY frame: the stream depends on itself.
    var dependsOnItself = false
  }

  /// Bytes that are of no interest: the preface, the rest of a payload.
  private var skip: Int
  /// A header, and the dependency of a PRIORITY frame, as far as they have come: in the order of the wire.
  private var held: (UInt64, UInt64) = (0, 0)
  private var heldCount = 0

  /// - Parameter preface: bytes before the first frame.
  init(preface: Int) { skip = preface }

  /// The next frame whose header is complete in `bytes[offset...]`; nil, and `offset` at the end, if there is none. A
  /// PRIORITY frame counts once its dependency has come.
  @inline(__always)
  mutating func next(_ bytes: Bytes, _ offset: inout Int) -> Frame? {
    let count = bytes.count
    if skip > 0 {
      let step = min(skip, count &- offset)
      skip &-= step
      offset &+= step
    }
    guard offset < count, let p = bytes.baseAddress else { return nil }
    if heldCount == 0, count &- offset >= 9, p[offset &+ 3] != FrameType.priority {
      let word = UnsafeRawPointer(p + offset).loadUnaligned(as: UInt64.self).bigEndian
      let stream = UInt32(truncatingIfNeeded: word & 0xff_ffff) << 8 | UInt32(p[offset &+ 8])
      let frame = Frame(
        type: UInt8(truncatingIfNeeded: word >> 32), flags: UInt8(truncatingIfNeeded: word >> 24),
        length: Int(word >> 40), stream: Int32(bitPattern: stream & 0x7fff_ffff), start: offset)
      skip = frame.length
      offset &+= 9
      return frame
    }
    return nextInParts(bytes, &offset)
  }

  @inline(never)
  private mutating func nextInParts(_ bytes: Bytes, _ offset: inout Int) -> Frame? {
    let start = heldCount == 0 ? offset : 0
    while offset < bytes.count {
      let byte = UInt64(bytes[offset])
      offset += 1
      if heldCount < 8 { held.0 = held.0 << 8 | byte } else { held.1 = held.1 << 8 | byte }
      heldCount += 1
      guard heldCount >= 9 else { continue }
      let type = UInt8(truncatingIfNeeded: held.0 >> 32)
      let length = Int(held.0 >> 40)
      let waitsForMore = type == FrameType.priority && length == 5
      if waitsForMore, heldCount < 13 { continue }
      // The last byte of the stream's number is the first of the second word.
      let last = waitsForMore ? held.1 >> 32 : held.1
      let stream = (UInt32(truncatingIfNeeded: held.0 & 0xff_ffff) << 8 | UInt32(last & 0xff)) & 0x7fff_ffff
      var frame = Frame(
        type: type, flags: UInt8(truncatingIfNeeded: held.0 >> 24), length: length, stream: Int32(bitPattern: stream),
        start: start)
      if waitsForMore { frame.dependsOnItself = stream == UInt32(truncatingIfNeeded: held.1) & 0x7fff_ffff }
      skip = waitsForMore ? 1 : length
      heldCount = 0
      held = (0, 0)
      return frame
    }
    return nil
  }
}
