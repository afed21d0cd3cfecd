import CYAML

/// Makes a `SourceDocument` from YAML or JSON. Bounded whatever the text holds: nesting, and what aliases expand to.
/// The first mistake of syntax ends it, for what follows could mean anything.
struct YAMLParser {
  /// Deepest nesting, aliases counted in.
  static let depthLimit = 64
  /// How many values all aliases together may stand for; the defence against aliases of aliases of aliases.
  static let aliasLimit = 200_000

  private typealias NodeID = SourceDocument.NodeID

  /// A list or mapping that has begun and not ended.
  private struct Frame {
    var kind: SourceDocument.Kind
    var line: UInt32
    var column: UInt32
    var anchor: String?
    /// Where its children begin in `pending`.
    var children: Int
    var height = 1
    var size = 1
    /// Places in `pending` of keys with the tag `!ignore`.
    var ignored: [Int] = []
    var hasMergeKey = false
  }

  private struct Anchor {
    var node: NodeID
    /// How deep it nests, and how many values it stands for.
    var height: Int
    var size: Int
  }

  private let file: String
  private var nodes: [SourceDocument.Node] = []
  private var references: [NodeID] = []
  private var bytes: [UInt8] = []
  private var frames: [Frame] = []
  /// Finished children of the frames.
  private var pending: [NodeID] = []
  private var anchors: [String: Anchor] = [:]
  private var expanded = 0
  private var root: NodeID?

  private init(file: String) { self.file = file }

  /// Reads `content`. `file` names it in messages. An empty text gives a document whose root is null.
  static func parse(_ content: [UInt8], file: String) throws(ConfigurationProblem) -> SourceDocument {
    let text = JSONEscapes.joinSurrogates(content)
    guard text.count < Int(UInt32.max) / 4 else {
      throw ConfigurationProblem(file: file, message: "is too long to be a configuration")
    }
    var builder = YAMLParser(file: file)
    try builder.run(text)
    let root: NodeID
    if let found = builder.root { root = found } else { root = builder.add(.plain, 1, 1, 0, 0) }
    return SourceDocument(
      file: file, root: root, nodes: builder.nodes, references: builder.references, bytes: builder.bytes)
  }

  private mutating func run(_ text: [UInt8]) throws(ConfigurationProblem) {
    let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    defer { parser.deallocate() }
    guard yaml_parser_initialize(parser) == 1 else {
      throw ConfigurationProblem(file: file, message: "cannot be read: out of memory")
    }
    defer { yaml_parser_delete(parser) }
    // The parser keeps the pointer until it is deleted, so that the bytes are pinned for the whole loop.
    let input = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(text.count, 1))
    defer { input.deallocate() }
    _ = input.initialize(from: text)
    yaml_parser_set_input_string(parser, input.baseAddress, text.count)
    yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
    bytes.reserveCapacity(text.count)

    var done = false
    while !done {
      var event = yaml_event_t()
      guard yaml_parser_parse(parser, &event) == 1 else { throw syntaxProblem(parser.pointee, text) }
      defer { yaml_event_delete(&event) }
      done = try accept(event)
    }
  }

  /// Takes one event. True at the end of the text.
  private mutating func accept(_ event: yaml_event_t) throws(ConfigurationProblem) -> Bool {
    let line = UInt32(clamping: event.start_mark.line + 1)
    let column = UInt32(clamping: event.start_mark.column + 1)
    switch event.type {
    case YAML_STREAM_END_EVENT:
      return true
    case YAML_DOCUMENT_START_EVENT:
      if root != nil { throw problem(line, column, "a second document begins here (a configuration is one document)") }
    case YAML_SCALAR_EVENT:
      try scalar(event.data.scalar, line, column)
    case YAML_ALIAS_EVENT:
      try alias(text(event.data.alias.anchor) ?? "", line, column)
    case YAML_SEQUENCE_START_EVENT:
      try begin(.list, text(event.data.sequence_start.anchor), line, column)
    case YAML_MAPPING_START_EVENT:
      try begin(.mapping, text(event.data.mapping_start.anchor), line, column)
    case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT:
      try end()
    default:
      break
    }
    return false
  }

  private mutating func scalar(
    _ scalar: yaml_event_s.__Unnamed_union_data.__Unnamed_struct_scalar, _ line: UInt32, _ column: UInt32
  ) throws(ConfigurationProblem) {
    let value = UnsafeBufferPointer(start: scalar.value, count: scalar.length)
    let tag = text(scalar.tag)
    let isPlain = scalar.style == YAML_PLAIN_SCALAR_STYLE && tag != "tag:yaml.org,2002:str" && tag != "!"
    let start = bytes.count
    bytes.append(contentsOf: value)
    if let frame = frames.indices.last, frames[frame].kind == .mapping,
      (pending.count - frames[frame].children).isMultiple(of: 2)
    {
      if tag == "!ignore" { frames[frame].ignored.append(pending.count) }
      if isPlain && value.elementsEqual("<<".utf8) { frames[frame].hasMergeKey = true }
    }
    let node = add(isPlain ? .plain : .text, line, column, start, value.count)
    complete(node, anchor: text(scalar.anchor), height: 1, size: 1)
  }

  private mutating func alias(_ name: String, _ line: UInt32, _ column: UInt32) throws(ConfigurationProblem) {
    guard let anchor = anchors[name] else {
      throw problem(line, column, "the alias *\(name) has no anchor &\(name) before it")
    }
    expanded += anchor.size
    guard expanded <= Self.aliasLimit else {
      throw problem(line, column, "aliases stand for too many values (at most \(Self.aliasLimit) in all)")
    }
    guard frames.count + anchor.height <= Self.depthLimit else { throw tooDeep(line, column) }
    complete(anchor.node, anchor: nil, height: anchor.height, size: anchor.size)
  }

  private mutating func begin(
    _ kind: SourceDocument.Kind, _ anchor: String?, _ line: UInt32, _ column: UInt32
  ) throws(ConfigurationProblem) {
    guard frames.count < Self.depthLimit else { throw tooDeep(line, column) }
    frames.append(Frame(kind: kind, line: line, column: column, anchor: anchor, children: pending.count))
  }

  private mutating func end() throws(ConfigurationProblem) {
    guard let frame = frames.popLast() else { return }
    var children = Array(pending[frame.children...])
    pending.removeSubrange(frame.children...)
    if frame.kind == .mapping {
      if !frame.ignored.isEmpty { children = without(frame.ignored.map { $0 - frame.children }, children) }
      if frame.hasMergeKey { children = try merged(children) }
    }
    let start = references.count
    references.append(contentsOf: children)
    let count = frame.kind == .mapping ? children.count / 2 : children.count
    let node = add(frame.kind, frame.line, frame.column, start, count)
    complete(node, anchor: frame.anchor, height: frame.height, size: frame.size)
  }

  /// The entries except those whose keys are at `places`, which ascend.
  private func without(_ places: [Int], _ children: [NodeID]) -> [NodeID] {
    var kept: [NodeID] = []
    var next = 0
    for at in stride(from: 0, to: children.count - 1, by: 2) {
      if next < places.count, places[next] == at { next += 1 } else { kept += [children[at], children[at + 1]] }
    }
    return kept
  }

  /// Replaces `<<` by the entries of the mappings that it names, except where a key is there already.
  private func merged(_ children: [NodeID]) throws(ConfigurationProblem) -> [NodeID] {
    var own: [NodeID] = []
    var sources: [NodeID] = []
    for at in stride(from: 0, to: children.count - 1, by: 2) {
      let (key, value) = (children[at], children[at + 1])
      guard nodes[Int(key)].kind == .plain, scalarText(key) == "<<" else {
        own += [key, value]
        continue
      }
      let node = nodes[Int(value)]
      let list = node.kind == .list ? Array(references[Int(node.start)..<Int(node.start + node.count)]) : [value]
      for source in list where nodes[Int(source)].kind != .mapping {
        throw problem(
          nodes[Int(source)].line, nodes[Int(source)].column, "\"<<\" must name a mapping, or a list of mappings")
      }
      sources += list
    }
    var keys = Set(stride(from: 0, to: own.count, by: 2).map { scalarText(own[$0]) })
    for source in sources {
      let node = nodes[Int(source)]
      for index in 0..<Int(node.count) {
        let at = Int(node.start) + 2 * index
        if keys.insert(scalarText(references[at])).inserted { own += [references[at], references[at + 1]] }
      }
    }
    return own
  }

  private func scalarText(_ id: NodeID) -> String {
    let node = nodes[Int(id)]
    guard node.kind == .plain || node.kind == .text else { return "" }
    return String(decoding: bytes[Int(node.start)..<Int(node.start + node.count)], as: UTF8.self)
  }

  private mutating func add(
    _ kind: SourceDocument.Kind, _ line: UInt32, _ column: UInt32, _ start: Int, _ count: Int
  ) -> NodeID {
    nodes.append(
      SourceDocument.Node(
        kind: kind, line: line, column: column, start: UInt32(clamping: start), count: UInt32(clamping: count)))
    return NodeID(nodes.count - 1)
  }

  /// Hands a finished value to what it is in.
  private mutating func complete(_ node: NodeID, anchor: String?, height: Int, size: Int) {
    if let anchor { anchors[anchor] = Anchor(node: node, height: height, size: size) }
    guard let frame = frames.indices.last else {
      root = node
      return
    }
    pending.append(node)
    frames[frame].height = max(frames[frame].height, height + 1)
    frames[frame].size += size
  }

  // MARK: Problems

  private func problem(_ line: UInt32, _ column: UInt32, _ message: String) -> ConfigurationProblem {
    ConfigurationProblem(file: file, position: SourcePosition(line: Int(line), column: Int(column)), message: message)
  }

  private func tooDeep(_ line: UInt32, _ column: UInt32) -> ConfigurationProblem {
    problem(line, column, "is nested too deeply (at most \(Self.depthLimit) levels)")
  }

  private func syntaxProblem(_ parser: yaml_parser_t, _ text: [UInt8]) -> ConfigurationProblem {
    let reason = parser.problem.map { String(cString: $0) } ?? "out of memory"
    if parser.error == YAML_READER_ERROR {
      let before = text.prefix(Int(clamping: parser.problem_offset))
      let line = before.count { $0 == UInt8(ascii: "\n") } + 1
      let lineStart = before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
      // Bytes that continue a character do not count as columns.
      let column = before[lineStart...].count { $0 & 0xc0 != 0x80 } + 1
      return ConfigurationProblem(
        file: file, position: SourcePosition(line: line, column: column), message: "is not valid text: \(reason)")
    }
    let line = Int(clamping: parser.problem_mark.line) + 1
    let column = Int(clamping: parser.problem_mark.column) + 1
    var message = "is not valid YAML: \(reason)"
    if byte(text, line, column) == UInt8(ascii: "\t") {
      message = "is not valid YAML: a tab cannot be used here (use spaces)"
    } else if let context = parser.context {
      message += " (\(String(cString: context)) that begins on line \(Int(clamping: parser.context_mark.line) + 1))"
    }
    return ConfigurationProblem(
      file: file, position: SourcePosition(line: line, column: column), message: message)
  }

  /// The byte at a position; nil beyond the end of the line.
  private func byte(_ text: [UInt8], _ line: Int, _ column: Int) -> UInt8? {
    let lines = text.split(separator: UInt8(ascii: "\n"), maxSplits: line, omittingEmptySubsequences: false)
    guard line <= lines.count else { return nil }
    let starts = lines[line - 1].filter { $0 & 0xc0 != 0x80 }
    return column <= starts.count ? starts[column - 1] : nil
  }

  private func text(_ pointer: UnsafePointer<yaml_char_t>?) -> String? { pointer.map { String(cString: $0) } }
}
