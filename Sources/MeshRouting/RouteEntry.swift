import MeshAPI
import MeshPrimitives

/// What becomes of a request: the result of a look-up. A route to weighted clusters has one entry for each of them.
/// Immutable; shared by all threads.
public final class RouteEntry: Sendable {
  /// What is done with the request.
  public enum Action: Sendable {
    /// It is sent to a cluster.
    case forward(ForwardAction)
    /// It is answered here.
    case directResponse(DirectResponse)
  }

  /// `Route.name`; often empty.
  public let name: String
  /// The name of the virtual host that the route belongs to.
  public let virtualHostName: String
  /// Where the route stands: `virtual_hosts[virtualHostIndex].routes[routeIndex]`.
  public let virtualHostIndex: Int
  public let routeIndex: Int
  public let action: Action
  /// Changes to the request before it is sent upstream.
  public let requestHeaders: HeaderMutations
  /// Changes to the response before it is sent downstream.
  public let responseHeaders: HeaderMutations
  /// The route's configuration of HTTP filters, by the filter's name.
  public let typedPerFilterConfig: [String: TypedConfig]
  /// What a span for the request is called; nil if the route does not say.
  public let decorator: Decorator?

  /// Envoy's `Decorator`.
  public struct Decorator: Sendable {
    public let operation: [UInt8]
    /// Whether the other side hears of it.
    public let propagates: Bool
  }

  init(
    name: String, virtualHostName: String, virtualHostIndex: Int, routeIndex: Int, action: Action,
    requestHeaders: HeaderMutations, responseHeaders: HeaderMutations, typedPerFilterConfig: [String: TypedConfig],
    decorator: Decorator? = nil
  ) {
    self.name = name
    self.virtualHostName = virtualHostName
    self.virtualHostIndex = virtualHostIndex
    self.routeIndex = routeIndex
    self.action = action
    self.requestHeaders = requestHeaders
    self.responseHeaders = responseHeaders
    self.typedPerFilterConfig = typedPerFilterConfig
    self.decorator = decorator
  }
}

/// An answer the proxy gives itself (Envoy's `DirectResponseAction`).
public final class DirectResponse: Sendable {
  /// 200 … 599.
  public let status: Int
  /// At most 4,096 bytes.
  public let body: [UInt8]

  init(status: Int, body: [UInt8]) {
    self.status = status
    self.body = body
  }
}

/// Where and how a request is sent (Envoy's `RouteAction`, with one cluster chosen).
public final class ForwardAction: Sendable {
  /// The name of the cluster.
  public let cluster: String
  /// Its position in `RouteTable.clusterNames`.
  public let clusterIndex: Int
  /// What replaces the matched part of the path; nil if the path stays.
  public let prefixRewrite: [UInt8]?
  /// How many bytes the route's path rule matched.
  public let matchedLength: Int
  /// Bounds the whole response, from the end of the request on; zero: no bound. Default: 15 s.
  public let timeout: Nanoseconds
  /// `timeout` in whole milliseconds as decimal digits: what the upstream is told.
  public let timeoutDigits: [UInt8]
  /// Bounds the time without any activity, in place of the connection manager's; zero: no bound; nil: not given.
  public let idleTimeout: Nanoseconds?
  /// Bounds the whole stream, in place of the connection manager's; zero: no bound; nil: not given.
  public let maximumStreamDuration: Nanoseconds?
  /// Who gets copies of the requests.
  public let mirrors: [RequestMirror]

  init(
    cluster: String, clusterIndex: Int, prefixRewrite: [UInt8]?, matchedLength: Int, timeout: Nanoseconds,
    idleTimeout: Nanoseconds?, maximumStreamDuration: Nanoseconds?, mirrors: [RequestMirror]
  ) {
    self.cluster = cluster
    self.clusterIndex = clusterIndex
    self.prefixRewrite = prefixRewrite
    self.matchedLength = matchedLength
    self.timeout = timeout
    timeoutDigits = Array("\(timeout.wholeMilliseconds)".utf8)
    self.idleTimeout = idleTimeout
    self.maximumStreamDuration = maximumStreamDuration
    self.mirrors = mirrors
  }

  /// The length of what `rewritePath` writes for a path of `length` bytes.
  public func rewrittenLength(_ length: Int) -> Int {
    guard let prefixRewrite else { return length }
    return prefixRewrite.count + length - min(matchedLength, length)
  }

  /// Writes the path that is sent upstream: the matched part is replaced, the rest (the query too) stays as it is.
  /// Nothing is tidied up: `/` for `/service` makes `//x` of `/service/x`, as in Envoy.
  /// - Parameters:
  ///   - path: the request's path that led to this route, query included.
  ///   - buffer: room for `rewrittenLength(path.count)` bytes.
  /// - Returns: how many bytes were written.
  public func rewritePath(_ path: Bytes, into buffer: UnsafeMutablePointer<UInt8>) -> Int {
    var count = 0
    var kept = path
    if let prefixRewrite {
      let matched = min(matchedLength, path.count)
      kept = path.slice(matched, path.count - matched)
      for byte in prefixRewrite {
        buffer[count] = byte
        count += 1
      }
    }
    if let base = kept.baseAddress { (buffer + count).update(from: base, count: kept.count) }
    return count + kept.count
  }
}
