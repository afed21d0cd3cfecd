/// A dictionary with a bound: a further key takes the place of the one that was asked for the longest time ago. All
/// operations take constant time.
struct RecentlyUsed<Key: Hashable, Value> {
  private struct Node {
    let key: Key
    var value: Value
    /// Towards those that were asked for later; -1: none.
    var newer: Int
    var older: Int
  }

  let capacity: Int
  private var nodes: [Node] = []
  private var places: [Key: Int] = [:]
  private var newest = -1
  private var oldest = -1

  /// - Parameter capacity: at least 1.
  init(capacity: Int) { self.capacity = max(capacity, 1) }

  var count: Int { nodes.count }

  /// The value of a key, made now if there is none.
  mutating func value(_ key: Key, make: () -> Value) -> Value {
    if let place = places[key] {
      if place != newest {
        unlink(place)
        linkNewest(place)
      }
      return nodes[place].value
    }
    let node = Node(key: key, value: make(), newer: -1, older: -1)
    var place = nodes.count
    if place < capacity {
      nodes.append(node)
    } else {
      place = oldest
      unlink(place)
      places[nodes[place].key] = nil
      nodes[place] = node
    }
    places[key] = place
    linkNewest(place)
    return nodes[place].value
  }

  private mutating func unlink(_ place: Int) {
    let node = nodes[place]
    if node.newer >= 0 { nodes[node.newer].older = node.older } else { newest = node.older }
    if node.older >= 0 { nodes[node.older].newer = node.newer } else { oldest = node.newer }
  }

  private mutating func linkNewest(_ place: Int) {
    nodes[place].newer = -1
    nodes[place].older = newest
    if newest >= 0 { nodes[newest].newer = place } else { oldest = place }
    newest = place
  }
}
