import MeshPrimitives

/// How long to wait before a stream that was lost is begun again: at once after one that was of use, else twice as long after
/// each failure, with a random part, so that many proxies do not return together.
struct ReconnectDelay {
  /// After the first failure.
  var base = Nanoseconds.milliseconds(500)
  var maximum = Nanoseconds.seconds(30)
  private var failures = 0

  /// The next wait: between half of and all that the number of failures makes.
  mutating func next(_ random: inout Random) -> Nanoseconds {
    let doubled = base.rawValue << UInt64(min(failures, 16))
    let bound = max(min(doubled, maximum.rawValue), 2)
    failures = min(failures + 1, 16)
    return Nanoseconds(rawValue: bound / 2 + random.below(bound / 2))
  }

  /// The stream has been of use.
  mutating func reset() { failures = 0 }
}
