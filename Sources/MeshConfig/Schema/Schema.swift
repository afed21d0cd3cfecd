/// What the reader knows of the configuration's messages. Made from `schemaTable` in well under a millisecond when a
/// configuration is read, and released with it; it holds nothing that is needed while traffic flows.
struct Schema {
  struct Oneof {
    var name: String
    /// One of its members must be set.
    var required: Bool
    /// By their places in `MessageSchema.fields`.
    var members: [Int] = []
  }

  struct MessageSchema {
    /// Full name, such as `envoy.config.cluster.v3.Cluster`.
    var name: String
    var fields: [FieldSchema] = []
    var oneofs: [Oneof] = []
    /// Fields that Envoy has and this proxy does not support.
    var others: [(number: Int, name: String)] = []
    /// By name in both spellings, and by number; the values are places in `fields`.
    var byName: [String: Int] = [:]
    var byNumber: [Int: Int] = [:]

    /// The name without its package.
    var shortName: String { Schema.shortName(name) }
  }

  struct EnumSchema {
    var name: String
    var values: [(name: String, number: Int32, supported: Bool)] = []

    /// The names of the supported values.
    var supported: [String] { values.filter(\.supported).map(\.name) }
  }

  private(set) var messages: [MessageSchema] = []
  private(set) var enums: [EnumSchema] = []
  private var messageByName: [String: Int] = [:]

  /// The message with this full name.
  func message(named name: String) -> Int? { messageByName[name] }

  /// `Cluster.LbPolicy` of `envoy.config.cluster.v3.Cluster.LbPolicy`.
  static func shortName(_ fullName: String) -> String {
    let parts = fullName.split(separator: ".")
    let own = parts.drop { part in part.utf8.first.map { $0 < UInt8(ascii: "A") || $0 > UInt8(ascii: "Z") } ?? true }
    return own.isEmpty ? fullName : own.joined(separator: ".")
  }

  /// `connectTimeout` of `connect_timeout`, by the rule of protobuf's JSON names.
  static func jsonName(_ name: String) -> String {
    guard name.utf8.contains(UInt8(ascii: "_")) else { return name }
    var out: [UInt8] = []
    var upper = false
    for byte in name.utf8 {
      if byte == UInt8(ascii: "_") {
        upper = true
      } else {
        let isLower = byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z")
        out.append(upper && isLower ? byte & 0xdf : byte)
        upper = false
      }
    }
    return String(decoding: out, as: UTF8.self)
  }
}

extension Schema {
  /// The schema of this proxy.
  static func embedded() -> Schema { Schema(table: schemaTable) }

  /// Reads a table, one line for each thing:
  ///
  ///     message FULL.NAME
  ///     oneof NAME [required]
  ///     NUMBER NAME [repeated:|map:]TYPE [RULE]…         a field
  ///     others NUMBER:NAME …                             fields that are not supported
  ///     enum FULL.NAME
  ///     NUMBER NAME [unsupported]                        a value
  ///
  /// `TYPE` is a scalar's name, `message:FULL.NAME` or `enum:FULL.NAME`. The table is part of the program: a mistake
  /// in it is a mistake of the program, found by its tests.
  init(table: StaticString) {
    let text = table.withUTF8Buffer { String(decoding: $0, as: UTF8.self) }
    let lines = Self.split(text[...], "\n").map { Self.split($0, " ") }
    // Names first, so that fields can refer to messages that come later.
    var enumByName: [String: Int] = [:]
    for line in lines {
      switch line[0] {
      case "message":
        messageByName[String(line[1])] = messages.count
        messages.append(MessageSchema(name: String(line[1])))
      case "enum":
        enumByName[String(line[1])] = enums.count
        enums.append(EnumSchema(name: String(line[1])))
      default: break
      }
    }
    var message = -1
    var enumeration = -1
    var inEnum = false
    for line in lines {
      switch line[0] {
      case "message":
        message += 1
        inEnum = false
      case "enum":
        enumeration += 1
        inEnum = true
      case "oneof":
        messages[message].oneofs.append(Oneof(name: String(line[1]), required: line.count > 2))
      case "others":
        messages[message].others = line.dropFirst().map { word in
          let parts = Self.split(word, ":")
          return (Int(parts[0]) ?? 0, String(parts[1]))
        }
      default:
        if inEnum {
          enums[enumeration].values.append((String(line[1]), Int32(line[0]) ?? 0, line.count == 2))
        } else {
          addField(line, to: message, enumByName)
        }
      }
    }
  }

  /// Splits at an ASCII character: many times faster than at a `Character`.
  fileprivate static func split(_ text: Substring, _ separator: Unicode.Scalar) -> [Substring] {
    text.utf8.split(separator: UInt8(ascii: separator)).map(Substring.init)
  }

  private mutating func addField(_ words: [Substring], to message: Int, _ enumByName: [String: Int]) {
    let name = String(words[1])
    var type = words[2]
    var cardinality = FieldSchema.Cardinality.single
    for (prefix, meaning) in [("repeated:", FieldSchema.Cardinality.list), ("map:", .map)] where type.hasPrefix(prefix)
    {
      type = type.dropFirst(prefix.count)
      cardinality = meaning
    }
    var field = FieldSchema(
      name: name, jsonName: Self.jsonName(name), number: Int(words[0]) ?? 0, kind: kind(of: type, enumByName),
      cardinality: cardinality)
    let place = messages[message].fields.count
    for word in words.dropFirst(3) {
      let parts = Self.split(word, "=")
      if parts[0] == "oneof" {
        field.oneof = messages[message].oneofs.firstIndex { $0.name == parts[1] }
        if let oneof = field.oneof { messages[message].oneofs[oneof].members.append(place) }
      } else {
        field.rules.add(parts[0], parts.count > 1 ? parts[1] : "")
      }
    }
    messages[message].fields.append(field)
    messages[message].byName[name] = place
    messages[message].byName[field.jsonName] = place
    messages[message].byNumber[field.number] = place
  }

  private func kind(of type: Substring, _ enumByName: [String: Int]) -> FieldSchema.Kind {
    if type.hasPrefix("enum:") { return .scalar(.enumeration(enumByName[String(type.dropFirst(5))] ?? 0)) }
    if type.hasPrefix("message:") {
      let name = String(type.dropFirst(8))
      if let message = messageByName[name] { return .message(message) }
      switch name {
      case "google.protobuf.Any": return .any
      case "google.protobuf.Duration": return .duration
      case "google.protobuf.Struct": return .structure
      case "google.protobuf.BoolValue": return .wrapper(.bool)
      case "google.protobuf.Int32Value": return .wrapper(.int32)
      case "google.protobuf.Int64Value": return .wrapper(.int64)
      case "google.protobuf.UInt32Value": return .wrapper(.uint32)
      case "google.protobuf.UInt64Value": return .wrapper(.uint64)
      case "google.protobuf.FloatValue": return .wrapper(.float)
      case "google.protobuf.DoubleValue": return .wrapper(.double)
      case "google.protobuf.BytesValue": return .wrapper(.bytes)
      default: return .wrapper(.string)
      }
    }
    switch type {
    case "bool": return .scalar(.bool)
    case "int32": return .scalar(.int32)
    case "int64": return .scalar(.int64)
    case "uint32": return .scalar(.uint32)
    case "uint64": return .scalar(.uint64)
    case "float": return .scalar(.float)
    case "double": return .scalar(.double)
    case "bytes": return .scalar(.bytes)
    default: return .scalar(.string)
    }
  }
}

extension FieldRules {
  fileprivate mutating func add(_ rule: Substring, _ value: Substring) {
    switch rule {
    case "required": required = true
    case "deprecated": deprecated = String(value)
    case "min_len": minLength = Int(value)
    case "max_bytes": maxBytes = Int(value)
    case "gte", "gt": lower = Int64(value).map { Bound(value: $0, exclusive: rule == "gt") }
    case "lte", "lt": upper = Int64(value).map { Bound(value: $0, exclusive: rule == "lt") }
    case "const": constant = value == "true"
    case "min_items": minItems = Int(value)
    case "max_items": maxItems = Int(value)
    case "header_name": isHeaderName = true
    case "header_value": isHeaderValue = true
    case "path_separated_prefix": isPathSeparatedPrefix = true
    case "types": types = Schema.split(value, ",").map(String.init)
    default: break
    }
  }
}
