import MeshPrimitives

/// An answer that sends the client elsewhere (Envoy's `RedirectAction`). Immutable; shared by all threads.
public final class Redirect: Sendable {
  /// 301, 302, 303, 307 or 308.
  public let status: Int
  /// Empty: the request's.
  let scheme: [UInt8]
  /// Empty: the request's.
  let host: [UInt8]
  /// 0: the host's.
  let port: UInt32
  /// What becomes of the path; nil: it stays.
  let path: PathRewrite?
  let matchedLength: Int
  let dropsQuery: Bool
  /// A port that was the default of the request's scheme goes when the scheme changes.
  let dropsDefaultPort: Bool

  init(
    status: Int, scheme: [UInt8] = [], host: [UInt8] = [], port: UInt32 = 0, path: PathRewrite? = nil,
    matchedLength: Int = 0,
    dropsQuery: Bool = false, dropsDefaultPort: Bool = true
  ) {
    self.status = status
    self.scheme = scheme
    self.host = host
    self.port = port
    self.path = path
    self.matchedLength = matchedLength
    self.dropsQuery = dropsQuery
    self.dropsDefaultPort = dropsDefaultPort
  }

  /// The same URL over TLS (`require_tls`).
  static let toTLS = Redirect(status: 301, scheme: Array("https".utf8), dropsDefaultPort: false)

  /// Where the client is sent: an absolute URI, the value of `location`.
  /// - Parameter write: appends what a format makes of the request.
  public func location<R: RouteRequest & ~Copyable>(
    for request: borrowing R, write: (any HeaderValueFormat, inout [UInt8]) -> Void
  ) -> [UInt8] {
    let original = request.scheme
    var uri: [UInt8] = []
    if scheme.isEmpty { uri += original } else { uri += scheme }
    let changesScheme = !scheme.elementsEqual(original) && !scheme.isEmpty
    uri += Array("://".utf8)
    if host.isEmpty {
      uri += requestHost(request.host, original, changesScheme: changesScheme)
    } else {
      uri += host
    }
    if port > 0 { uri += Array(":\(port)".utf8) }
    appendPath(request.path, to: &uri, write)
    return uri
  }

  /// The request's host, with its port unless that is replaced or was there by default.
  private func requestHost(_ host: Bytes, _ scheme: Bytes, changesScheme: Bool) -> Bytes {
    let start = Authority.portStart(host)
    guard start < host.count else { return host }
    let name = host.slice(0, start)
    if port > 0 { return name }
    guard changesScheme, dropsDefaultPort else { return host }
    let text = host.slice(start, host.count - start)
    let isDefault = scheme.equals("https") ? text.equals(":443") : text.equals(":80")
    return isDefault ? name : host
  }

  private func appendPath(
    _ path: Bytes, to uri: inout [UInt8], _ write: (any HeaderValueFormat, inout [UInt8]) -> Void
  ) {
    let bare = PathRule.withoutQuery(path)
    var new = self.path?.apply(to: bare, matchedLength: matchedLength, write: write) ?? []
    var keepsQuery = !dropsQuery
    switch self.path {
    case .literal, .format: keepsQuery = keepsQuery && !new.contains(UInt8(ascii: "?"))
    case .prefix, .substitution, nil: break
    }
    if new.isEmpty { new += bare }
    if new.first != UInt8(ascii: "/") { uri.append(UInt8(ascii: "/")) }
    uri += new
    if keepsQuery { uri += path.slice(bare.count, path.count - bare.count) }
  }
}

/// The parts of `host[:port]`.
enum Authority {
  /// Where the port begins, with its colon; the length if there is none. The colons of an IPv6 address begin no port.
  static func portStart(_ host: Bytes) -> Int {
    var position = host.count
    while position > 0 {
      position -= 1
      if host[position] == UInt8(ascii: "]") { return host.count }
      if host[position] == UInt8(ascii: ":") { return position }
    }
    return host.count
  }
}
