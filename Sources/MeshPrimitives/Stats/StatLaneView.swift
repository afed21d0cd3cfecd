import Synchronization

/// One lane's share of some of a block's statistics, shown under names of its own: who counts in the block counts here
/// too, at no cost.
final class StatLaneView<Set: StatSet>: StatSource {
  private let block: StatBlock<Set>
  private let lane: Int
  private let stats: [Set]
  /// What was counted before the last reset.
  private let baseline = Mutex<[Int64]>([])

  init(_ block: StatBlock<Set>, lane: Int, stats: [Set]) {
    self.block = block
    self.lane = lane
    self.stats = stats
  }

  var definitions: [StatDefinition] { stats.map(\.definition) }

  func total(at index: Int) -> Int64 {
    let before = baseline.withLock { index < $0.count ? $0[index] : 0 }
    return block.lane(lane).value(stats[index]) &- before
  }

  func resetCounters() {
    let values = stats.map { $0.definition.kind == .counter ? block.lane(lane).value($0) : 0 }
    baseline.withLock { $0 = values }
  }
}
