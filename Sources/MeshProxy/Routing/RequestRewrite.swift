import MeshHTTP
import MeshPrimitives
import MeshRouting

/// What a route makes of a request on its way upstream, and of the response on its way back.
enum RequestRewrite {
  /// Changes a request's headers for its upstream: the expected timeout, the rewritten path (the original one is kept in
  /// `x-envoy-original-path`), then the route's own changes.
  @inline(__always)
  static func apply(
    to headers: HeaderMap, route: RouteEntry, action: ForwardAction, timeout: UpstreamTimeout, announcesTimeout: Bool
  ) {
    if announcesTimeout, timeout.response != .zero {
      if timeout.isFromHeader {
        headers.set(.xEnvoyExpectedRequestTimeout, number: timeout.response.wholeMilliseconds)
      } else {
        action.timeoutDigits.withUnsafeBufferPointer { headers.set(.xEnvoyExpectedRequestTimeout, $0) }
      }
    }
    if action.prefixRewrite != nil { rewritePath(headers, action) }
    if !route.requestHeaders.isEmpty { mutate(headers, route.requestHeaders) }
  }

  /// Changes a response's headers for the client.
  @inline(__always)
  static func applyToResponse(_ headers: HeaderMap, route: RouteEntry) {
    if !route.responseHeaders.isEmpty { mutate(headers, route.responseHeaders) }
  }

  @inline(never)
  private static func rewritePath(_ headers: HeaderMap, _ action: ForwardAction) {
    guard let path = headers.value(.path) else { return }
    // The path lies in the map's own memory, which a change may move: work on copies.
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: path.count + action.rewrittenLength(path.count)) { buffer in
      guard let base = buffer.baseAddress, let source = path.baseAddress else { return }
      base.update(from: source, count: path.count)
      let original = Bytes(start: base, count: path.count)
      let length = action.rewritePath(original, into: base + path.count)
      headers.set(.xEnvoyOriginalPath, original)
      headers.set(.path, Bytes(start: base + original.count, count: length))
    }
  }

  @inline(never)
  private static func mutate(_ headers: HeaderMap, _ mutations: HeaderMutations) {
    var target = Target(headers: headers)
    mutations.apply(to: &target)
  }

  private struct Target: HeaderMutationTarget {
    let headers: HeaderMap

    func contains(_ name: HeaderName) -> Bool { headers.value(name) != nil }
    func remove(_ name: HeaderName) { headers.remove(name) }
    func append(_ name: HeaderName, _ value: Bytes) { headers.add(name, value) }
    func set(_ name: HeaderName, _ value: Bytes) { headers.set(name, value) }
  }
}
