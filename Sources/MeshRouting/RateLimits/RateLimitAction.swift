import MeshAPI
import MeshPrimitives

/// What makes one entry of a descriptor (`RateLimit.Action`), compiled. Immutable; shared by all threads.
enum RateLimitAction: Sendable {
  case sourceCluster
  case destinationCluster
  case header(HeaderName, key: [UInt8], isOptional: Bool)
  case query(name: [UInt8], key: [UInt8], isOptional: Bool)
  case client
  /// The range of so many bits, of an IPv4 and an IPv6 address.
  case clientRange(v4: Int, v6: Int)
  case constant(RateLimitEntry)
  /// For requests whose headers match, or do not.
  case headersMatch(HeaderMatching, wanted: Bool, RateLimitEntry)
  case queryMatches([QueryCondition], wanted: Bool, RateLimitEntry)
  /// A text in what filters noted, or in the route's metadata.
  case metadata(path: [String], ofRoute: Bool, key: [UInt8], fallback: [UInt8], isOptional: Bool)

  enum Outcome: Equatable {
    case entry(RateLimitEntry)
    /// There is no entry, and the descriptor goes on without it.
    case none
    /// There is no descriptor.
    case noDescriptor
  }

  func apply<Subject: RateLimitSubject>(to subject: Subject) -> Outcome {
    switch self {
    case .sourceCluster: return .entry(.init(key: Self.sourceClusterKey, value: subject.ownCluster))
    case .destinationCluster:
      return Self.entry(Self.destinationClusterKey, subject.destinationCluster, false)
    case .header(let name, let key, let isOptional):
      return Self.entry(key, Self.value(of: name, in: subject.request), isOptional)
    case .query(let name, let key, let isOptional):
      return Self.entry(key, DecodedQuery.value(of: name, in: subject.request.path), isOptional)
    case .client:
      return subject.client.map { .entry(.init(key: Self.clientKey, value: Array($0.description.utf8))) }
        ?? .noDescriptor
    case .clientRange(let v4, let v6):
      guard let client = subject.client,
        let range = AddressRange(client, length: client.family == .v4 ? v4 : v6)
      else { return .noDescriptor }
      return .entry(.init(key: Self.clientRangeKey, value: Array(range.description.utf8)))
    case .constant(let entry): return .entry(entry)
    case .headersMatch(let matching, let wanted, let entry):
      return matching.matches(subject.request) == wanted ? .entry(entry) : .noDescriptor
    case .queryMatches(let conditions, let wanted, let entry):
      let path = subject.request.path
      let matches = conditions.allSatisfy { $0.holds(value: DecodedQuery.value(of: $0.name, in: path)) }
      return matches == wanted ? .entry(entry) : .noDescriptor
    case .metadata(let path, let ofRoute, let key, let fallback, let isOptional):
      var text = (ofRoute ? Self.text(path, subject.routeMetadata) : subject.noted(path)).map { Array($0.utf8) } ?? []
      if text.isEmpty { text = fallback }
      return Self.entry(key, text.isEmpty ? nil : text, isOptional)
    }
  }

  private static let sourceClusterKey = Array("source_cluster".utf8)
  private static let destinationClusterKey = Array("destination_cluster".utf8)
  private static let clientKey = Array("remote_address".utf8)
  private static let clientRangeKey = Array("masked_remote_address".utf8)

  private static func entry(_ key: [UInt8], _ value: [UInt8]?, _ isOptional: Bool) -> Outcome {
    if let value { return .entry(.init(key: key, value: value)) }
    return isOptional ? .none : .noDescriptor
  }

  private static func value<R: RouteRequest>(of name: HeaderName, in request: R) -> [UInt8]? {
    switch name.id {
    case .method: Array(request.method)
    case .path: Array(request.path)
    case .scheme: Array(request.scheme)
    case .host: Array(request.host)
    default: request.header(name).map { Array($0) }
    }
  }

  /// The text at the end of a path: a namespace and the names of members in it.
  private static func text(_ path: [String], _ metadata: Metadata) -> String? {
    guard let namespace = path.first, var fields = metadata.filterMetadata[namespace]?.fields else { return nil }
    for (number, name) in path.dropFirst().enumerated() {
      switch fields[name]?.kind {
      case .structValue(let members): fields = members.fields
      case .stringValue(let text) where number == path.count - 2: return text
      default: return nil
      }
    }
    return nil
  }
}

/// The parameters of a query with percent-encoding resolved, in names and values (what `rate_limits` look at; routes look
/// at them as they came).
enum DecodedQuery {
  /// The value of the first parameter called `name`; empty if it has none, nil if there is no such parameter.
  /// - Parameter path: with the query.
  static func value(of name: [UInt8], in path: Bytes) -> [UInt8]? {
    guard let mark = path.firstIndex(of: UInt8(ascii: "?")) else { return nil }
    var start = mark + 1
    while start <= path.count {
      var end = start
      var equals = -1
      while end < path.count, path[end] != UInt8(ascii: "&"), path[end] != UInt8(ascii: "#") {
        if equals < 0, path[end] == UInt8(ascii: "=") { equals = end }
        end += 1
      }
      let nameEnd = equals < 0 ? end : equals
      if decoded(path.slice(start, nameEnd - start)) == name {
        return equals < 0 ? [] : decoded(path.slice(equals + 1, end - equals - 1))
      }
      if end == path.count || path[end] == UInt8(ascii: "#") { return nil }
      start = end + 1
    }
    return nil
  }

  private static func decoded(_ text: Bytes) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: text.count) { out, count in
      count = text.percentDecode(into: UnsafeMutableBufferPointer(rebasing: out[..<text.count]))
    }
  }
}
