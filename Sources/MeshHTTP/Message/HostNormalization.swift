import MeshPrimitives

/// What is removed from a request's host, so that `domains` need not name every way to write it. A pure value.
public struct HostNormalization: Equatable, Sendable {
  public enum Port: Sendable {
    case keep
    /// It goes if it is the one that the client connected to (`strip_matching_host_port`).
    case stripMatching
    /// It goes (`strip_any_host_port`).
    case stripAny
  }

  /// The dot at the end of the name goes (`strip_trailing_host_dot`).
  public var stripsTrailingDot = false
  public var port = Port.keep

  public init() {}

  /// Whether there is nothing to do, whatever the host.
  public var isIdle: Bool { !stripsTrailingDot && port == .keep }

  /// Writes to `out`, which has room for `host`, what is left of it; nil if that is all of it. `host` is a valid authority;
  /// `localPort` is the port that the client connected to.
  func apply(_ host: Bytes, localPort: UInt16, into out: UnsafeMutablePointer<UInt8>) -> Int? {
    guard let source = host.baseAddress else { return nil }
    let colon = Self.portColon(host)
    var length = colon ?? host.count
    // A name that is only a dot stays: no name is not valid.
    if stripsTrailingDot, length > 1, source[length - 1] == 0x2e { length -= 1 }
    out.update(from: source, count: length)
    if let colon, !drops(host.slice(colon + 1, host.count - colon - 1), localPort) {
      (out + length).update(from: source + colon, count: host.count - colon)
      length += host.count - colon
    }
    return length == host.count ? nil : length
  }

  private func drops(_ digits: Bytes, _ localPort: UInt16) -> Bool {
    guard port != .keep, digits.count > 0 else { return false }
    if port == .stripAny { return true }
    var value = 0
    for digit in digits where digit &- 0x30 < 10 { value = min(value * 10 + Int(digit &- 0x30), 65536) }
    return value == Int(localPort)
  }

  /// The place of the colon before the port; nil without one. In an IPv6 address colons stand before the `]`.
  private static func portColon(_ host: Bytes) -> Int? {
    var index = host.count
    while index > 0 {
      index -= 1
      if host[index] == 0x3a { return index }
      if host[index] &- 0x30 >= 10 { return nil }
    }
    return nil
  }
}

extension HeaderMap {
  /// Applies `rules` to `host`.
  public func normalizeHost(_ rules: HostNormalization, localPort: UInt16) {
    guard let host = value(.host), host.count > 0 else { return }
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: host.count) { buffer in
      guard let out = buffer.baseAddress, let length = rules.apply(host, localPort: localPort, into: out) else {
        return
      }
      set(.host, Bytes(start: out, count: length))
    }
  }
}
