import MeshHTTP
import MeshPrimitives

/// The header of the PROXY protocol, versions 1 and 2: who the client behind a proxy is
/// (https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt).
struct ProxyHeader: Equatable {
  enum Version: UInt8, Equatable, Sendable { case v1 = 1, v2 = 2 }

  enum Reading: Equatable {
    /// More bytes are needed.
    case incomplete
    /// The connection begins with something else.
    case absent
    /// It begins as a header does, and breaks the rules.
    case malformed(Version)
    /// A header, and its length in bytes.
    case complete(ProxyHeader, Int)
  }

  /// The client, and where it connected to.
  struct Addresses: Equatable {
    var source: SocketAddress
    var destination: SocketAddress
  }

  var version: Version
  /// nil: the connection is the proxy's own, or nothing is known of the client.
  var addresses: Addresses?
  /// What version 2 says besides.
  var typedValues: [ConnectionFindings.TypedValue] = []

  private static var signatureV1: Bytes { Bytes("PROXY ") }
  static let signatureV2: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
  /// A header of version 1, with its line end.
  private static let longestV1 = 107
  /// Addresses and typed values of a header of version 2: what fits beside them into one peek.
  private static let longestV2 = 64 * 1024 - 16

  /// Reads the bytes with which a connection begins; they may end anywhere.
  static func read(_ bytes: Bytes) -> Reading {
    if bytes.count == 0 { return .incomplete }
    let shortV1 = min(bytes.count, signatureV1.count)
    if bytes.slice(0, shortV1).equals(signatureV1.slice(0, shortV1)) {
      return shortV1 == signatureV1.count ? readV1(bytes) : .incomplete
    }
    let shortV2 = min(bytes.count, signatureV2.count)
    if bytes.prefix(shortV2).elementsEqual(signatureV2.prefix(shortV2)) {
      return shortV2 == signatureV2.count ? readV2(bytes) : .incomplete
    }
    return .absent
  }

  // MARK: Version 1: one line of text

  private static func readV1(_ bytes: Bytes) -> Reading {
    guard let end = bytes.prefix(longestV1).firstIndex(of: 0x0a) else {
      return bytes.count < longestV1 ? .incomplete : .malformed(.v1)
    }
    guard bytes[end - 1] == 0x0d else { return .malformed(.v1) }
    let words = bytes.slice(0, end - 1).split(separator: 0x20, omittingEmptySubsequences: false)
    let protocolName = String(decoding: words[1], as: UTF8.self)
    if protocolName == "UNKNOWN" { return .complete(ProxyHeader(version: .v1), end + 1) }
    guard words.count == 6, protocolName == "TCP4" || protocolName == "TCP6" else { return .malformed(.v1) }
    let family: IPAddress.Family = protocolName == "TCP4" ? .v4 : .v6
    guard let source = address(words[2], words[4], family), let destination = address(words[3], words[5], family) else {
      return .malformed(.v1)
    }
    return .complete(
      ProxyHeader(version: .v1, addresses: Addresses(source: source, destination: destination)), end + 1)
  }

  private static func address(_ ip: Slice<Bytes>, _ port: Slice<Bytes>, _ family: IPAddress.Family) -> SocketAddress? {
    guard let ip = IPAddress(parsing: Bytes(rebasing: ip)), ip.family == family, ip.scope == 0, port.count > 0,
      port.count <= 5, port.allSatisfy({ $0 &- 0x30 < 10 }),
      let number = UInt16(String(decoding: port, as: UTF8.self))
    else { return nil }
    return SocketAddress(ip, port: number)
  }

  // MARK: Version 2: binary

  private static func readV2(_ bytes: Bytes) -> Reading {
    guard bytes.count >= 16 else { return .incomplete }
    let command = bytes[12] & 0x0f
    let length = Int(bytes[14]) << 8 | Int(bytes[15])
    guard bytes[12] >> 4 == 2, command <= 1, length <= longestV2 else { return .malformed(.v2) }
    guard bytes.count >= 16 + length else { return .incomplete }
    let body = bytes.slice(16, length)
    var header = ProxyHeader(version: .v2)
    // A connection of the proxy's own, such as a health check: the rest is to be skipped.
    if command == 0 { return .complete(header, 16 + length) }
    let size: Int
    switch bytes[13] {
    case 0x00: size = 0
    // The addresses are the same whether it was a stream or datagrams, as in Envoy.
    case 0x11, 0x12: size = 12
    case 0x21, 0x22: size = 36
    // Unix sockets have no address that could be compared with anything.
    default: return .malformed(.v2)
    }
    guard length >= size else { return .malformed(.v2) }
    if size == 12 {
      header.addresses = Addresses(
        source: SocketAddress(IPAddress(v4: UInt32(number(body, 0, 4))), port: UInt16(number(body, 8, 2))),
        destination: SocketAddress(IPAddress(v4: UInt32(number(body, 4, 4))), port: UInt16(number(body, 10, 2))))
    } else if size == 36 {
      header.addresses = Addresses(
        source: SocketAddress(IPAddress(v6: number(body, 0, 8), number(body, 8, 8)), port: UInt16(number(body, 32, 2))),
        destination: SocketAddress(
          IPAddress(v6: number(body, 16, 8), number(body, 24, 8)), port: UInt16(number(body, 34, 2))))
    }
    guard let values = typedValues(body.slice(size, length - size)) else { return .malformed(.v2) }
    header.typedValues = values
    return .complete(header, 16 + length)
  }

  private static func typedValues(_ bytes: Bytes) -> [ConnectionFindings.TypedValue]? {
    var values: [ConnectionFindings.TypedValue] = []
    var at = 0
    while at < bytes.count {
      guard at + 3 <= bytes.count else { return nil }
      let length = Int(bytes[at + 1]) << 8 | Int(bytes[at + 2])
      guard at + 3 + length <= bytes.count else { return nil }
      values.append(.init(type: bytes[at], value: Array(bytes.slice(at + 3, length))))
      at += 3 + length
    }
    return values
  }

  private static func number(_ bytes: Bytes, _ offset: Int, _ count: Int) -> UInt64 {
    var value: UInt64 = 0
    for index in offset..<offset + count { value = value << 8 | UInt64(bytes[index]) }
    return value
  }

  // MARK: Writing

  /// The header as it goes before everything else on a connection. Addresses of two families, and those of Unix sockets,
  /// cannot be told: then it says that nothing is known.
  var bytes: [UInt8] { version == .v1 ? textBytes : binaryBytes }

  private var sameFamily: Addresses? {
    guard let addresses, !addresses.source.isUnix, !addresses.destination.isUnix else { return nil }
    let source = addresses.source.unmapped
    let destination = addresses.destination.unmapped
    return source.ip.family == destination.ip.family ? Addresses(source: source, destination: destination) : nil
  }

  private var textBytes: [UInt8] {
    guard let addresses = sameFamily else { return Array("PROXY UNKNOWN\r\n".utf8) }
    let family = addresses.source.ip.family == .v4 ? "TCP4" : "TCP6"
    let text =
      "PROXY \(family) \(addresses.source.ipText) \(addresses.destination.ipText) \(addresses.source.port) "
      + "\(addresses.destination.port)\r\n"
    return Array(text.utf8)
  }

  private var binaryBytes: [UInt8] {
    var body: [UInt8] = []
    func put(_ value: UInt64, _ count: Int) {
      for shift in (0..<count).reversed() { body.append(UInt8(truncatingIfNeeded: value >> UInt64(shift * 8))) }
    }
    func put(_ ip: IPAddress) {
      if ip.family == .v6 { put(ip.high, 8) }
      put(ip.low, ip.family == .v6 ? 8 : 4)
    }
    var head = Self.signatureV2
    if let addresses = sameFamily {
      head += [0x21, addresses.source.ip.family == .v4 ? 0x11 : 0x21]
      put(addresses.source.ip)
      put(addresses.destination.ip)
      put(UInt64(addresses.source.port), 2)
      put(UInt64(addresses.destination.port), 2)
    } else {
      head += [0x20, 0x00]
    }
    for value in typedValues where body.count + 3 + value.value.count <= Int(UInt16.max) {
      body.append(value.type)
      put(UInt64(value.value.count), 2)
      body += value.value
    }
    let length = UInt16(body.count)
    return head + [UInt8(length >> 8), UInt8(truncatingIfNeeded: length)] + body
  }
}
