/// What a resource's pressure means for an action or a load shed point (`envoy.config.overload.v3.Trigger`). Pure.
enum OverloadTrigger: Sendable, Equatable {
  /// All from this pressure on, nothing below.
  case threshold(Double)
  /// Nothing up to the first pressure, all from the second on, and between them in proportion.
  case scaled(from: Double, to: Double)

  /// How strong the action is to be, 0 to 1.
  func strength(at pressure: Double) -> Float {
    switch self {
    case .threshold(let threshold): pressure >= threshold ? 1 : 0
    case .scaled(let from, let to):
      if pressure <= from {
        0
      } else if pressure >= to {
        1
      } else {
        Float((pressure - from) / (to - from))
      }
    }
  }

  /// The lowest pressure at which anything happens.
  var onset: Double {
    switch self {
    case .threshold(let threshold): threshold
    case .scaled(let from, _): from
    }
  }
}
