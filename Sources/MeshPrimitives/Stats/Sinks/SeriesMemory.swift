/// What a receiver of statistics has been told of each series, so that it is told changes only. Bounded by the series that
/// there are: what is gone is forgotten at the end of a pass. Confined to one thread.
struct SeriesMemory {
  /// What was told of one entry.
  final class Told {
    let entry: StatEntry
    /// By row of a block; `untold`: nothing.
    fileprivate var rows: [Int64]
    /// By slot, of response codes.
    fileprivate var codes: [Int: Int64] = [:]
    /// What a histogram held.
    var histogram: HistogramSnapshot?
    /// When the entry was not there yet, in nanoseconds since 1970; 0: it has always been there.
    let notBefore: UInt64
    fileprivate var pass: UInt64 = 0

    fileprivate init(_ entry: StatEntry, notBefore: UInt64) {
      self.entry = entry
      self.notBefore = notBefore
      if case .block(_, let table) = entry.source {
        rows = [Int64](repeating: SeriesMemory.untold, count: table.rows.count)
      } else {
        rows = []
      }
    }

    /// The value that was told; nil: none was.
    subscript(item: MetricFamily.Item, label: MetricSample.Label) -> Int64? {
      get {
        if case .row(let index) = item { return rows[index] == SeriesMemory.untold ? nil : rows[index] }
        return codes[Self.slot(item, label)]
      }
      set {
        if case .row(let index) = item {
          rows[index] = newValue ?? SeriesMemory.untold
        } else {
          codes[Self.slot(item, label)] = newValue
        }
      }
    }

    fileprivate func forget() {
      for index in rows.indices { rows[index] = SeriesMemory.untold }
      codes.removeAll()
      histogram = nil
    }

    /// Calls `body` with every value that was told.
    func forEach(_ body: (MetricFamily.Item, MetricSample.Label) -> Void) {
      for (index, value) in rows.enumerated() where value != SeriesMemory.untold { body(.row(index), .none) }
      for slot in codes.keys.sorted() {
        switch slot {
        case 0: body(.completed, .none)
        case 1...9: body(.classes, .codeClass(slot))
        default: body(.codes, .code(slot))
        }
      }
    }

    private static func slot(_ item: MetricFamily.Item, _ label: MetricSample.Label) -> Int {
      switch (item, label) {
      case (.classes, .codeClass(let number)): number
      case (.codes, .code(let code)): code
      default: 0
      }
    }
  }

  fileprivate static let untold = Int64.min

  private var told: [ObjectIdentifier: Told] = [:]
  private var pass: UInt64 = 0
  /// When this pass began, and the last one that was completed.
  private var began: UInt64 = 0
  private var completed: UInt64 = 0

  /// Begins to look at all series. - Parameter time: now, in nanoseconds since 1970.
  mutating func beginPass(at time: UInt64 = 0) {
    pass &+= 1
    began = time
  }

  /// What was told of an entry, which is there in this pass.
  mutating func met(_ entry: StatEntry) -> Told {
    let key = ObjectIdentifier(entry)
    if let known = told[key] {
      known.pass = pass
      return known
    }
    let made = Told(entry, notBefore: completed)
    made.pass = pass
    told[key] = made
    return made
  }

  /// Everything was looked at: what was not met is gone.
  mutating func endPass() -> [Told] {
    completed = began
    let gone = told.filter { $0.value.pass != pass }
    for key in gone.keys { told[key] = nil }
    return Array(gone.values)
  }

  /// The receiver is another one, or has forgotten.
  mutating func forget() { for told in told.values { told.forget() } }
}
