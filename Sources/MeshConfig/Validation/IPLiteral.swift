import Glibc

/// Whether text is an IP address rather than a host name.
enum IPLiteral {
  static func isValid(_ text: String) -> Bool {
    var address = in6_addr()
    if inet_pton(AF_INET, text, &address) == 1 { return true }
    return inet_pton(AF_INET6, text, &address) == 1
  }
}
