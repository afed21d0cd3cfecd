import MeshIO
import MeshPrimitives

/// What waits for its export, and when what is sent: decided without socket and clock. Confined to the main thread.
///
/// One export at a time takes all that waits, up to a size, so that batches grow while a collector is slow; a few may be
/// under way at once. A collector that does not take them is asked again later, by one export at a time and ever more
/// rarely, until it answers.
struct ExportQueue {
  struct Rules: Sendable, Equatable {
    var spansPerExport = 2_048
    var bytesPerExport = 1 << 20
    /// Exports under way at once; those that wait to be sent again count.
    var exports = 4
    /// How often one export is sent at most.
    var attempts = 5
    var firstPause = Nanoseconds.seconds(1)
    var longestPause = Nanoseconds.seconds(30)
  }

  /// What is sent in one piece.
  struct Export {
    var batches: [SpanBatch]
    /// How many spans.
    var count: Int
    /// How many bytes of spans.
    var size: Int
    /// How often it has been sent before.
    var attempts = 0
  }

  /// What becomes of an export.
  enum Verdict: Equatable {
    case done, again, lost
  }

  let rules: Rules
  private var waiting: [SpanBatch] = []
  /// How many of `waiting` have been taken.
  private var taken = 0
  /// Those to be sent again; older than all that waits.
  private var again: [Export] = []
  /// Exports under way.
  private(set) var inFlight = 0
  /// The collector has not taken the last ones.
  private(set) var failures = 0
  /// Nothing is sent before.
  private var notBefore: MonotonicTime?
  /// The last export found nobody who would answer.
  private var isUnanswered = false

  init(_ rules: Rules = Rules()) { self.rules = rules }

  var isEmpty: Bool { taken == waiting.count && again.isEmpty }
  /// Nothing waits, nothing is under way.
  var isIdle: Bool { isEmpty && inFlight == 0 }
  /// Something waits, and the collector is silent.
  var isResting: Bool { isUnanswered && inFlight == 0 && notBefore != nil }
  /// How many spans are in exports that will be sent again.
  var spansToRepeat: Int { again.reduce(0) { $0 + $1.count } }

  mutating func add(_ batch: SpanBatch) { waiting.append(batch) }

  /// When `next` should be asked again although nothing else happens; nil: no need to.
  var wakeUp: MonotonicTime? { isEmpty || inFlight > 0 ? nil : notBefore }

  /// What is to be sent now; nil: nothing.
  mutating func next(_ now: MonotonicTime) -> Export? {
    guard !isEmpty, inFlight < (failures > 0 ? 1 : rules.exports) else { return nil }
    if let notBefore {
      guard notBefore <= now else { return nil }
      self.notBefore = nil
    }
    if !again.isEmpty {
      inFlight += 1
      return again.removeFirst()
    }
    // What is to be sent again has its place among the exports.
    guard inFlight + again.count < rules.exports else { return nil }
    var export = Export(batches: [], count: 0, size: 0)
    while taken < waiting.count {
      let batch = waiting[taken]
      guard
        export.batches.isEmpty
          || export.count + batch.count <= rules.spansPerExport
            && export.size + batch.bytes.count <= rules.bytesPerExport
      else { break }
      export.batches.append(batch)
      export.count += batch.count
      export.size += batch.bytes.count
      waiting[taken] = SpanBatch(bytes: [], count: 0)
      taken += 1
    }
    if taken == waiting.count {
      waiting.removeAll(keepingCapacity: waiting.count <= 256)
      taken = 0
    }
    inFlight += 1
    return export
  }

  /// An export that `next` gave has ended.
  /// - Parameter dice: a random number: proxies that lost one collector do not come back all at once.
  mutating func ended(_ export: Export, _ answer: ExportAnswer, _ now: MonotonicTime, dice: UInt64) -> Verdict {
    inFlight -= 1
    if case .none = answer { isUnanswered = true } else { isUnanswered = false }
    switch answer {
    case .taken:
      failures = 0
      return .done
    case .refused:
      // Somebody is there, but does not want this one.
      failures = 0
      return .lost
    case .later(_, let pause):
      return postpone(export, mayRepeat: true, pause, now, dice)
    case .none(_, let mayRepeat):
      return postpone(export, mayRepeat: mayRepeat, nil, now, dice)
    case .noCluster:
      return .lost
    }
  }

  private mutating func postpone(
    _ export: Export, mayRepeat: Bool, _ pause: Nanoseconds?, _ now: MonotonicTime, _ dice: UInt64
  ) -> Verdict {
    failures = min(failures + 1, 32)
    let until = now + (pause.map { min($0, Self.longestWish) } ?? ownPause(dice))
    notBefore = max(notBefore ?? until, until)
    guard mayRepeat, export.attempts + 1 < rules.attempts else { return .lost }
    var export = export
    export.attempts += 1
    again.append(export)
    return .again
  }

  /// The longest time for which a collector can silence its callers (`retry-after`).
  static let longestWish = Nanoseconds.seconds(60)

  /// Twice as long after each failure, less up to a half of it.
  private func ownPause(_ dice: UInt64) -> Nanoseconds {
    var pause = rules.firstPause.rawValue
    for _ in 1..<max(failures, 1) where pause < rules.longestPause.rawValue { pause *= 2 }
    pause = min(pause, rules.longestPause.rawValue)
    return Nanoseconds(rawValue: pause - (pause / 2).multipliedFullWidth(by: dice).high)
  }

  /// The end is near: what waits may be sent at once.
  mutating func hurry() { notBefore = nil }
}
