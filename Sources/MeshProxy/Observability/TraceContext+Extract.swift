import MeshPrimitives

/// The values of the trace headers as they came in; nil for a field that did not. Borrowed: only for the call. A field
/// that came more than once is given joined by commas, and is then malformed.
public struct TraceHeaders {
  public var traceparent: Bytes?
  public var tracestate: Bytes?
  public var b3: Bytes?
  public var b3TraceID: Bytes?
  public var b3SpanID: Bytes?
  public var b3ParentSpanID: Bytes?
  public var b3Sampled: Bytes?
  public var b3Flags: Bytes?

  @inlinable @inline(__always)
  public init(
    traceparent: Bytes? = nil, tracestate: Bytes? = nil, b3: Bytes? = nil, b3TraceID: Bytes? = nil,
    b3SpanID: Bytes? = nil, b3ParentSpanID: Bytes? = nil, b3Sampled: Bytes? = nil, b3Flags: Bytes? = nil
  ) {
    self.traceparent = traceparent
    self.tracestate = tracestate
    self.b3 = b3
    self.b3TraceID = b3TraceID
    self.b3SpanID = b3SpanID
    self.b3ParentSpanID = b3ParentSpanID
    self.b3Sampled = b3Sampled
    self.b3Flags = b3Flags
  }

  @inlinable @inline(__always)
  var hasB3Multi: Bool {
    b3TraceID != nil || b3SpanID != nil || b3ParentSpanID != nil || b3Sampled != nil || b3Flags != nil
  }
}

extension TraceContext {
  /// The caller's context. Without a valid one, `hasTrace` is false, and at most `sampled`, `debug` (B3 allows a decision
  /// without identifiers) and `formats` say something.
  /// - Parameter prefersB3: B3 has the word, and W3C is asked where that is silent.
  @inlinable @inline(__always)
  public static func extract(_ headers: TraceHeaders, prefersB3: Bool = false) -> TraceContext {
    var context = TraceContext()
    if prefersB3, headers.b3 != nil || headers.hasB3Multi {
      context.extractB3(headers)
      if context.hasTrace {
        if headers.traceparent != nil { context.formats.insert(.w3c) }
        return context
      }
      context = TraceContext()
    }
    if let traceparent = headers.traceparent {
      context.formats = .w3c
      if context.readTraceparent(traceparent) {
        context.keepsTracestate = headers.tracestate != nil
        if headers.b3 != nil { context.formats.insert(.b3Single) }
        if headers.hasB3Multi { context.formats.insert(.b3Multi) }
        return context
      }
    }
    if headers.b3 != nil || headers.hasB3Multi { context.extractB3(headers) }
    return context
  }

  /// W3C Trace Context §3.2: `version-traceid-parentid-flags`. Version 00 is exactly 55 bytes; a later one may go on
  /// after another `-` and is read by its known beginning; ff is invalid. Digits are lower case; no identifier is zero.
  /// - Returns: false, with nothing changed, if it is malformed.
  @inlinable @inline(__always)
  mutating func readTraceparent(_ value: Bytes) -> Bool {
    guard value.count >= 55, let base = value.baseAddress else { return false }
    guard (base[2] ^ 0x2d) | (base[35] ^ 0x2d) | (base[52] ^ 0x2d) == 0 else { return false }
    let known = base[0] == 0x30 && base[1] == 0x30
    if known {
      guard value.count == 55 else { return false }
    } else {
      guard Self.readByte(base) != nil, base[0] & base[1] != 0x66, value.count == 55 || base[55] == 0x2d
      else { return false }
    }
    var high: UInt64 = 0
    var low: UInt64 = 0
    var span: UInt64 = 0
    let first = Hex.read(base + 3, into: &high)
    let second = Hex.read(base + 19, into: &low)
    let third = Hex.read(base + 36, into: &span)
    guard first && second && third, high | low != 0, span != 0, let flags = Self.readByte(base + 53) else {
      return false
    }
    traceIDHigh = high
    traceIDLow = low
    spanID = span
    sampled = flags & 1 != 0
    random = known && flags & 2 != 0
    return true
  }

  /// Two lower-case digits.
  @inlinable @inline(__always)
  static func readByte(_ digits: UnsafePointer<UInt8>) -> UInt8? {
    guard let high = nibble(digits[0]), let low = nibble(digits[1]) else { return nil }
    return high << 4 | low
  }

  @inlinable @inline(__always)
  static func nibble(_ digit: UInt8) -> UInt8? {
    if digit &- 0x30 < 10 { return digit &- 0x30 }
    return digit &- 0x61 < 6 ? digit &- 0x57 : nil
  }

  @usableFromInline @inline(never)
  mutating func extractB3(_ headers: TraceHeaders) {
    if headers.b3 != nil { formats.insert(.b3Single) }
    if headers.hasB3Multi { formats.insert(.b3Multi) }
    if let b3 = headers.b3, readB3Single(b3) { return }
    readB3Multi(headers)
  }

  /// `{trace id}-{span id}[-{0|1|d}[-{parent span id}]]`, or the decision alone.
  private mutating func readB3Single(_ value: Bytes) -> Bool {
    guard let base = value.baseAddress else { return false }
    if value.count == 1 { return readDecision(value[0]) }
    let traceLength = value.count > 32 && value[32] == 0x2d ? 32 : 16
    // After the trace id: 17 bytes with the span id, 19 with the decision, 36 with the parent.
    let rest = value.count - traceLength
    guard rest == 17 || rest == 19 || rest == 36, value[traceLength] == 0x2d else { return false }
    var read = TraceContext()
    guard read.readTraceID(value.slice(0, traceLength)),
      Hex.read(base + traceLength + 1, into: &read.spanID, upperCase: true), read.spanID != 0
    else { return false }
    if rest >= 19 {
      guard value[traceLength + 17] == 0x2d, read.readDecision(value[traceLength + 18]) else { return false }
    }
    if rest == 36 {
      guard value[traceLength + 19] == 0x2d,
        Hex.read(base + traceLength + 20, into: &read.parentSpanID, upperCase: true)
      else { return false }
    }
    adopt(read)
    return true
  }

  private mutating func readB3Multi(_ headers: TraceHeaders) {
    var read = TraceContext()
    if let flags = headers.b3Flags, flags.equals("1") {
      read.debug = true
      read.sampled = true
    } else if let value = headers.b3Sampled {
      if value.equals("1") || value.equalsIgnoringCase("true") { read.sampled = true }
      if value.equals("0") || value.equalsIgnoringCase("false") { read.sampled = false }
    }
    if let trace = headers.b3TraceID, let span = headers.b3SpanID, span.count == 16, let spanBase = span.baseAddress {
      if read.readTraceID(trace), Hex.read(spanBase, into: &read.spanID, upperCase: true), read.spanID != 0 {
        if let parent = headers.b3ParentSpanID, parent.count == 16, let parentBase = parent.baseAddress,
          !Hex.read(parentBase, into: &read.parentSpanID, upperCase: true)
        {
          read.parentSpanID = 0
        }
      } else {
        read.forgetIDs()
      }
    }
    adopt(read)
  }

  /// `0`, `1` or `d`.
  private mutating func readDecision(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30: sampled = false
    case 0x31: sampled = true
    case 0x64:
      sampled = true
      debug = true
    default: return false
    }
    return true
  }

  /// 16 or 32 digits, not all zero.
  private mutating func readTraceID(_ digits: Bytes) -> Bool {
    guard let base = digits.baseAddress else { return false }
    switch digits.count {
    case 16:
      is64Bit = true
      return Hex.read(base, into: &traceIDLow, upperCase: true) && traceIDLow != 0
    case 32:
      return Hex.read(base, into: &traceIDHigh, upperCase: true)
        && Hex.read(base + 16, into: &traceIDLow, upperCase: true) && hasTrace
    default: return false
    }
  }

  private mutating func forgetIDs() {
    traceIDHigh = 0
    traceIDLow = 0
    spanID = 0
    is64Bit = false
  }

  /// Takes over what was read, but for the formats.
  private mutating func adopt(_ read: TraceContext) {
    let formats = formats
    self = read
    self.formats = formats
  }
}
