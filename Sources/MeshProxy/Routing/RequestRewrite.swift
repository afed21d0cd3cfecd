import MeshHTTP
import MeshPrimitives
import MeshRouting

/// What a route makes of a request on its way upstream, and of the response on its way back.
enum RequestRewrite {
  private static let originalHost = HeaderName("x-envoy-original-host")

  /// A path that a rewrite makes longer than this is not sent: many a match of many bytes can make much of a little.
  static let maximumPath = 65_536

  /// Changes a request's headers for its upstream: the expected timeout, then the route's own changes, then host and path
  /// (what they were is kept in `x-envoy-original-host` and `x-envoy-original-path`).
  /// - Returns: false if the path has become too long to be sent.
  @inline(__always)
  static func apply(
    to headers: HeaderMap, of stream: Stream, route: RouteEntry, action: ForwardAction, timeout: UpstreamTimeout,
    announcesTimeout: Bool
  ) -> Bool {
    if announcesTimeout {
      if let announced = timeout.announced {
        if announced != .zero { headers.set(.xEnvoyExpectedRequestTimeout, number: announced.wholeMilliseconds) }
      } else if timeout.response != .zero {
        action.timeoutDigits.withUnsafeBufferPointer { headers.set(.xEnvoyExpectedRequestTimeout, $0) }
      }
    }
    if let call = timeout.call, call != .zero { headers.setGRPCTimeout(call) }
    if !route.requestHeaders.isEmpty { mutate(headers, of: stream, route.requestHeaders) }
    return action.isPlain || rewrite(headers, of: stream, action)
  }

  /// Changes a response's headers for the client. They are the stream's.
  @inline(__always)
  static func applyToResponse(_ headers: HeaderMap, of stream: Stream, route: RouteEntry) {
    if route.changesResponse { changeResponse(headers, of: stream, route) }
  }

  @inline(never)
  private static func changeResponse(_ headers: HeaderMap, of stream: Stream, _ route: RouteEntry) {
    if !route.responseHeaders.isEmpty { mutate(headers, of: stream, route.responseHeaders) }
    // Only a request that came as far as a cluster has attempts; one that found no endpoint was its first.
    if route.attemptCount.contains(.inResponse), stream.info.cluster != nil {
      headers.set(.xEnvoyAttemptCount, number: UInt64(max(stream.info.attempts, 1)))
    }
  }

  /// An attempt begins: what depends on it is written.
  @inline(never)
  static func prepareAttempt(_ headers: HeaderMap, of stream: Stream, _ endpoint: Endpoint) {
    guard let route = stream.info.route, case .forward(let action) = route.action else { return }
    if route.attemptCount.contains(.inRequest) {
      headers.set(.xEnvoyAttemptCount, number: UInt64(stream.info.attempts))
    }
    if action.takesEndpointHost, !endpoint.hostname.isEmpty {
      replaceHost(headers, Array(endpoint.hostname.utf8), action, isRetry: stream.info.attempts > 1)
    }
  }

  /// Where a redirect leads.
  static func location(_ redirect: Redirect, _ stream: Stream) -> [UInt8] {
    redirect.location(for: RoutingView(stream.requestHeaders)) { HeaderFormat.write($0, of: stream, into: &$1) }
  }

  // MARK: Host and path

  @inline(never)
  private static func rewrite(_ headers: HeaderMap, of stream: Stream, _ action: ForwardAction) -> Bool {
    if let host = action.clusterHost { host.withUnsafeBufferPointer { headers.set(.host, $0) } }
    let write: (any HeaderValueFormat, inout [UInt8]) -> Void = { HeaderFormat.write($0, of: stream, into: &$1) }
    guard let path = headers.value(.path) else { return true }
    if let rewrite = action.hostRewrite {
      let host = rewrite.apply(path: path, header: { headers.value($0) }, write: write)
      if HeaderMap.isAuthority(host) { replaceHost(headers, host, action, isRetry: false) }
    }
    // The path lies in the map's own memory, which the changes above may have moved.
    guard let path = headers.value(.path), let new = action.rewrittenPath(path, write: write) else { return true }
    guard new.count <= maximumPath else { return false }
    Array(path).withUnsafeBufferPointer { headers.set(.xEnvoyOriginalPath, $0) }
    new.withUnsafeBufferPointer { headers.set(.path, $0) }
    return true
  }

  private static func replaceHost(_ headers: HeaderMap, _ host: [UInt8], _ action: ForwardAction, isRetry: Bool) {
    if !isRetry {
      let original = headers.value(.host).map { Array($0) } ?? []
      original.withUnsafeBufferPointer { original in
        headers.set(originalHost, original)
        if action.appendsForwardedHost { appendForwardedHost(headers, original) }
      }
    }
    host.withUnsafeBufferPointer { headers.set(.host, $0) }
  }

  /// Puts the host behind what `x-forwarded-host` says, unless it is the last one there.
  private static func appendForwardedHost(_ headers: HeaderMap, _ host: Bytes) {
    guard !host.isEmpty else { return }
    headers.combine(.xForwardedHost, ",")
    if let known = headers.value(.xForwardedHost) {
      let start = known.lastIndex(of: UInt8(ascii: ",")).map { $0 + 1 } ?? 0
      var last = known.slice(start, known.count - start)
      while let first = last.first, first == UInt8(ascii: " ") { last = last.slice(1, last.count - 1) }
      if last.equals(host) { return }
    }
    headers.appendValue(.xForwardedHost, separator: ",", host)
  }

  // MARK: Headers

  /// Makes changes whose formats see the stream as it is now.
  @inline(never)
  static func mutate(_ headers: HeaderMap, of stream: Stream, _ mutations: HeaderMutations) {
    var target = Target(headers: headers, stream: stream)
    mutations.apply(to: &target)
  }

  private struct Target: HeaderMutationTarget {
    let headers: HeaderMap
    let stream: Stream

    func contains(_ name: HeaderName) -> Bool { headers.value(name) != nil }
    func remove(_ name: HeaderName) { headers.remove(name) }
    func append(_ name: HeaderName, _ value: Bytes) { headers.add(name, value) }
    func set(_ name: HeaderName, _ value: Bytes) { headers.set(name, value) }
    func write(_ format: any HeaderValueFormat, into buffer: inout [UInt8]) {
      HeaderFormat.write(format, of: stream, into: &buffer)
    }
  }
}
