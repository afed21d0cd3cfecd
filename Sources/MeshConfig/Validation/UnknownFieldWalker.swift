/// A part of a message that is not in the schema.
public struct UnknownField: Sendable, Equatable, CustomStringConvertible {
  /// Where it is, for example `static_resources.clusters[0].outlier_detection`. A field whose name is not known stands
  /// there by its number: `route.<field 99>`.
  public var path: String
  /// What is the matter with it.
  public var message: String

  /// `path: message`.
  public var description: String { "\(path): \(message)" }
}

/// Finds what a message in wire format holds beyond the schema. A proxy that ignored such a field would do something
/// else than it was told.
public enum UnknownFieldWalker {
  /// The first `limit` unknown fields and unsupported types in `bytes`, which hold a message with the full name
  /// `message` (such as `envoy.config.cluster.v3.Cluster`). Enters the content of `Any`. Bytes that are no message
  /// are reported as such.
  public static func unknownFields(
    inWire bytes: [UInt8], message: String, limit: Int = ConfigurationReader.problemLimit
  ) -> [UnknownField] {
    unknownFields(inWire: bytes, message: message, limit: limit, schema: Schema.embedded())
  }

  static func unknownFields(
    inWire bytes: [UInt8], message: String, limit: Int, schema: Schema
  ) -> [UnknownField] {
    guard let place = schema.message(named: message) else {
      return [UnknownField(path: "", message: "there is no message \(message) in the schema")]
    }
    var walker = Walker(schema: schema, limit: limit)
    bytes.withUnsafeBytes { walker.walk($0, place) }
    return walker.found
  }

  private struct Walker {
    let schema: Schema
    let limit: Int
    var path = ConfigurationPath()
    var found: [UnknownField] = []

    mutating func walk(_ bytes: UnsafeRawBufferPointer, _ message: Int) {
      let schema = schema.messages[message]
      var counts = [Int](repeating: 0, count: schema.fields.count)
      var unknown: Set<Int> = []
      var reader = WireReader(bytes)
      while found.count < limit, let (number, value) = reader.next() {
        guard let place = schema.byNumber[number] else {
          if unknown.insert(number).inserted { report(number, schema) }
          continue
        }
        let field = schema.fields[place]
        path.steps.append(.field(field.name))
        switch field.cardinality {
        case .single: enter(value, field)
        case .list:
          path.steps.append(.index(counts[place]))
          counts[place] += 1
          enter(value, field)
          path.steps.removeLast()
        case .map: enterEntry(value, field)
        }
        path.steps.removeLast()
      }
      if reader.isMalformed { report(.init(path.steps), "is malformed") }
    }

    private mutating func enterEntry(_ value: WireReader.Value, _ field: FieldSchema) {
      guard let bytes = value.bytes else { return }
      var reader = WireReader(bytes)
      var key = ""
      var content: WireReader.Value?
      while let (number, value) = reader.next() {
        if number == 1 { key = value.text ?? "" } else if number == 2 { content = value }
      }
      path.steps.append(.key(key))
      if let content { enter(content, field) }
      path.steps.removeLast()
    }

    private mutating func enter(_ value: WireReader.Value, _ field: FieldSchema) {
      guard let bytes = value.bytes else { return }
      switch field.kind {
      case .message(let message): walk(bytes, message)
      case .any:
        let (name, content) = readAny(bytes)
        if field.rules.types.contains(name), let message = schema.message(named: name) {
          walk(content, message)
        } else if schema.message(named: name) != nil {
          report(path, "\(name) cannot be used here (allowed: \(Transcoder.list(field.rules.types)))")
        } else if ExtensionTypes.isKnown(name) {
          report(path, "Envoy has \(name), but it is not supported yet")
        } else {
          report(path, "there is no type \(quoted(name))")
        }
      case .scalar, .wrapper, .duration, .structure: break
      }
    }

    private mutating func report(_ number: Int, _ schema: Schema.MessageSchema) {
      if let other = schema.others.first(where: { $0.number == number }) {
        report(
          ConfigurationPath(path.steps + [.field(other.name)]),
          "Envoy has this field, but it is not supported yet")
      } else {
        report(
          ConfigurationPath(path.steps + [.field("<field \(number)>")]),
          "there is no such field in \(schema.shortName)")
      }
    }

    private mutating func report(_ path: ConfigurationPath, _ message: String) {
      if found.count < limit { found.append(UnknownField(path: path.description, message: message)) }
    }
  }
}
