import MeshPrimitives

/// How one of weighted clusters is chosen where more than fixed weights and a random number decides (Envoy's
/// `WeightedCluster.runtime_key_prefix` and `header_name`). Immutable but for the runtime's values; any thread.
@usableFromInline
final class ClusterChoice: Sendable {
  private let weights: [UInt32]
  /// For each cluster the runtime value that replaces its weight; empty: none.
  private let runtime: [RuntimeValue]
  /// A header whose number chooses.
  @usableFromInline let header: HeaderName?

  /// - Parameter weights: not all zero.
  init(weights: [UInt32], runtime: [RuntimeValue], header: HeaderName?) {
    self.weights = weights
    self.runtime = runtime
    self.header = header
  }

  /// The position of the chosen cluster.
  @inlinable
  func pick<R: RouteRequest & ~Copyable>(_ request: borrowing R, _ random: UInt64) -> Int {
    pick(header.flatMap { request.header($0) }.flatMap(DecimalNumber.parse), random)
  }

  /// - Parameter given: the number that the request gives; nil: it is random.
  @usableFromInline
  func pick(_ given: UInt64?, _ random: UInt64) -> Int {
    var isOverridden = !runtime.isEmpty
    var total: UInt64 = 0
    for index in weights.indices { total += weight(index, isOverridden) }
    if total == 0 {
      isOverridden = false
      for weight in weights { total += UInt64(weight) }
    }
    guard total > 0 else { return 0 }
    var point = given.map { $0 % total } ?? random.multipliedFullWidth(by: total).high
    for index in weights.indices {
      let weight = weight(index, isOverridden)
      if point < weight { return index }
      point -= weight
    }
    return 0
  }

  private func weight(_ index: Int, _ isOverridden: Bool) -> UInt64 {
    let configured = UInt64(weights[index])
    return isOverridden ? min(runtime[index].integer(or: configured), UInt64(UInt32.max)) : configured
  }
}
