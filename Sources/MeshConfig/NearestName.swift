/// Finds what was probably meant.
public enum NearestName {
  /// The candidate closest to `name`, or nil when none is close: at most one typing mistake for every three letters.
  /// The case of letters and the difference between `-`, `_` and none do not count as mistakes.
  public static func of(_ name: String, in candidates: some Sequence<String>) -> String? {
    let wanted = folded(name)
    guard !wanted.isEmpty, wanted.count <= 128 else { return nil }
    var best: (name: String, distance: Int)?
    for candidate in candidates {
      let other = folded(candidate)
      let allowed = max(1, min(wanted.count, other.count) / 3)
      let limit = min(allowed, best?.distance ?? Int.max)
      if limit < 0 || abs(wanted.count - other.count) > limit { continue }
      let distance = Self.distance(wanted, other)
      // Of several that are equally close the first by alphabet: candidates may come in any order.
      guard distance <= limit, distance < best?.distance ?? .max || candidate < best?.name ?? "" else { continue }
      best = (candidate, distance)
    }
    return best?.name
  }

  private static func folded(_ text: String) -> [UInt8] {
    text.utf8.compactMap { byte in
      switch byte {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte | 0x20
      case UInt8(ascii: "_"), UInt8(ascii: "-"): nil
      default: byte
      }
    }
  }

  /// Insertions, deletions, replacements and swaps of neighbours between two words.
  private static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var beforePrevious = [Int](repeating: 0, count: b.count + 1)
    var previous = Array(0...b.count)
    for i in a.indices {
      var current = [i + 1]
      current.reserveCapacity(b.count + 1)
      for j in b.indices {
        var cost = min(previous[j] + (a[i] == b[j] ? 0 : 1), previous[j + 1] + 1, current[j] + 1)
        if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforePrevious[j - 1] + 1) }
        current.append(cost)
      }
      (beforePrevious, previous) = (previous, current)
    }
    return previous[b.count]
  }
}
