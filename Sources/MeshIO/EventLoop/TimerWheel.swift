import MeshPrimitives

/// What a `TimerWheel` keeps: a deadline and the links of the list it is in. `Timer` is the one subclass; tests of the
/// wheel use entries as they are.
public class TimerEntry {
  /// When to fire; `.never` while disarmed.
  public internal(set) final var deadline: MonotonicTime = .never
  /// The tick at which the wheel looks at this entry next. Not later than the deadline's.
  fileprivate final var scheduled: UInt64 = 0
  /// The list this entry is in: level * 64 + slot, `TimerWheel.expiredList`, or `TimerWheel.noList`.
  fileprivate final var list: Int32 = TimerWheel.noList
  fileprivate final unowned(unsafe) var next: TimerEntry?
  fileprivate final unowned(unsafe) var previous: TimerEntry?

  init() {}

  final var isLinked: Bool { list != TimerWheel.noList }
}

/// A hierarchical timing wheel (Varghese and Lauck 1987, scheme 6) without a clock of its own: six levels of 64 slots
/// over ticks of 2^20 ns (about 1 ms).
///
/// Re-arming is lazy, because a request moves its deadlines forward many times and almost never lets one pass: an entry
/// stays in the slot it was first put in when its deadline moves later or it is disarmed, and the wheel looks at the
/// real deadline when that slot comes up. Only moving a deadline earlier touches the links.
///
/// An entry never fires early. It fires at the first `advance` that reaches the tick after its deadline. The wheel does
/// not own its entries: an entry that is linked must be removed before it goes away.
struct TimerWheel: ~Copyable {
  static let tickBits: UInt64 = 20
  static let noList: Int32 = -1
  static let expiredList: Int32 = 64 * 6
  private static let levels = 6
  /// The farthest an entry is scheduled ahead (over a year); a later deadline is looked at again then.
  private static let horizon: UInt64 = 1 << 35

  private let heads: UnsafeMutablePointer<Unmanaged<TimerEntry>?>
  /// Bit s of element l: slot s of level l holds an entry.
  private let occupied: UnsafeMutablePointer<UInt64>
  /// Every tick up to this one has been handled.
  private var elapsed: UInt64
  /// The number of entries linked, disarmed ones that have not come up yet included.
  private(set) var count = 0

  init(now: MonotonicTime) {
    let lists = Int(Self.expiredList) + 1
    heads = .allocate(capacity: lists)
    heads.initialize(repeating: nil, count: lists)
    occupied = .allocate(capacity: Self.levels)
    occupied.initialize(repeating: 0, count: Self.levels)
    elapsed = now.nanoseconds >> Self.tickBits
  }

  deinit {
    heads.deallocate()
    occupied.deallocate()
  }

  /// Sets the deadline. Constant time; no links are touched unless the entry is not in the wheel or must fire earlier
  /// than it is scheduled.
  mutating func arm(_ entry: TimerEntry, at deadline: MonotonicTime) {
    entry.deadline = deadline
    if deadline == .never { return }
    let tick = Self.tick(of: deadline)
    if entry.list != Self.noList {
      if tick >= entry.scheduled { return }
      unlink(entry)
    }
    insert(entry, tick)
  }

  /// Forgets the entry at once. To disarm, set the deadline to `.never`: that is cheaper.
  mutating func remove(_ entry: TimerEntry) {
    entry.deadline = .never
    if entry.list != Self.noList { unlink(entry) }
  }

  /// The time at which `advance` has something to do; nil when the wheel is empty. May be earlier than the earliest
  /// deadline (an entry has to be looked at), never later.
  var nextWakeup: MonotonicTime? {
    if heads[Int(Self.expiredList)] != nil { return MonotonicTime(nanoseconds: 0) }
    guard let next = nextOccupied() else { return nil }
    return MonotonicTime(nanoseconds: next.tick << Self.tickBits)
  }

  /// Moves on to `now`: entries whose deadline has passed become available from `popExpired`.
  mutating func advance(to now: MonotonicTime) {
    let target = now.nanoseconds >> Self.tickBits
    // Under load, many batches fall into one tick.
    if target <= elapsed { return }
    while let next = nextOccupied(), next.tick <= target {
      elapsed = next.tick
      lookAt(list: next.list)
    }
    elapsed = target
  }

  /// The next entry whose deadline has passed, disarmed and unlinked; nil when there is none left. Entries that were
  /// disarmed or moved since `advance` are not returned.
  mutating func popExpired() -> TimerEntry? {
    while let head = heads[Int(Self.expiredList)] {
      let entry = head.takeUnretainedValue()
      unlink(entry)
      let deadline = entry.deadline
      if deadline == .never { continue }
      let tick = Self.tick(of: deadline)
      if tick > elapsed {
        insert(entry, tick)
        continue
      }
      entry.deadline = .never
      return entry
    }
    return nil
  }

  /// The first tick that is not before `deadline`.
  private static func tick(of deadline: MonotonicTime) -> UInt64 {
    let whole = deadline.nanoseconds >> tickBits
    return whole &<< tickBits == deadline.nanoseconds ? whole : whole &+ 1
  }

  private mutating func lookAt(list: Int32) {
    while let head = heads[Int(list)] {
      let entry = head.takeUnretainedValue()
      unlink(entry)
      let deadline = entry.deadline
      if deadline == .never { continue }
      let tick = Self.tick(of: deadline)
      if tick <= elapsed {
        entry.scheduled = elapsed
        link(entry, Self.expiredList)
      } else {
        insert(entry, tick)
      }
    }
  }

  /// Links an unlinked entry for `tick`, but not before the next tick and not beyond the horizon.
  private mutating func insert(_ entry: TimerEntry, _ tick: UInt64) {
    let scheduled = min(max(tick, elapsed &+ 1), elapsed &+ Self.horizon)
    entry.scheduled = scheduled
    let differing = (elapsed ^ scheduled) | 63
    let level = min((63 - differing.leadingZeroBitCount) / 6, Self.levels - 1)
    let slot = Int(scheduled >> UInt64(level * 6) & 63)
    occupied[level] |= 1 << UInt64(slot)
    link(entry, Int32(truncatingIfNeeded: level * 64 + slot))
  }

  private mutating func link(_ entry: TimerEntry, _ list: Int32) {
    let head = heads[Int(list)]
    entry.list = list
    entry.previous = nil
    if let head {
      let first = head.takeUnretainedValue()
      entry.next = first
      first.previous = entry
    } else {
      entry.next = nil
    }
    heads[Int(list)] = Unmanaged.passUnretained(entry)
    count += 1
  }

  private mutating func unlink(_ entry: TimerEntry) {
    let list = Int(entry.list)
    let next = entry.next
    if let previous = entry.previous {
      previous.next = next
    } else {
      heads[list] = next.map { Unmanaged.passUnretained($0) }
      if next == nil, list < Int(Self.expiredList) { occupied[list >> 6] &= ~(1 << UInt64(list & 63)) }
    }
    next?.previous = entry.previous
    entry.next = nil
    entry.previous = nil
    entry.list = Self.noList
    count -= 1
  }

  /// The earliest slot that holds an entry, and the tick at which it begins. All of a level's entries come before all
  /// of the next level's, so the first level that holds any has it.
  private func nextOccupied() -> (tick: UInt64, list: Int32)? {
    var level = 0
    while level < Self.levels {
      let bits = occupied[level]
      if bits != 0 {
        let shift = UInt64(level * 6)
        let current = elapsed >> shift & 63
        // Only the last level wraps: its entries reach beyond its own range.
        let distance = UInt64((bits >> current | bits << ((64 &- current) & 63)).trailingZeroBitCount)
        let tick = ((elapsed >> shift) + distance) << shift
        return (tick, Int32(level * 64) + Int32(truncatingIfNeeded: (current + distance) & 63))
      }
      level += 1
    }
    return nil
  }
}
