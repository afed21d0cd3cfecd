/// An IPv4 or IPv6 address, as a value without storage of its own.
public struct IPAddress: Hashable, Sendable, CustomStringConvertible {
  public enum Family: UInt8, Hashable, Sendable {
    case v4 = 4
    case v6 = 6
  }

  /// The first 8 bytes of an IPv6 address as a number; zero for IPv4.
  public let high: UInt64
  /// The last 8 bytes of an IPv6 address as a number, or the 4 bytes of an IPv4 address.
  public let low: UInt64
  /// The interface index that an IPv6 link-local address belongs to (RFC 4007); 0 where there is none.
  public let scope: UInt32
  public let family: Family

  /// An IPv4 address from its 32 bits, first octet highest.
  @inlinable
  public init(v4 bits: UInt32) {
    high = 0
    low = UInt64(bits)
    scope = 0
    family = .v4
  }

  /// An IPv6 address from its two halves.
  @inlinable
  public init(v6 high: UInt64, _ low: UInt64, scope: UInt32 = 0) {
    self.high = high
    self.low = low
    self.scope = scope
    family = .v6
  }

  /// Reads an address literal; see `init(parsing:)`.
  public init?(_ text: String) {
    var text = text
    guard let parsed = text.withUTF8({ IPAddress(parsing: $0) }) else { return nil }
    self = parsed
  }

  /// Reads an address literal: four decimal octets without leading zeros, or IPv6 as RFC 4291 §2.2 writes it, with
  /// `::`, a trailing IPv4 part and a numeric zone (`fe80::1%2`). No brackets, no port, no white space.
  public init?(parsing text: Bytes) {
    guard text.count <= 64 else { return nil }
    if let bits = Self.parseV4(text, 0, text.count) {
      self.init(v4: bits)
    } else {
      guard let parsed = Self.parseV6(text) else { return nil }
      self = parsed
    }
  }

  public static var loopbackV4: IPAddress { IPAddress(v4: 0x7f00_0001) }
  public static var loopbackV6: IPAddress { IPAddress(v6: 0, 1) }

  /// IPv4 bits of an IPv4 or IPv4-mapped (`::ffff:0:0/96`) address.
  @inlinable
  public var v4Bits: UInt32? {
    if family == .v4 { return UInt32(truncatingIfNeeded: low) }
    return high == 0 && low >> 32 == 0xffff ? UInt32(truncatingIfNeeded: low) : nil
  }

  /// An IPv4-mapped IPv6 address as the IPv4 address it stands for; any other address unchanged.
  @inlinable
  public var unmapped: IPAddress { v4Bits.map { IPAddress(v4: $0) } ?? self }

  /// 127.0.0.0/8 or ::1, also mapped.
  public var isLoopback: Bool { v4Bits.map { $0 >> 24 == 127 } ?? (high == 0 && low == 1) }

  /// 0.0.0.0 or ::.
  public var isUnspecified: Bool { high == 0 && low == 0 }

  /// 169.254.0.0/16 or fe80::/10.
  public var isLinkLocal: Bool { v4Bits.map { $0 >> 16 == 0xa9fe } ?? (high >> 54 == 0xfe80 >> 6) }

  /// RFC 1918 (10/8, 172.16/12, 192.168/16) or a unique local address (RFC 4193, fc00::/7).
  public var isPrivate: Bool {
    guard let bits = v4Bits else { return high >> 57 == 0xfc >> 1 }
    return bits >> 24 == 10 || bits >> 20 == 0xac1 || bits >> 16 == 0xc0a8
  }

  /// What Envoy trusts as internal when no ranges are configured: private or loopback addresses.
  public var isInternal: Bool { isPrivate || isLoopback }

  /// Canonical text (RFC 5952 for IPv6), with the zone if there is one.
  public var description: String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.maximumText) { buffer in
      guard let base = buffer.baseAddress else { return "" }
      return String(decoding: Bytes(start: base, count: writeText(into: base)), as: UTF8.self)
    }
  }
}
