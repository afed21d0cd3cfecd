import MeshPrimitives

extension TraceContext {
  /// The length of every `traceparent`, in bytes.
  @inlinable public static var traceparentLength: Int { 55 }
  /// The longest `b3`, in bytes.
  @inlinable public static var maximumB3Length: Int { 68 }

  /// Writes `traceparent`, always version 00. Of the flags only the two known ones are ever set (W3C §3.2.2.5).
  /// - Parameter buffer: room for `traceparentLength` bytes.
  @inlinable @inline(__always)
  public func writeTraceparent(into buffer: UnsafeMutablePointer<UInt8>) {
    buffer[0] = 0x30
    buffer[1] = 0x30
    buffer[2] = 0x2d
    Hex.write(traceIDHigh, into: buffer + 3)
    Hex.write(traceIDLow, into: buffer + 19)
    buffer[35] = 0x2d
    Hex.write(spanID, into: buffer + 36)
    buffer[52] = 0x2d
    buffer[53] = 0x30
    buffer[54] = 0x30 | (sampled == true ? 1 : 0) | (random ? 2 : 0)
  }

  /// Writes `b3`: identifiers, then the decision if there is one, then the parent if there is one and a decision.
  /// - Parameter buffer: room for `maximumB3Length` bytes.
  /// - Returns: how many bytes were written.
  public func writeB3(into buffer: UnsafeMutablePointer<UInt8>) -> Int {
    var count = writeB3TraceID(into: buffer)
    buffer[count] = 0x2d
    Hex.write(spanID, into: buffer + count + 1)
    count += 17
    guard let decision = b3Decision else { return count }
    buffer[count] = 0x2d
    buffer[count + 1] = decision
    count += 2
    guard parentSpanID != 0 else { return count }
    buffer[count] = 0x2d
    Hex.write(parentSpanID, into: buffer + count + 1)
    return count + 17
  }

  /// Writes `x-b3-traceid`.
  /// - Parameter buffer: room for 32 bytes.
  /// - Returns: how many bytes were written: 16 for a trace that came with a 64-bit id, else 32.
  public func writeB3TraceID(into buffer: UnsafeMutablePointer<UInt8>) -> Int {
    if is64Bit {
      Hex.write(traceIDLow, into: buffer)
      return 16
    }
    Hex.write(traceIDHigh, into: buffer)
    Hex.write(traceIDLow, into: buffer + 16)
    return 32
  }

  /// Writes `x-b3-spanid`: 16 bytes.
  public func writeB3SpanID(into buffer: UnsafeMutablePointer<UInt8>) { Hex.write(spanID, into: buffer) }

  /// Writes `x-b3-parentspanid`: 16 bytes. Only if `parentSpanID` is not 0.
  public func writeB3ParentSpanID(into buffer: UnsafeMutablePointer<UInt8>) {
    Hex.write(parentSpanID, into: buffer)
  }

  /// The value of `x-b3-sampled`, one byte; nil if the field is left out: the decision is open, or `x-b3-flags: 1` is
  /// sent, which implies it.
  public var b3SampledValue: UInt8? {
    guard !debug, let sampled else { return nil }
    return sampled ? 0x31 : 0x30
  }

  /// `0`, `1`, `d`, or nil if the decision is open.
  private var b3Decision: UInt8? {
    if debug { return 0x64 }
    guard let sampled else { return nil }
    return sampled ? 0x31 : 0x30
  }
}
