/// A YAML or JSON text as a tree, every node with its position. Immutable. One array of nodes, one of references and one
/// of bytes, so that the tree of 10,000 clusters takes some ten megabytes and is released at once.
final class SourceDocument: Sendable {
  enum Kind: UInt8, Sendable {
    /// A scalar without quotes: its meaning depends on the field.
    case plain
    /// A scalar in quotes or a block scalar: always text.
    case text
    case list
    case mapping
  }

  struct Node: Sendable {
    var kind: Kind
    var line: UInt32
    var column: UInt32
    /// Scalars: where in `bytes`. Lists and mappings: where in `references`.
    var start: UInt32
    /// Scalars: bytes. Lists: items. Mappings: entries.
    var count: UInt32
  }

  /// A node's place in the document.
  typealias NodeID = UInt32

  /// The name of the text in messages.
  let file: String
  let root: NodeID
  private let nodes: [Node]
  /// The items of lists; keys and values of mappings in turn.
  private let references: [NodeID]
  private let bytes: [UInt8]

  init(file: String, root: NodeID, nodes: [Node], references: [NodeID], bytes: [UInt8]) {
    self.file = file
    self.root = root
    self.nodes = nodes
    self.references = references
    self.bytes = bytes
  }

  func kind(_ id: NodeID) -> Kind { nodes[Int(id)].kind }

  func count(_ id: NodeID) -> Int { Int(nodes[Int(id)].count) }

  func position(_ id: NodeID) -> SourcePosition {
    SourcePosition(line: Int(nodes[Int(id)].line), column: Int(nodes[Int(id)].column))
  }

  /// The text of a scalar; empty for anything else.
  func text(_ id: NodeID) -> String {
    let node = nodes[Int(id)]
    guard isScalar(id) else { return "" }
    return bytes.withUnsafeBufferPointer {
      String(decoding: UnsafeBufferPointer(rebasing: $0[Int(node.start)..<Int(node.start + node.count)]), as: UTF8.self)
    }
  }

  /// Calls `body` with the bytes of a scalar; with none for anything else.
  func withBytes<R>(_ id: NodeID, _ body: (UnsafeBufferPointer<UInt8>) -> R) -> R {
    let node = nodes[Int(id)]
    return bytes.withUnsafeBufferPointer {
      isScalar(id)
        ? body(UnsafeBufferPointer(rebasing: $0[Int(node.start)..<Int(node.start + node.count)]))
        : body(UnsafeBufferPointer(start: nil, count: 0))
    }
  }

  /// The item of a list. `index` must be less than `count`.
  func item(_ id: NodeID, _ index: Int) -> NodeID { references[Int(nodes[Int(id)].start) + index] }

  /// The entry of a mapping. `index` must be less than `count`.
  func entry(_ id: NodeID, _ index: Int) -> (key: NodeID, value: NodeID) {
    let at = Int(nodes[Int(id)].start) + 2 * index
    return (references[at], references[at + 1])
  }

  /// The first entry of a mapping whose key is one of `names`.
  func entry(_ id: NodeID, named names: String...) -> (key: NodeID, value: NodeID)? {
    guard kind(id) == .mapping else { return nil }
    for index in 0..<count(id) {
      let found = entry(id, index)
      if isScalar(found.key), names.contains(text(found.key)) { return found }
    }
    return nil
  }

  func isScalar(_ id: NodeID) -> Bool { kind(id) == .plain || kind(id) == .text }

  /// Whether the node says that there is no value: nothing at all, `~` or `null`.
  func isNull(_ id: NodeID) -> Bool {
    guard kind(id) == .plain else { return false }
    if count(id) == 0 { return true }
    guard count(id) == 1 || count(id) == 4 else { return false }
    return ["~", "null", "Null", "NULL"].contains(text(id))
  }

  /// What the node is, for "not …" in a message: `a list`, `"text"`.
  func shown(_ id: NodeID) -> String {
    switch kind(id) {
    case .list: count(id) == 0 ? "an empty list" : "a list"
    case .mapping: count(id) == 0 ? "an empty mapping" : "a mapping"
    case .plain, .text: isNull(id) ? "nothing" : quoted(text(id))
    }
  }

  /// The node that `path` leads to, or the last one on the way to it. With the number of steps that were found.
  func resolve(_ path: some Sequence<ConfigurationPath.Step>) -> (node: NodeID, steps: Int) {
    var node = root
    var steps = 0
    for step in path {
      switch step {
      case .index(let index):
        guard kind(node) == .list, index < count(node) else { return (node, steps) }
        node = item(node, index)
      case .field(let name):
        guard let found = entry(node, named: name, Schema.jsonName(name)) else { return (node, steps) }
        node = found.value
      case .key(let key):
        guard let found = entry(node, named: key) else { return (node, steps) }
        node = found.value
      }
      steps += 1
    }
    return (node, steps)
  }
}
