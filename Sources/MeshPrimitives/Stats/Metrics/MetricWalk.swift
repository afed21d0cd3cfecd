/// Walks all series, family by family, in steps, so that a store with a million of them holds up nobody. The set of series
/// is that of the moment the walk began; each value is read when it is met.
struct MetricWalk {
  let families: [MetricFamily]
  /// Where the walk is: a family, a part of it, a member of the part.
  private(set) var family = 0
  private var part = 0
  private var member = 0

  init(_ store: StatsStore) { families = store.metricFamilies() }

  /// What is met next: an entry with an item of it, or that a family is over; nil at the end.
  enum Step {
    case entry(MetricFamily, MetricFamily.Item, StatEntry)
    case endOfFamily(MetricFamily)
  }

  mutating func next() -> Step? {
    guard family < families.count else { return nil }
    let current = families[family]
    while part < current.parts.count {
      let place = current.parts[part]
      if member < place.members.count {
        defer { member += 1 }
        return .entry(current, place.item, place.members[member])
      }
      part += 1
      member = 0
    }
    family += 1
    part = 0
    return .endOfFamily(current)
  }
}
