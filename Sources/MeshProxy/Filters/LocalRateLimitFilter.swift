import MeshHTTP
import MeshPrimitives

/// `envoy.filters.http.local_ratelimit`: refuses requests for which there is no token in a bucket that the proxy keeps
/// itself. Belongs in front of what costs much. Answers 429 with RL and `local_rate_limited`, counts in
/// `<stat_prefix>.http_local_rate_limit.…`.
///
/// Reused by its worker, so that a request that is counted allocates nothing.
final class LocalRateLimitFilter: StreamFilter {
  struct Configuration: FilterConfiguration {
    let settings: LocalRateLimitSettings

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
    let random = callbacks.random()
    guard settings.enabled.includes(random) else { return .proceed }
    let stream = callbacks.stream
    let stats = settings.stats.lane(stream.worker.index)
    stats.add(.enabled)
    let verdict = settings.take(stream)
    if settings.showsBucket { bucket = verdict.bucket }
    if verdict.isAllowed {
      stats.add(.ok)
      return .proceed
    }
    stats.add(.rateLimited)
    guard settings.enforced.includes(callbacks.random()) else {
      if !settings.passingHeaders.isEmpty { RequestRewrite.mutate(headers, of: stream, settings.passingHeaders) }
      return .proceed
    }
    stats.add(.enforced)
    callbacks.sendLocalReply(settings.reply)
    return .stop
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
