/// A block of IP addresses: all that begin with the same bits (CIDR, RFC 4632). IPv4 addresses are in ranges of IPv4
/// only, IPv6 addresses, mapped ones among them, in ranges of IPv6 only.
public struct AddressRange: Hashable, Sendable, CustomStringConvertible {
  /// The first address of the block.
  public let prefix: IPAddress
  /// How many bits all of its addresses share: 0...32 for IPv4, 0...128 for IPv6.
  public let length: Int
  private let highMask: UInt64
  private let lowMask: UInt64

  /// The block of the addresses that share `length` bits with `address`; nil if it has not so many.
  public init?(_ address: IPAddress, length: Int) {
    switch address.family {
    case .v4:
      guard (0...32).contains(length) else { return nil }
      highMask = 0
      lowMask = UInt64(UInt32.max << UInt32(32 - length))
      prefix = IPAddress(v4: UInt32(truncatingIfNeeded: address.low & lowMask))
    case .v6:
      guard (0...128).contains(length) else { return nil }
      // Smart shifts: one by 64 gives zero.
      highMask = length >= 64 ? .max : .max << UInt64(64 - length)
      lowMask = length <= 64 ? 0 : .max << UInt64(128 - length)
      prefix = IPAddress(v6: address.high & highMask, address.low & lowMask)
    }
    self.length = length
  }

  /// Reads `192.0.2.0/24`; nil if it is no address with a length that fits it.
  public init?(_ text: String) {
    guard let slash = text.utf8.firstIndex(of: UInt8(ascii: "/")), let address = IPAddress(String(text[..<slash])),
      let length = UInt8(text[text.utf8.index(after: slash)...])
    else { return nil }
    self.init(address, length: Int(length))
  }

  /// Whether `address` is in the block. The zone of an IPv6 address does not matter.
  public func contains(_ address: IPAddress) -> Bool {
    address.family == prefix.family && address.high & highMask == prefix.high && address.low & lowMask == prefix.low
  }

  public var description: String { "\(prefix)/\(length)" }
}
