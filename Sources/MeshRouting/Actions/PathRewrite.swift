import MeshPrimitives

/// What becomes of a request's path on its way upstream, or in a redirect.
public enum PathRewrite: Sendable {
  /// The matched part is replaced.
  case prefix([UInt8])
  /// Parts of the path are replaced.
  case substitution(Substitution)
  /// The path is replaced.
  case literal([UInt8])
  /// The path is replaced by what the format makes.
  case format(any HeaderValueFormat)

  /// The new path, without query; empty if the path is to stay.
  /// - Parameters:
  ///   - path: without query.
  ///   - matchedLength: how many bytes of it the route's rule matched.
  ///   - write: appends what a format makes of the request.
  func apply(
    to path: Bytes, matchedLength: Int, write: (any HeaderValueFormat, inout [UInt8]) -> Void
  ) -> [UInt8] {
    switch self {
    case .prefix(let text):
      let matched = min(matchedLength, path.count)
      return text + path[matched...]
    case .substitution(let substitution): return substitution.apply(to: path) ?? Array(path)
    case .literal(let text): return text
    case .format(let format):
      var result: [UInt8] = []
      write(format, &result)
      return result
    }
  }
}

/// What becomes of a request's host on its way upstream.
public enum HostRewrite: Sendable {
  case literal([UInt8])
  /// The endpoint's own name.
  case automatic
  /// The value of a header.
  case header(HeaderName)
  /// What the path becomes.
  case path(Substitution)
  case format(any HeaderValueFormat)

  /// The new host, before anybody has looked whether it is one; empty if the host is to stay.
  /// - Parameters:
  ///   - path: the request's, with query or without.
  ///   - header: the value of a header of the request.
  ///   - write: appends what a format makes of the request.
  public func apply(
    path: Bytes, header: (HeaderName) -> Bytes?, write: (any HeaderValueFormat, inout [UInt8]) -> Void
  ) -> [UInt8] {
    switch self {
    case .literal(let host): return host
    case .automatic: return []
    case .header(let name): return header(name).map { Array($0) } ?? []
    case .path(let substitution): return substitution.apply(to: PathRule.withoutQuery(path)) ?? []
    case .format(let format):
      var result: [UInt8] = []
      write(format, &result)
      return result
    }
  }
}
