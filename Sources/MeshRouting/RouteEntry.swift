import MeshAPI
import MeshPrimitives

/// What becomes of a request: the result of a look-up. A route to weighted clusters has one entry for each of them.
/// Immutable; shared by all threads.
public final class RouteEntry: Sendable {
  /// What is done with the request.
  public enum Action: Sendable {
    /// It is sent to a cluster.
    case forward(ForwardAction)
    /// The client is sent elsewhere.
    case redirect(Redirect)
    /// It is answered here.
    case directResponse(DirectResponse)
    /// It is for the filters; the router has no cluster for it.
    case nonForwarding
  }

  /// Where `x-envoy-attempt-count` is sent.
  public struct AttemptCount: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let inRequest = AttemptCount(rawValue: 1)
    public static let inResponse = AttemptCount(rawValue: 2)
  }

  /// `Route.name`; often empty.
  public let name: String
  /// The name of the virtual host that the route belongs to.
  public let virtualHostName: String
  /// Where the route stands: `virtual_hosts[virtualHostIndex].routes[routeIndex]`. The redirect of `require_tls` belongs
  /// to no route: its `routeIndex` is -1.
  public let virtualHostIndex: Int
  public let routeIndex: Int
  public let action: Action
  /// Changes to the request before it is sent upstream.
  public let requestHeaders: HeaderMutations
  /// Changes to the response before it is sent downstream; answers of the proxy itself included.
  public let responseHeaders: HeaderMutations
  public let attemptCount: AttemptCount
  /// For each filter that routes configure, the message of the most special level that has one: positions in
  /// `RouteTable.filterSources`.
  public let filterSources: [Int]
  /// What a span for the request is called; nil if the route does not say.
  public let decorator: Decorator?
  /// What the route says of traces; nil: nothing.
  public let tracing: RouteTraceRules?
  /// `Route.metadata`.
  public let metadata: Metadata
  /// `VirtualHost.metadata`.
  public let virtualHostMetadata: Metadata
  /// What the request is counted under by rate limit filters; nil if nothing is said.
  public let rateLimits: RouteRateLimits?
  /// Something is to be changed in the response's headers.
  public let changesResponse: Bool

  /// Envoy's `Decorator`.
  public struct Decorator: Sendable {
    public let operation: [UInt8]
    /// Whether the other side hears of it.
    public let propagates: Bool
  }

  init(
    name: String, virtualHostName: String, virtualHostIndex: Int, routeIndex: Int, action: Action,
    requestHeaders: HeaderMutations = HeaderMutations(), responseHeaders: HeaderMutations = HeaderMutations(),
    attemptCount: AttemptCount = [], filterSources: [Int] = [], decorator: Decorator? = nil,
    tracing: RouteTraceRules? = nil, metadata: Metadata = Metadata(), virtualHostMetadata: Metadata = Metadata(),
    rateLimits: RouteRateLimits? = nil
  ) {
    self.name = name
    self.virtualHostName = virtualHostName
    self.virtualHostIndex = virtualHostIndex
    self.routeIndex = routeIndex
    self.action = action
    self.requestHeaders = requestHeaders
    self.responseHeaders = responseHeaders
    self.attemptCount = attemptCount
    self.filterSources = filterSources
    self.decorator = decorator
    self.tracing = tracing
    self.metadata = metadata
    self.virtualHostMetadata = virtualHostMetadata
    self.rateLimits = rateLimits
    changesResponse = !responseHeaders.isEmpty || attemptCount.contains(.inResponse)
  }
}

/// What one level of a route table says to one filter (`typed_per_filter_config`).
public struct RouteFilterSource: Sendable {
  /// The name of the filter.
  public let filter: String
  /// Where the message stands, for errors.
  public let path: String
  public let config: TypedConfig
}
