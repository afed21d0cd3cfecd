/// All series of one name, as Prometheus has them: `envoy_cluster_upstream_rq_total` of every cluster. Knows where their
/// values are, and holds none.
final class MetricFamily: Sendable {
  enum Kind: UInt8, Sendable {
    case counter, gauge, histogram
  }

  /// What of an entry belongs to the family.
  enum Item: Sendable {
    /// A row of the block's table.
    case row(Int)
    /// Response codes by class, by code, and all of them.
    case classes, codes, completed
    case histogram
  }

  /// Entries that have it in the same way.
  struct Part: Sendable {
    let item: Item
    let members: [StatEntry]
  }

  /// `envoy_cluster_upstream_rq_total`
  let name: [UInt8]
  let kind: Kind
  let help: StaticString
  let parts: [Part]
  /// OpenMetrics has the family as a counter. Counters are so named that they end in `_total` there; what Envoy calls
  /// otherwise keeps its name, as a value of unknown type.
  let isOpenCounter: Bool

  private init(_ draft: Draft, isOpenCounter: Bool) {
    name = draft.name
    kind = draft.kind
    help = draft.help
    parts = draft.parts
    self.isOpenCounter = isOpenCounter
  }

  /// What OpenMetrics calls the family: a counter without its `_total`.
  var openName: ArraySlice<UInt8> { isOpenCounter ? name.dropLast(Self.totalSuffix.count) : name[...] }

  private static let totalSuffix = Array("_total".utf8)

  // MARK: Making

  private struct Draft {
    let name: [UInt8]
    let kind: Kind
    let help: StaticString
    var parts: [Part]
  }

  /// The families of some entries, in the order in which they are met.
  /// - Parameter groups: entries with equal `StatEntry.family`.
  static func families(of groups: [[StatEntry]]) -> [MetricFamily] {
    var drafts: [Draft] = []
    var positions: [[UInt8]: Int] = [:]
    for group in groups {
      guard let example = group.first else { continue }
      example.forEachItem { item, stem, kind, help in
        var name = example.metricPrefix
        name.append(0x5f)
        name.append(metricName: stem)
        let part = Part(item: item, members: group)
        if let position = positions[name], drafts[position].kind == kind {
          drafts[position].parts.append(part)
        } else {
          positions[name] = drafts.count
          drafts.append(Draft(name: name, kind: kind, help: help, parts: [part]))
        }
      }
    }
    return drafts.map { draft in
      let isTotal = draft.kind == .counter && draft.name.count > totalSuffix.count && draft.name.hasEnd(totalSuffix)
      // Another family may have the name that is left: requests, and requests by code.
      let isFree = isTotal && positions[Array(draft.name.dropLast(totalSuffix.count))] == nil
      return MetricFamily(draft, isOpenCounter: isFree)
    }
  }
}

extension [UInt8] {
  func hasEnd(_ end: [UInt8]) -> Bool { count >= end.count && self[(count - end.count)...].elementsEqual(end) }
}

/// The value of one series at one moment.
struct MetricSample {
  /// A label that the value has beside its entry's.
  enum Label: Hashable {
    case none
    /// 1 … 5: `envoy_response_code_class`.
    case codeClass(Int)
    /// 100 … 599: `envoy_response_code`.
    case code(Int)
  }

  let entry: StatEntry
  /// Without the scope: `upstream_rq_2xx`.
  let name: [UInt8]
  let label: Label
  let value: Int64
}

extension StatEntry {
  fileprivate func forEachItem(
    _ body: (_ item: MetricFamily.Item, _ stem: [UInt8], _ kind: MetricFamily.Kind, _ help: StaticString) -> Void
  ) {
    switch source {
    case .block(_, let table):
      for (index, row) in table.rows.enumerated() {
        body(.row(index), row.name, row.kind == .counter ? .counter : .gauge, row.help)
      }
    case .codes(_, let stem, let detail):
      body(.classes, stem + Array("_xx".utf8), .counter, "Responses by class of status.")
      if detail.contains(.completed) {
        body(.completed, stem + Array("_completed".utf8), .counter, "Responses.")
      }
      if detail.contains(.codes) { body(.codes, stem, .counter, "Responses by status.") }
    case .histogram(_, let definition):
      body(.histogram, Array(Bytes(definition.name)), .histogram, definition.help)
    }
  }

  /// Calls `body` with each value of an item that is no histogram: what there is, and what is always shown.
  func visit(_ item: MetricFamily.Item, _ body: (MetricSample) -> Void) {
    switch (source, item) {
    case (.block(let block, let table), .row(let index)):
      guard index < table.rows.count else { return }
      body(MetricSample(entry: self, name: table.rows[index].name, label: .none, value: block.total(at: index)))
    case (.codes(let counters, let stem, let detail), .classes):
      for (index, value) in counters.classTotals.enumerated() where value != 0 || detail.contains(.always) {
        let name = stem + [0x5f, 0x31 + UInt8(index), 0x78, 0x78]
        body(MetricSample(entry: self, name: name, label: .codeClass(index + 1), value: value))
      }
    case (.codes(let counters, let stem, let detail), .completed):
      let value = counters.total
      guard value != 0 || detail.contains(.always) else { return }
      body(MetricSample(entry: self, name: stem + Array("_completed".utf8), label: .none, value: value))
    case (.codes(let counters, let stem, _), .codes):
      counters.forEachCode { code, value in
        var name = stem + [0x5f]
        name.append(decimal: UInt64(code))
        body(MetricSample(entry: self, name: name, label: .code(code), value: value))
      }
    default: break
    }
  }
}
