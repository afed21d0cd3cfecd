import MeshPrimitives

/// A cluster that gets a copy of a route's requests, whose answers nobody reads (Envoy's `RequestMirrorPolicy`).
public struct RequestMirror: Sendable {
  /// Where the copies go.
  public enum Target: Sendable {
    /// The position of a configured cluster in `RouteTable.clusterNames`.
    case cluster(Int)
    /// The cluster that the request names in this header; none if it is absent or names no cluster.
    case header(HeaderName)
  }

  public let target: Target
  /// Which requests are copied.
  public let fraction: RuntimeFraction
  /// Whether the copy's host says that it is one: `-shadow` behind the name.
  public let appendsSuffix: Bool
  /// Whether the copy's trace is kept; nil: as the request's.
  public let sampled: Bool?
  /// How the copy's headers differ from the request's.
  public let requestHeaders: HeaderMutations
  /// What replaces the copy's host; empty if it stays. No suffix is appended to it.
  public let hostRewrite: [UInt8]

  /// Writes the host of a copy: `shop.example:8080` becomes `shop.example-shadow:8080`.
  /// - Parameters:
  ///   - host: the request's host.
  ///   - buffer: room for `host.count + 7` bytes.
  /// - Returns: how many bytes were written.
  public static func appendSuffix(_ host: Bytes, into buffer: UnsafeMutablePointer<UInt8>) -> Int {
    let nameLength = portSeparator(host) ?? host.count
    let suffix = Bytes("-shadow")
    var count = 0
    for part in [host.slice(0, nameLength), suffix, host.slice(nameLength, host.count - nameLength)] {
      if let base = part.baseAddress { (buffer + count).update(from: base, count: part.count) }
      count += part.count
    }
    return count
  }

  /// Where the port begins, with its colon. The colons of an IPv6 address in brackets are none.
  private static func portSeparator(_ host: Bytes) -> Int? {
    var position = host.count - 1
    while position >= 0 {
      switch host[position] {
      case UInt8(ascii: ":"): return position
      case UInt8(ascii: "0")...UInt8(ascii: "9"): position -= 1
      default: return nil
      }
    }
    return nil
  }
}
