import MeshAPI
import MeshPrimitives

/// Retry policies.
extension RouteTableBuilder {
  /// A policy; what is wrong with it is reported, and the rest of it built.
  mutating func retryPolicy(_ policy: RetryPolicyConfig, _ path: String) -> RetryPolicy {
    if let selection = policy.hostSelectionRetryMaxAttempts as Int64?, selection < 0 {
      problem(path + ".host_selection_retry_max_attempts", "must not be negative")
    }
    let statuses = policy.retriableStatusCodes.enumerated().compactMap { index, status -> Int? in
      guard (100...599).contains(status) else {
        problem("\(path).retriable_status_codes[\(index)]", "\(status) is no status (100 to 599)")
        return nil
      }
      return Int(status)
    }
    return RetryPolicy(
      conditions: conditions(policy.retryOn, path + ".retry_on"),
      maximum: policy.hasNumRetries ? policy.numRetries.value : 1,
      attemptTimeout: time(policy.perTryTimeout, path + ".per_try_timeout"),
      attemptIdleTimeout: time(policy.perTryIdleTimeout, path + ".per_try_idle_timeout"),
      statuses: statuses,
      responseConditions: headers(policy.retriableHeaders, path + ".retriable_headers"),
      requestConditions: headers(policy.retriableRequestHeaders, path + ".retriable_request_headers"),
      backOff: policy.hasRetryBackOff ? backOff(policy.retryBackOff, path + ".retry_back_off") : .init(),
      rateLimitedBackOff: policy.hasRateLimitedRetryBackOff
        ? rateLimited(policy.rateLimitedRetryBackOff, path + ".rate_limited_retry_back_off") : nil,
      hostPredicates: predicates(policy.retryHostPredicate, path + ".retry_host_predicate"),
      hostSelectionAttempts: Int(min(max(policy.hostSelectionRetryMaxAttempts, 1), 1000)),
      priorityUpdateFrequency: policy.hasRetryPriority ? priority(policy.retryPriority, path + ".retry_priority") : nil)
  }

  /// How much of a body is kept, by either field; nil if there is none.
  func replayLimit(_ exact: UInt64?, _ within: UInt32?) -> ForwardAction.ReplayLimit? {
    if let exact { return .exactly(Int(min(exact, UInt64(UInt32.max)))) }
    return within.map { .within(Int($0)) }
  }

  private mutating func conditions(_ text: String, _ path: String) -> RetryConditions {
    var result: RetryConditions = []
    let words = RetryConditions.words + RetryConditions.grpcWords
    for part in text.split(separator: ",") {
      let word = part.trimmed
      if let known = words.first(where: { $0.word == word }) {
        result.insert(known.condition)
      } else if !word.isEmpty {
        problem(path, "unknown condition \"\(word)\" (\(words.map(\.word).joined(separator: ", ")))")
      }
    }
    return result
  }

  private mutating func headers(_ matchers: [HeaderMatcher], _ path: String) -> [HeaderCondition] {
    matchers.enumerated().compactMap { conditions.header($0.element, "\(path)[\($0.offset)]") }
  }

  private mutating func backOff(_ config: RetryPolicyConfig.RetryBackOff, _ path: String) -> RetryPolicy.BackOff {
    let base = time(config.baseInterval, path + ".base_interval")
    if !config.hasBaseInterval || base < .milliseconds(1) {
      problem(path + ".base_interval", "must be at least 1 ms")
    }
    guard config.hasMaxInterval else { return .init(base: base) }
    let maximum = time(config.maxInterval, path + ".max_interval")
    if maximum < base { problem(path + ".max_interval", "must not be less than base_interval") }
    return .init(base: base, maximum: maximum)
  }

  private mutating func rateLimited(
    _ config: RetryPolicyConfig.RateLimitedRetryBackOff, _ path: String
  ) -> RetryPolicy.RateLimitedBackOff {
    if config.resetHeaders.isEmpty { problem(path + ".reset_headers", "at least one header is required") }
    let headers = config.resetHeaders.enumerated().compactMap { index, header in
      conditions.headerName(header.name, "\(path).reset_headers[\(index)].name").map {
        RetryPolicy.RateLimitedBackOff.Header(name: $0, isPointInTime: header.format == .unixTimestamp)
      }
    }
    let maximum = config.hasMaxInterval ? time(config.maxInterval, path + ".max_interval") : .seconds(300)
    return .init(headers: headers, maximum: maximum)
  }

  private mutating func predicates(
    _ predicates: [RetryPolicyConfig.RetryHostPredicate], _ path: String
  ) -> [RetryPolicy.HostPredicate] {
    predicates.enumerated().compactMap { index, predicate in
      let config = predicate.typedConfig
      if config.holds(PreviousHostsPredicate.self) { return .tried }
      if config.holds(OmitCanaryHostsPredicate.self) { return .canary }
      if let omit: OmitHostMetadataConfig = try? config.unpack() { return .metadata(omit.metadataMatch) }
      let known = [
        PreviousHostsPredicate.protoMessageName, OmitCanaryHostsPredicate.protoMessageName,
        OmitHostMetadataConfig.protoMessageName,
      ]
      problem("\(path)[\(index)].typed_config", "must hold one of \(known.joined(separator: ", "))")
      return nil
    }
  }

  private mutating func priority(_ config: RetryPolicyConfig.RetryPriority, _ path: String) -> Int? {
    guard let previous: PreviousPrioritiesConfig = try? config.typedConfig.unpack() else {
      problem(path + ".typed_config", "must hold \(PreviousPrioritiesConfig.protoMessageName)")
      return nil
    }
    if previous.updateFrequency < 1 { problem(path + ".typed_config.update_frequency", "must be at least 1") }
    return Int(max(previous.updateFrequency, 1))
  }
}
