/// Why outlier detection ejects an endpoint.
public enum EjectionType: UInt8, Sendable, CaseIterable {
  /// Responses with 500 or more, in a row.
  case consecutive5xx
  /// Responses with 502, 503 or 504, in a row.
  case consecutiveGatewayFailure
  /// No connection, a lost one, or no answer in time, in a row; where these are counted apart.
  case consecutiveLocalOriginFailure
  /// Too large a share of the requests of an interval failed.
  case failurePercentage
  /// The same for failures of the kind of `consecutiveLocalOriginFailure`.
  case failurePercentageLocalOrigin

  /// As in the event log (`OutlierEjectionType`).
  var eventName: StaticString {
    switch self {
    case .consecutive5xx: "CONSECUTIVE_5XX"
    case .consecutiveGatewayFailure: "CONSECUTIVE_GATEWAY_FAILURE"
    case .consecutiveLocalOriginFailure: "CONSECUTIVE_LOCAL_ORIGIN_FAILURE"
    case .failurePercentage: "FAILURE_PERCENTAGE"
    case .failurePercentageLocalOrigin: "FAILURE_PERCENTAGE_LOCAL_ORIGIN"
    }
  }

  /// The field that says when (`OutlierDetection`).
  var field: StaticString {
    switch self {
    case .consecutive5xx: "consecutive_5xx"
    case .consecutiveGatewayFailure: "consecutive_gateway_failure"
    case .consecutiveLocalOriginFailure: "consecutive_local_origin_failure"
    case .failurePercentage, .failurePercentageLocalOrigin: "failure_percentage_threshold"
    }
  }

  /// The field that says with which chance.
  var enforcingField: StaticString {
    switch self {
    case .consecutive5xx: "enforcing_consecutive_5xx"
    case .consecutiveGatewayFailure: "enforcing_consecutive_gateway_failure"
    case .consecutiveLocalOriginFailure: "enforcing_consecutive_local_origin_failure"
    case .failurePercentage: "enforcing_failure_percentage"
    case .failurePercentageLocalOrigin: "enforcing_failure_percentage_local_origin"
    }
  }

  /// Whether a row of failures is the reason.
  var isConsecutive: Bool { self != .failurePercentage && self != .failurePercentageLocalOrigin }
}

/// Reasons that have come together.
struct EjectionTypes: OptionSet, Sendable {
  let rawValue: UInt8

  init(rawValue: UInt8) { self.rawValue = rawValue }
  init(_ type: EjectionType) { rawValue = 1 << type.rawValue }

  /// In the order in which Envoy looks at them.
  var ordered: [EjectionType] {
    let order: [EjectionType] = [
      .consecutiveGatewayFailure, .consecutive5xx, .consecutiveLocalOriginFailure, .failurePercentage,
      .failurePercentageLocalOrigin,
    ]
    return order.filter { contains(Self($0)) }
  }
}
