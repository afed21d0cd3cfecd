import MeshIO
import MeshPrimitives

/// Takes series away that nobody counts in any more (`stats_eviction_interval`), so that those who come get the room of those
/// who have gone. At every interval the series are removed that nobody has looked up since the last one; then all workers
/// forget what they have looked up, so that each has to ask for those that it goes on counting in. So nothing that is counted
/// is lost: a series goes when a whole interval has passed without it. Confined to the main thread.
final class SeriesEviction: TimerTarget {
  private let store: StatsStore
  private let lane: Int
  /// Makes every worker forget what it has looked up, and calls back when all have.
  private let tellWorkers: (@escaping () -> Void) -> Void
  private let timer: Timer
  private var interval: Nanoseconds?
  /// All workers have forgotten what they had looked up before the series were marked.
  private var isMarked = false

  init(loop: EventLoop, store: StatsStore, lane: Int, tellWorkers: @escaping (@escaping () -> Void) -> Void) {
    self.store = store
    self.lane = lane
    self.tellWorkers = tellWorkers
    timer = Timer(loop)
    timer.aim(at: self)
  }

  /// - Parameter interval: nil: series stay.
  func configure(_ interval: Nanoseconds?) {
    guard interval != self.interval else { return }
    self.interval = interval
    guard let interval else { return timer.disarm() }
    timer.arm(after: interval)
  }

  func timerFired(_ tag: UInt8) {
    guard let interval else { return }
    timer.arm(after: interval)
    // Without any there is nothing to ask workers for.
    guard !store.labelled.isEmpty else { return }
    let removed = isMarked ? store.labelled.removeIdle() : 0
    if removed > 0 {
      let stats = IstioMetrics.stats(store).lane(lane)
      stats.subtract(.series, Int64(removed))
      stats.add(.evicted, Int64(removed))
    }
    isMarked = false
    store.labelled.markIdle()
    tellWorkers { [weak self] in self?.isMarked = true }
  }
}
