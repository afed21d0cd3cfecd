import MeshAPI
import MeshHTTP
import MeshPrimitives
import MeshRouting
import SwiftProtobuf

/// `envoy.filters.http.ratelimit`: asks a rate limit service about requests that are counted under something, and refuses
/// those that it says are over a limit. Requests wait for the answer. Sets RL with `request_rate_limited`, or RLSE with
/// `rate_limiter_error` if there is no answer and that is to refuse; counts in `cluster.<name>.ratelimit.…` of the
/// cluster that a request goes to.
final class GlobalRateLimitFilter: StreamFilter {
  struct Configuration: FilterConfiguration {
    let settings: GlobalRateLimitSettings

    func makeFilter(_ callbacks: StreamFilterCallbacks, worker: Worker) -> any StreamFilter {
      GlobalRateLimitFilter(callbacks, settings)
    }
  }

  private enum State {
    /// Not asked yet; or there is nothing to ask.
    case idle
    case asking
    case answered
    /// The request is refused.
    case refused
  }

  static let name = "envoy.filters.http.ratelimit"

  private let callbacks: StreamFilterCallbacks
  private let settings: GlobalRateLimitSettings
  private var route: GlobalRateLimitSettings.ForRoute?
  private var state = State.idle
  private var call: SideCall?
  /// The filter is in `requestHeaders`: nothing waits yet.
  private var isStarting = false
  /// The filter looks at this request.
  private var isForRequest = false
  private var stats: StatLane<RateLimitStat>?
  private var headers: HeaderMap?
  /// What is asked about.
  private var descriptors: [RateLimitDescriptor] = []
  /// For the response, wherever it comes from.
  private var responseFields: [(name: HeaderName, value: [UInt8])] = []

  private init(_ callbacks: StreamFilterCallbacks, _ settings: GlobalRateLimitSettings) {
    self.callbacks = callbacks
    self.settings = settings
  }

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    route = callbacks.routeConfiguration() as? GlobalRateLimitSettings.ForRoute
    guard settings.enabled.includes(callbacks.random()), settings.origin.includes(headers) else { return .proceed }
    isForRequest = true
    let stream = callbacks.stream
    descriptors = settings.descriptors(of: stream, route, atEnd: false)
    guard !descriptors.isEmpty, let cluster = callbacks.cluster else { return .proceed }
    stats = settings.statistics.of(cluster.identity.statName).lane(stream.worker.index)
    self.headers = headers
    state = .asking
    isStarting = true
    call = settings.service.ask(descriptors, domain: domain, of: stream) { [self] in answered($0) }
    isStarting = false
    switch state {
    case .asking: return .stopAll
    case .refused: return .stop
    case .idle, .answered: return .proceed
    }
  }

  private var domain: String { route.flatMap { $0.domain.isEmpty ? nil : $0.domain } ?? settings.domain }

  private func answered(_ answer: RateLimitService.Answer) {
    guard state == .asking else { return }
    state = .answered
    call = nil
    switch answer {
    case .failed(let failure): serviceFailed(failure)
    case .said(let response): said(response)
    }
  }

  private func serviceFailed(_ failure: GRPCUnary.Failure) {
    stats?.add(.error)
    settings.service.report(failure)
    if settings.denial.includes(callbacks.random()) {
      state = .refused
      return callbacks.sendLocalReply(settings.errorReply)
    }
    stats?.add(.failureModeAllowed)
    goOn()
  }

  private func said(_ response: RateLimitServiceResponse) {
    noteMetadata(response)
    let isOver = response.overallCode == .overLimit
    stats?.add(isOver ? .overLimit : .ok)
    // What the request's cluster would have answered, as it were.
    if isOver { callbacks.cluster?.count(settings.reply.status, isInternal: true) }
    responseFields = Self.fields(response.responseHeadersToAdd)
    if isOver, settings.marksLimited { responseFields.append((Self.limitedName, Array("true".utf8))) }
    if settings.showsLimit { responseFields += RateLimitHeaders.fields(response.statuses) }
    guard isOver, settings.enforced.includes(callbacks.random()) else {
      if let headers {
        for (name, value) in Self.fields(response.requestHeadersToAdd) {
          value.withUnsafeBufferPointer { headers.add(name, $0) }
        }
      }
      return goOn()
    }
    state = .refused
    callbacks.stream.refusedBy = RateLimitRefusal(domain: domain, descriptors, response.statuses)
    var reply = settings.reply
    reply.body = Array(response.rawBody)
    reply.fields = responseFields
    responseFields = []
    callbacks.sendLocalReply(reply)
  }

  private func goOn() {
    headers = nil
    if !isStarting { callbacks.resumeRequest() }
  }

  private static let limitedName = HeaderName("x-envoy-ratelimited")

  /// Headers that the service wants to be added. What could not be sent, or would change how messages end, is left out.
  private static func fields(_ headers: [HeaderValue]) -> [(name: HeaderName, value: [UInt8])] {
    headers.compactMap { header in
      HeaderMutations.changeableName(header.key).map { ($0, Array(header.value.utf8)) }
    }
  }

  private func noteMetadata(_ response: RateLimitServiceResponse) {
    guard response.hasDynamicMetadata, !response.dynamicMetadata.fields.isEmpty else { return }
    callbacks.updateInfo { info in
      Self.note(response.dynamicMetadata, under: Self.name, in: &info.metadata, depth: 0)
    }
  }

  /// Texts, numbers and booleans, each under the names that lead to it.
  private static func note(
    _ structure: Google_Protobuf_Struct, under prefix: String, in metadata: inout [String: String], depth: Int
  ) {
    guard depth < 16 else { return }
    for (name, value) in structure.fields {
      let key = "\(prefix).\(name)"
      switch value.kind {
      case .stringValue(let text): metadata[key] = text
      case .boolValue(let flag): metadata[key] = flag ? "true" : "false"
      case .numberValue(let number):
        metadata[key] = Int64(exactly: number).map { "\($0)" } ?? "\(number)"
      case .structValue(let members): note(members, under: key, in: &metadata, depth: depth + 1)
      default: break
      }
    }
  }

  func responseHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    if responseFields.isEmpty { return .proceed }
    for (name, value) in responseFields { value.withUnsafeBufferPointer { headers.add(name, $0) } }
    responseFields = []
    return .proceed
  }

  func destroy() {
    headers = nil
    if state == .asking {
      state = .answered
      call?.cancel()
      call = nil
    } else if isForRequest {
      tellEnd()
    }
  }

  /// Tells the service of a request that has ended. What it answers does not matter.
  private func tellEnd() {
    let stream = callbacks.stream
    let descriptors = settings.descriptors(of: stream, route, atEnd: true)
    if descriptors.isEmpty { return }
    _ = settings.service.ask(descriptors, domain: domain, of: stream) { _ in }
  }
}

extension GlobalRateLimitSettings.Origin {
  /// Whether a request is one of those.
  func includes(_ headers: HeaderMap) -> Bool {
    if self == .both { return true }
    let isInternal = headers.value(.xEnvoyInternal)?.equals("true") ?? false
    return isInternal == (self == .inside)
  }
}
