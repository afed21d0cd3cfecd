import MeshHTTP
import MeshPrimitives

/// `envoy.filters.http.local_ratelimit`: refuses requests for which there is no token in a bucket that the proxy keeps
/// itself. Belongs in front of what costs much. Answers 429 with RL and `local_rate_limited`, counts in
/// `<stat_prefix>.http_local_rate_limit.…`.
///
/// Reused by its worker, so that a request that is counted allocates nothing.
final class LocalRateLimitFilter: StreamFilter {
  struct Configuration: GateFilterConfiguration {
    let settings: LocalRateLimitSettings

    func gate(_ routes: [any RouteFilterConfiguration]) -> (any RequestGate)? {
      let tells = settings.showsBucket || routes.contains { ($0 as? LocalRateLimitSettings)?.showsBucket == true }
      return tells ? nil : settings
    }

    func makeFilter(_ callbacks: StreamFilterCallbacks, worker: Worker) -> any StreamFilter {
      let filter = worker.idleLocalRateLimits.popLast() ?? LocalRateLimitFilter()
      filter.callbacks = callbacks
      filter.settings = settings
      return filter
    }
  }

  static let name = "envoy.filters.http.local_ratelimit"

  private var callbacks: StreamFilterCallbacks?
  private var settings: LocalRateLimitSettings?
  /// The bucket of which the response tells.
  private var bucket: TokenBucket?

  private init() {}

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    guard let callbacks, var settings else { return .proceed }
    if let route = callbacks.routeConfiguration() as? LocalRateLimitSettings {
      settings = route
      self.settings = route
    }
    return settings.judge(callbacks.stream, headers) { bucket = $0 } ? .proceed : .stop
  }

  func responseHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    if let bucket, let callbacks { RateLimitHeaders.write(bucket, now: callbacks.loop.now, to: headers) }
    return .proceed
  }

  func destroy() {
    guard let worker = callbacks?.stream.worker else { return }
    callbacks = nil
    settings = nil
    bucket = nil
    if worker.idleLocalRateLimits.count < 256 { worker.idleLocalRateLimits.append(self) }
  }
}

/// Where responses tell nothing of the bucket, the request's head is all that is looked at.
extension LocalRateLimitSettings: RequestGate {
  func admit(_ stream: Stream, _ headers: HeaderMap) -> Bool { judge(stream, headers) { _ in } }

  func admit(_ stream: Stream, _ headers: HeaderMap, _ route: any RouteFilterConfiguration) -> Bool {
    (route as? LocalRateLimitSettings ?? self).judge(stream, headers) { _ in }
  }

  /// - Parameter tell: takes the bucket that decided, if the response is to tell of it.
  /// - Returns: false if the request has been answered.
  @inline(__always)
  fileprivate func judge(_ stream: Stream, _ headers: HeaderMap, tell: (TokenBucket?) -> Void) -> Bool {
    let worker = stream.worker
    guard enabled.includes(worker.random.next()) else { return true }
    let stats = stats.lane(worker.index)
    stats.add(.enabled)
    let verdict = take(stream)
    if showsBucket { tell(verdict.bucket) }
    if verdict.isAllowed {
      stats.add(.ok)
      return true
    }
    stats.add(.rateLimited)
    guard enforced.includes(worker.random.next()) else {
      if !passingHeaders.isEmpty { RequestRewrite.mutate(headers, of: stream, passingHeaders) }
      return true
    }
    stats.add(.enforced)
    if let bucket = verdict.bucket { stream.refusedBy = .bucket(statPrefix, bucket, verdict.descriptor) }
    stream.sendLocalReply(reply)
    return false
  }
}
