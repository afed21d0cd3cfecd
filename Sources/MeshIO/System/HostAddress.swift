import Glibc
import MeshPrimitives

/// The addresses of this host.
public enum HostAddress {
  /// The first IPv4 address of an interface that is up and no loopback, else the first such IPv6 address that is not
  /// link-local; 127.0.0.1 if there is none. What this host calls itself towards others (Envoy's local address).
  public static var primary: IPAddress {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return .loopbackV4 }
    defer { freeifaddrs(list) }
    var other: IPAddress?
    var next = list
    while let entry = next {
      next = entry.pointee.ifa_next
      let flags = entry.pointee.ifa_flags
      guard flags & UInt32(IFF_UP) != 0, flags & UInt32(IFF_LOOPBACK) == 0,
        let address = entry.pointee.ifa_addr, let ip = address.ip
      else { continue }
      if ip.family == .v4 { return ip }
      if other == nil, !ip.isLinkLocal { other = ip }
    }
    return other ?? .loopbackV4
  }
}

extension UnsafeMutablePointer<sockaddr> {
  fileprivate var ip: IPAddress? {
    var text = [CChar](repeating: 0, count: 64)
    let length: Int
    switch Int32(pointee.sa_family) {
    case AF_INET: length = MemoryLayout<sockaddr_in>.size
    case AF_INET6: length = MemoryLayout<sockaddr_in6>.size
    default: return nil
    }
    guard getnameinfo(self, socklen_t(length), &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0 else {
      return nil
    }
    // A zone ("%eth0") makes it no plain literal: link-local.
    return IPAddress(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
  }
}
