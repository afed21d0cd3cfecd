/// Endpoints in turn by weight, earliest deadline first, as Envoy does it: who has had a turn gets the next one after a
/// time that is the inverse of its weight. A binary heap; indices stand for the endpoints.
struct WeightedSchedule {
  private struct Turn {
    var deadline: Double
    /// Breaks ties, so that the order is stable.
    var order: UInt64
    var index: Int

    static func < (a: Turn, b: Turn) -> Bool {
      a.deadline == b.deadline ? a.order < b.order : a.deadline < b.deadline
    }
  }

  private var turns: [Turn] = []
  private var sequence: UInt64 = 0

  var isEmpty: Bool { turns.isEmpty }

  mutating func removeAll() { turns.removeAll(keepingCapacity: true) }

  /// Adds one that has had no turn yet. - Parameter weight: more than 0.
  mutating func add(_ index: Int, weight: Double) { push(0, index, weight) }

  /// Whose turn it is; nil if there is none.
  /// - Parameter weight: what the one with this index has now, more than 0; decides when its next turn is.
  @inline(__always)
  mutating func next(weight: (Int) -> Double) -> Int? {
    guard let turn = pop() else { return nil }
    push(turn.deadline, turn.index, weight(turn.index))
    return turn.index
  }

  private mutating func push(_ now: Double, _ index: Int, _ weight: Double) {
    turns.append(Turn(deadline: now + 1 / weight, order: sequence, index: index))
    sequence &+= 1
    var child = turns.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard turns[child] < turns[parent] else { return }
      turns.swapAt(child, parent)
      child = parent
    }
  }

  private mutating func pop() -> Turn? {
    guard let first = turns.first, let last = turns.popLast() else { return nil }
    guard !turns.isEmpty else { return first }
    turns[0] = last
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < turns.count && turns[child] < turns[least] {
        least = child
      }
      if least == parent { return first }
      turns.swapAt(parent, least)
      parent = least
    }
  }
}
