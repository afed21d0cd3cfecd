/// Turns a document into a message's wire bytes, driven by the schema. It goes on after a mistake, so that one run finds
/// them all; what is wrong is left out of the bytes, or stands there empty where its place in a list counts. It answers
/// for names, kinds of values and how they are written; what values mean together is the `WireValidator`'s business.
struct Transcoder {
  let schema: Schema
  let document: SourceDocument
  /// The document's place among all that are read together.
  let source: Int
  var wire = WireWriter()
  var path = ConfigurationPath()
  var findings: Findings

  typealias NodeID = SourceDocument.NodeID

  init(schema: Schema, document: SourceDocument, source: Int, findings: Findings) {
    self.schema = schema
    self.document = document
    self.source = source
    self.findings = findings
  }

  /// Reads the whole document as a message.
  mutating func run(_ message: Int) {
    if document.isNull(document.root) {
      report(document.root, "is empty")
    } else {
      self.message(document.root, message)
    }
  }

  // MARK: Messages

  private mutating func message(_ node: NodeID, _ message: Int) {
    guard document.kind(node) == .mapping else {
      report(node, "must be a mapping of fields, not \(document.shown(node))")
      return
    }
    fields(of: node, schema.messages[message], isAny: false)
  }

  private mutating func fields(of node: NodeID, _ message: Schema.MessageSchema, isAny: Bool) {
    /// Which fields were given, and by which keys.
    var given: [(field: Int, key: NodeID)] = []
    var type: NodeID?
    for index in 0..<document.count(node) {
      let (key, value) = document.entry(node, index)
      guard document.isScalar(key) else {
        report(key, "a field name must be text, not \(document.shown(key))")
        continue
      }
      let name = document.text(key)
      if isAny && name == "@type" {
        if let type { report(key, "\"@type\" is given twice (first on line \(document.position(type).line))") }
        type = key
        continue
      }
      guard let place = message.byName[name] else {
        unknownField(key, name, message)
        continue
      }
      let field = message.fields[place]
      path.steps.append(.field(field.name))
      defer { path.steps.removeLast() }
      if let first = given.first(where: { $0.field == place }) {
        report(key, "is given twice (first on line \(document.position(first.key).line))")
        continue
      }
      if document.isNull(value) { continue }
      if let oneof = field.oneof,
        let first = given.first(where: { message.fields[$0.field].oneof == oneof })
      {
        let (a, b) = (document.position(first.key).line, document.position(key).line)
        report(
          key,
          "two members of oneof \(message.oneofs[oneof].name): \(message.fields[first.field].name) (line \(a))"
            + " and \(field.name) (line \(b)); at most one may be set")
        continue
      }
      given.append((place, key))
      if let instead = field.rules.deprecated { report(key, "is deprecated (use \(instead))", .warning) }
      self.field(value, field, in: node)
    }
  }

  private mutating func unknownField(_ key: NodeID, _ name: String, _ message: Schema.MessageSchema) {
    let names = message.fields.map(\.name)
    let text: String
    var step = ConfigurationPath.Step.field(name)
    if let other = message.others.first(where: { $0.name == name || Schema.jsonName($0.name) == name }) {
      step = .field(other.name)
      text = "Envoy has this field, but it is not supported yet\(Self.listed("supported", names))"
    } else {
      if name.isEmpty || !name.utf8.allSatisfy(\.isNameByte) { step = .key(name) }
      let what = "there is no such field in \(message.shortName)"
      if name == "@type" {
        text = "\(what), whose type is known from its place (leave \"@type\" out)"
      } else if let nearest = NearestName.of(name, in: names) {
        text = "\(what) (did you mean \(quoted(nearest))?)"
      } else if let nearest = NearestName.of(name, in: message.others.map(\.name)) {
        text = "\(what) (if you mean \(quoted(nearest)): Envoy has it, but it is not supported yet)"
      } else if names.isEmpty {
        text = "\(what) (it has none that is supported: write {})"
      } else {
        text = what + Self.listed("allowed", names)
      }
    }
    path.steps.append(step)
    report(key, text, covers: .siblings)
    path.steps.removeLast()
  }

  // MARK: Fields

  private mutating func field(_ node: NodeID, _ field: FieldSchema, in parent: NodeID) {
    switch field.cardinality {
    case .single:
      value(node, field, in: parent)
    case .list:
      guard document.kind(node) == .list else {
        report(node, "must be a list, not \(document.shown(node)) (write each item after \"- \")")
        return
      }
      for index in 0..<document.count(node) {
        let item = document.item(node, index)
        path.steps.append(.index(index))
        if document.isNull(item) {
          report(item, "an item of a list must not be empty")
          empty(field)
        } else {
          value(item, field, in: parent)
        }
        path.steps.removeLast()
      }
    case .map:
      guard document.kind(node) == .mapping else {
        report(node, "must be a mapping from names to values, not \(document.shown(node))")
        return
      }
      var keys: [String: NodeID] = [:]
      for index in 0..<document.count(node) {
        let (key, value) = document.entry(node, index)
        let name = document.text(key)
        path.steps.append(.key(name))
        defer { path.steps.removeLast() }
        guard document.isScalar(key) else {
          report(key, "a key must be text, not \(document.shown(key))")
          continue
        }
        if let first = keys.updateValue(key, forKey: name) {
          report(key, "is given twice (first on line \(document.position(first).line))")
          continue
        }
        if document.isNull(value) {
          report(value, "must have a value")
          continue
        }
        let entry = wire.begin(field.number)
        wire.data(1, Array(name.utf8))
        var inner = field
        inner.number = 2
        self.value(value, inner, in: parent)
        wire.end(entry)
      }
    }
  }

  /// One value; a single field's, or an item of a list or map.
  private mutating func value(_ node: NodeID, _ field: FieldSchema, in parent: NodeID) {
    switch field.kind {
    case .scalar(let scalar):
      if !self.scalar(node, scalar, number: field.number) { empty(field) }
    case .wrapper(let scalar):
      let open = wire.begin(field.number)
      _ = self.scalar(node, scalar, number: 1)
      wire.end(open)
    case .duration:
      let open = wire.begin(field.number)
      duration(node)
      wire.end(open)
    case .structure:
      let open = wire.begin(field.number)
      structure(node)
      wire.end(open)
    case .any:
      let open = wire.begin(field.number)
      any(node, field, in: parent)
      wire.end(open)
    case .message(let message):
      let open = wire.begin(field.number)
      self.message(node, message)
      wire.end(open)
    }
  }

  /// Something in place of a value that is wrong, so that the items after it keep their places, and a oneof is known to
  /// have a member.
  private mutating func empty(_ field: FieldSchema) {
    // A number that no enum has: nothing that looks at several fields takes it for the default.
    if case .scalar(.enumeration) = field.kind { return wire.varint(field.number, UInt64(bitPattern: -1)) }
    guard field.cardinality == .list || field.oneof != nil else { return }
    switch field.kind {
    case .scalar(.string), .scalar(.bytes): wire.data(field.number, [])
    case .scalar(.float): wire.fixed32(field.number, 0)
    case .scalar(.double): wire.fixed64(field.number, 0)
    case .scalar: wire.varint(field.number, 0)
    default: wire.data(field.number, [])
    }
  }

  // MARK: Any

  private mutating func any(_ node: NodeID, _ field: FieldSchema, in parent: NodeID) {
    let allowed = field.rules.types
    guard document.kind(node) == .mapping else {
      report(node, "must be a mapping with the key \"@type\", not \(document.shown(node))")
      return
    }
    guard let entry = document.entry(node, named: "@type"), !document.isNull(entry.value) else {
      report(node, "needs the key \"@type\" (allowed: \(Self.list(allowed)))")
      return
    }
    let url = document.text(entry.value)
    let name = url.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(url[url.index(after: $0)...]) } ?? url
    let typeURL = Array((name == url ? "type.googleapis.com/" + name : url).utf8)
    guard allowed.contains(name), let known = schema.message(named: name) else {
      // An optional filter that is left out is left empty; of an alternative the name stays.
      if isAlternative { wire.data(1, typeURL) }
      unknownType(entry.value, name, allowed: allowed, isOptional: isOptional(parent) || isAlternative)
      return
    }
    wire.data(1, typeURL)
    let open = wire.begin(2)
    fields(of: node, schema.messages[known], isAny: true)
    wire.end(open)
  }

  /// Whether the filter that `node` describes may be left out when it is not supported.
  private func isOptional(_ node: NodeID) -> Bool {
    guard let entry = document.entry(node, named: "is_optional", "isOptional") else { return false }
    return document.kind(entry.value) == .plain && document.text(entry.value) == "true"
  }

  /// Whether the place is one of several of which the first that is supported is taken.
  private var isAlternative: Bool {
    let steps = path.steps
    guard steps.count >= 5, case .index = steps[steps.count - 3] else { return false }
    return steps[steps.count - 5] == .field("load_balancing_policy") && steps[steps.count - 4] == .field("policies")
  }

  private mutating func unknownType(_ node: NodeID, _ name: String, allowed: [String], isOptional: Bool) {
    let reason = isAlternative ? "the next one is used" : "the filter is left out, because is_optional is true"
    path.steps.append(.field("@type"))
    defer { path.steps.removeLast() }
    let supported = Self.list(allowed)
    if schema.message(named: name) != nil {
      report(node, "\(name) cannot be used here (allowed: \(supported))")
    } else if ExtensionTypes.isKnown(name) {
      if isOptional {
        report(node, "\(name) is not supported yet: \(reason)", .warning)
      } else {
        report(node, "Envoy has \(name), but it is not supported yet (supported here: \(supported))")
      }
    } else {
      let last = name.split(separator: ".").last ?? ""
      let nearest = allowed.first { $0.split(separator: ".").last == last } ?? NearestName.of(name, in: allowed)
      let hint = nearest.map { "did you mean \(quoted($0))?" } ?? "supported here: \(supported)"
      report(node, "there is no type \(quoted(name)) (\(hint))")
    }
  }

  // MARK: Problems

  /// Adds a problem with the value at `path`.
  mutating func report(
    _ node: NodeID, _ message: String, _ severity: ConfigurationProblem.Severity = .error,
    covers: Findings.Coverage = .value
  ) {
    findings.add(
      Findings.Finding(
        source: source, position: document.position(node), path: path, message: message, severity: severity,
        covers: covers))
  }

  /// ` (allowed: a, b)`; nothing when there are none or too many to be read.
  private static func listed(_ what: String, _ names: [String]) -> String {
    names.isEmpty || names.count > 12 ? "" : " (\(what): \(names.joined(separator: ", ")))"
  }

  /// At most a dozen names, for "allowed: …".
  static func list(_ names: [String]) -> String {
    names.prefix(12).joined(separator: ", ") + (names.count > 12 ? ", …" : "")
  }
}

extension UInt8 {
  /// Whether it may be part of a field's name.
  fileprivate var isNameByte: Bool {
    switch self {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "@"):
      true
    default: false
    }
  }
}
