/// Where a socket is bound or connected: an IP address with a port, or a Unix socket's path. 32 bytes; copying an IP
/// address allocates nothing.
public struct SocketAddress: Hashable, Sendable, CustomStringConvertible {
  /// The address; `0.0.0.0` for a Unix socket.
  public let ip: IPAddress
  /// The port; 0 for a Unix socket.
  public let port: UInt16
  private let box: PathBox?

  @inlinable
  public init(_ ip: IPAddress, port: UInt16) {
    self.init(ip: ip, port: port, box: nil)
  }

  @usableFromInline
  init(ip: IPAddress, port: UInt16, box: PathBox?) {
    self.ip = ip
    self.port = port
    self.box = box
  }

  /// Reads an address literal; nil if `ip` is none. IPv6 with or without brackets.
  public init?(ip: String, port: UInt16) {
    var text = Substring(ip)
    if text.hasPrefix("["), text.hasSuffix("]") {
      text = text.dropFirst().dropLast()
      guard text.utf8.contains(UInt8(ascii: ":")) else { return nil }
    }
    guard let address = IPAddress(String(text)) else { return nil }
    self.init(address, port: port)
  }

  /// Reads `127.0.0.1:8000` or `[::1]:8000`.
  public init?(_ text: String) {
    guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")), colon != text.startIndex else { return nil }
    let host = text[..<colon]
    let digits = text[text.utf8.index(after: colon)...]
    guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 &- 0x30 < 10 }), let port = UInt16(digits) else { return nil }
    if host.utf8.contains(UInt8(ascii: ":")), !host.hasPrefix("[") { return nil }
    self.init(ip: String(host), port: port)
  }

  /// A Unix socket. At most 108 bytes (`sun_path`), of which a path name needs one for the terminator; a name that
  /// begins with `@` is abstract (Envoy's notation) and not in the file system.
  public init?(unixPath path: String) {
    let count = path.utf8.count
    guard count > 0, count <= 107, !path.utf8.contains(0) else { return nil }
    self.init(ip: IPAddress(v4: 0), port: 0, box: PathBox(path))
  }

  /// The other end of a Unix socket that was not bound to a name.
  public static let unnamedUnix = SocketAddress(ip: IPAddress(v4: 0), port: 0, box: PathBox(""))

  /// The path of a Unix socket (empty: unnamed); nil for an IP address.
  public var unixPath: String? { box?.path }

  public var isUnix: Bool { box != nil }

  /// Whether it is a Unix socket with a name in the file system.
  public var isPathName: Bool {
    guard let box else { return false }
    return !box.path.isEmpty && box.path.utf8.first != UInt8(ascii: "@")
  }

  /// An IPv4-mapped IPv6 address as the IPv4 address it stands for: an IPv6 socket that takes IPv4 too names its peers
  /// so. Any other address unchanged.
  public var unmapped: SocketAddress {
    guard box == nil, ip.family == .v6, let bits = ip.v4Bits else { return self }
    return SocketAddress(IPAddress(v4: bits), port: port)
  }

  /// The address without the port; for a Unix socket its path.
  public var ipText: String { box?.path ?? ip.description }

  public var isLoopback: Bool { box == nil && ip.isLoopback }
  public var isUnspecified: Bool { box == nil && ip.isUnspecified }
  /// RFC 1918 or RFC 4193.
  public var isPrivate: Bool { box == nil && ip.isPrivate }
  /// Private or loopback; a Unix socket is always on this machine.
  public var isInternal: Bool { box != nil || ip.isInternal }

  /// The same address with another port; a Unix socket unchanged.
  public func with(port: UInt16) -> SocketAddress { box == nil ? SocketAddress(ip, port: port) : self }

  /// `127.0.0.1:8000`, `[::1]:8000`, or the path.
  public var description: String {
    if let box { return box.path }
    return ip.family == .v6 ? "[\(ip)]:\(port)" : "\(ip):\(port)"
  }

  /// The most bytes `writeText` and `writeAddressText` write.
  public static var maximumText: Int { 108 }

  /// Writes the address without the port (a Unix socket's path) to `out`, which must have room for `maximumText`
  /// bytes. - Returns: the number of bytes written.
  @discardableResult
  public func writeText(into out: UnsafeMutablePointer<UInt8>) -> Int {
    if let box { return box.write(into: out) }
    return ip.writeText(into: out)
  }

  /// Writes what `description` says to `out`, which must have room for `maximumText` bytes.
  /// - Returns: the number of bytes written.
  @discardableResult
  public func writeTextWithPort(into out: UnsafeMutablePointer<UInt8>) -> Int {
    if let box { return box.write(into: out) }
    var at = 0
    if ip.family == .v6 {
      out[0] = UInt8(ascii: "[")
      at = 1 + ip.writeText(into: out + 1)
      out[at] = UInt8(ascii: "]")
      at += 1
    } else {
      at = ip.writeText(into: out)
    }
    out[at] = UInt8(ascii: ":")
    return at + 1 + IPAddress.writeDecimal(UInt32(port), out + at + 1)
  }
}

/// Holds a Unix socket's path, so that an IP address stays small.
@usableFromInline
final class PathBox: Hashable, Sendable {
  let path: String

  init(_ path: String) { self.path = path }

  @usableFromInline
  static func == (a: PathBox, b: PathBox) -> Bool { a.path == b.path }
  @usableFromInline
  func hash(into hasher: inout Hasher) { hasher.combine(path) }

  func write(into out: UnsafeMutablePointer<UInt8>) -> Int {
    var at = 0
    for byte in path.utf8 {
      out[at] = byte
      at += 1
    }
    return at
  }
}
