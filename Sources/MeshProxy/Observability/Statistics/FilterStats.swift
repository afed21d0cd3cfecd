import MeshPrimitives

/// `<stat_prefix>.http_local_rate_limit.…`
public enum LocalRateLimitStat: Int, StatSet {
  case enabled, enforced, ok, rateLimited

  public var definition: StatDefinition {
    switch self {
    case .enabled: .counter("enabled", "Requests that the filter looked at (filter_enabled).")
    case .enforced: .counter("enforced", "Requests that were refused because there was no token (filter_enforced).")
    case .ok: .counter("ok", "Requests for which there was a token.")
    case .rateLimited: .counter("rate_limited", "Requests for which there was no token.")
    }
  }
}

/// `cluster.<name>.ratelimit.…`
public enum RateLimitStat: Int, StatSet {
  case ok, overLimit, error, failureModeAllowed

  public var definition: StatDefinition {
    switch self {
    case .ok: .counter("ok", "Requests of which the service said that they are under their limits.")
    case .overLimit:
      .counter("over_limit", "Requests of which the service said that they are over one of their limits.")
    case .error:
      .counter("error", "Requests of which the service said nothing: not there, too slow, or no valid answer.")
    case .failureModeAllowed:
      .counter("failure_mode_allowed", "Requests that passed though the service did not answer (failure_mode_deny).")
    }
  }
}

/// `http.<stat_prefix>.cors.…`
public enum CorsStat: Int, StatSet {
  case originValid, originInvalid

  public var definition: StatDefinition {
    switch self {
    case .originValid: .counter("origin_valid", "Requests with an Origin that the route's policy allows.")
    case .originInvalid: .counter("origin_invalid", "Requests with an Origin that the route's policy does not allow.")
    }
  }
}

/// `cluster.<name>.grpc.…`
public enum GRPCStat: Int, StatSet {
  case total, success, failure, requestMessages, responseMessages

  public var definition: StatDefinition {
    switch self {
    case .total: .counter("total", "Calls that ended with a grpc-status, of the upstream or of the proxy.")
    case .success: .counter("success", "Calls that ended with grpc-status 0.")
    case .failure: .counter("failure", "Calls that ended with another grpc-status than 0.")
    case .requestMessages: .counter("request_message_count", "Messages of requests that began.")
    case .responseMessages: .counter("response_message_count", "Messages of responses that began.")
    }
  }
}

/// `http.<stat_prefix>.fault.…`
public enum FaultStat: Int, StatSet {
  case delaysInjected, abortsInjected, responsesSlowed, overflow, active

  public var definition: StatDefinition {
    switch self {
    case .delaysInjected: .counter("delays_injected", "Requests delayed.")
    case .abortsInjected: .counter("aborts_injected", "Requests aborted.")
    case .responsesSlowed: .counter("response_rl_injected", "Responses slowed down.")
    case .overflow: .counter("faults_overflow", "Faults not injected because of max_active_faults.")
    case .active: .gauge("active_faults", "Faults going on now.")
    }
  }
}
