import MeshPrimitives

/// Why a request is traced, as packed into its `x-request-id`: the 15th character of the UUID, where version 4 has a `4`.
public enum TraceReason: UInt8, Sendable {
  /// Not traced.
  case notTraced = 0x34  // "4"
  /// Chosen by random sampling.
  case sampled = 0x39  // "9"
  /// Forced by `x-envoy-force-trace`.
  case forced = 0x61  // "a"
  /// Forced by `x-client-trace-id`.
  case clientTraceID = 0x62  // "b"
}

/// The value of `x-request-id`: a UUID in lower case (RFC 9562 §5.4) that also carries the `TraceReason`
/// (Envoy's `UuidRequestIdConfig`).
public enum RequestID {
  /// The length of every identifier, in bytes.
  public static let length = 36
  /// Where the trace reason is.
  public static let reasonOffset = 14

  /// Writes a new identifier.
  /// - Parameters:
  ///   - high, low: 128 random bits, of which 122 are used.
  ///   - buffer: room for `length` bytes.
  @inlinable @inline(__always)
  public static func write(
    _ high: UInt64, _ low: UInt64, reason: TraceReason = .notTraced, into buffer: UnsafeMutablePointer<UInt8>
  ) {
    // xxxxxxxx-xxxx-4xxx-[89ab]xxx-xxxxxxxxxxxx
    let variant = (low & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000
    let raw = UnsafeMutableRawPointer(buffer)
    let middle = Hex.digits(UInt32(truncatingIfNeeded: high))
    let node = Hex.digits(UInt32(truncatingIfNeeded: variant >> 32))
    raw.storeBytes(of: Hex.digits(UInt32(truncatingIfNeeded: high >> 32)).littleEndian, as: UInt64.self)
    raw.storeBytes(of: UInt32(truncatingIfNeeded: middle).littleEndian, toByteOffset: 9, as: UInt32.self)
    raw.storeBytes(of: UInt32(truncatingIfNeeded: middle >> 32).littleEndian, toByteOffset: 14, as: UInt32.self)
    raw.storeBytes(of: UInt32(truncatingIfNeeded: node).littleEndian, toByteOffset: 19, as: UInt32.self)
    raw.storeBytes(of: UInt32(truncatingIfNeeded: node >> 32).littleEndian, toByteOffset: 24, as: UInt32.self)
    raw.storeBytes(
      of: Hex.digits(UInt32(truncatingIfNeeded: variant)).littleEndian, toByteOffset: 28, as: UInt64.self)
    buffer[8] = 0x2d
    buffer[13] = 0x2d
    buffer[18] = 0x2d
    buffer[23] = 0x2d
    buffer[reasonOffset] = reason.rawValue
  }

  /// Whether `value` has the shape of a UUID (either case, any version): only then may its reason be read or replaced.
  public static func isUUID(_ value: Bytes) -> Bool {
    guard value.count == length else { return false }
    for index in 0..<length {
      let byte = value[index]
      switch index {
      case 8, 13, 18, 23:
        if byte != 0x2d { return false }
      default:
        if byte &- 0x30 >= 10, byte.asciiLowercased &- 0x61 >= 6 { return false }
      }
    }
    return true
  }

  /// The first eight digits of an identifier as a number: the same choice wherever a request is seen.
  /// - Parameter value: a UUID.
  static func head(_ value: Bytes) -> UInt64 {
    var number: UInt64 = 0
    for byte in value.slice(0, 8) {
      let lower = byte.asciiLowercased
      number = number << 4 | UInt64(lower &- 0x30 < 10 ? lower &- 0x30 : (lower &- 0x57) & 15)
    }
    return number
  }

  /// The same of any identifier; nil if it does not begin with eight such digits.
  static func number(of value: Bytes) -> UInt32? {
    guard value.count >= 8, value.slice(0, 8).allSatisfy({ $0 &- 0x30 < 10 || $0.asciiLowercased &- 0x61 < 6 }) else {
      return nil
    }
    return UInt32(truncatingIfNeeded: head(value))
  }

  /// What a supplied identifier says; nil if it is no UUID. A version that is not known says `notTraced`, as in Envoy.
  public static func reason(of value: Bytes) -> TraceReason? {
    guard isUUID(value) else { return nil }
    return TraceReason(rawValue: value[reasonOffset].asciiLowercased) ?? .notTraced
  }

  /// Replaces the reason in a supplied identifier.
  /// - Returns: false, with nothing changed, if `value` is no UUID and so cannot carry it.
  public static func setReason(_ reason: TraceReason, in value: UnsafeMutableBufferPointer<UInt8>) -> Bool {
    guard isUUID(Bytes(value)) else { return false }
    value[reasonOffset] = reason.rawValue
    return true
  }
}
