/// Checks what the values of a message mean: Envoy's validation rules, and what this proxy cannot do yet. Works on the
/// wire format, so that a file and a control plane's resources go through the same checks; the bytes must be as a
/// serialiser makes them (each single field at most once).
struct WireValidator {
  enum Kind {
    /// What is there is wrong.
    case value
    /// The field that the path leads to is missing.
    case missing
    /// The message that the path leads to lacks one of several fields.
    case missingMember
    /// What is there can be used, but may not mean what its author thinks.
    case doubtful
  }

  let schema: Schema
  private let found: (Kind, ConfigurationPath, String) -> Void
  private var path = ConfigurationPath()

  /// `found` is called with each problem.
  init(schema: Schema, found: @escaping (Kind, ConfigurationPath, String) -> Void) {
    self.schema = schema
    self.found = found
  }

  private func report(_ path: ConfigurationPath, _ message: String) { found(.value, path, message) }

  mutating func validate(_ bytes: UnsafeRawBufferPointer, _ message: Int) {
    let schema = schema.messages[message]
    var counts = [Int](repeating: 0, count: schema.fields.count)
    var reader = WireReader(bytes)
    while let (number, value) = reader.next() {
      guard let place = schema.byNumber[number] else { continue }
      let field = schema.fields[place]
      path.steps.append(.field(field.name))
      switch field.cardinality {
      case .single: self.value(value, field)
      case .list:
        path.steps.append(.index(counts[place]))
        self.value(value, field)
        path.steps.removeLast()
      case .map: entry(value, field)
      }
      path.steps.removeLast()
      counts[place] += 1
    }
    for (place, field) in schema.fields.enumerated() { presence(field, counts[place]) }
    for oneof in schema.oneofs where oneof.required && oneof.members.allSatisfy({ counts[$0] == 0 }) {
      found(.missingMember, path, "needs one of \(Transcoder.list(oneof.members.map { schema.fields[$0].name }))")
    }
    MessageRules.check(schema.name, bytes) { steps, problem, kind in
      found(kind, ConfigurationPath(path.steps + steps), problem)
    }
  }

  // MARK: Presence

  private func presence(_ field: FieldSchema, _ count: Int) {
    let rules = field.rules
    if count == 0 {
      guard rules.required else { return }
      found(.missing, ConfigurationPath(path.steps + [.field(field.name)]), "is required" + allowed(field))
    } else if let least = rules.minItems, count < least {
      report(ConfigurationPath(path.steps + [.field(field.name)]), "has \(count) items (at least \(least) are needed)")
    } else if let most = rules.maxItems, count > most {
      let text = most == 1 ? "more than one is not supported yet" : "at most \(most) are allowed"
      report(ConfigurationPath(path.steps + [.field(field.name)]), "has \(count) items (\(text))")
    }
  }

  private func allowed(_ field: FieldSchema) -> String {
    if field.cardinality == .list {
      let least = field.rules.minItems ?? 1
      return least == 1 ? " (a list of at least one item)" : " (a list of at least \(least) items)"
    }
    switch field.kind {
    case .any: return " (a mapping with \"@type\": \(Transcoder.list(field.rules.types)))"
    case .duration: return " (a duration\(range(field.rules, Self.duration).map { ", " + $0 } ?? ""))"
    case .scalar(.uint32), .wrapper(.uint32): return range(field.rules, { "\($0)" }).map { " (\($0))" } ?? ""
    default: return ""
    }
  }

  // MARK: Values

  private mutating func entry(_ value: WireReader.Value, _ field: FieldSchema) {
    guard let bytes = value.bytes else { return }
    var reader = WireReader(bytes)
    var key = ""
    var content: WireReader.Value?
    while let (number, value) = reader.next() {
      if number == 1 { key = value.text ?? "" } else if number == 2 { content = value }
    }
    path.steps.append(.key(key))
    if let content { self.value(content, field) }
    path.steps.removeLast()
  }

  private mutating func value(_ value: WireReader.Value, _ field: FieldSchema) {
    switch field.kind {
    case .scalar(let type): scalar(value, type, field.rules)
    case .wrapper(let type):
      guard let bytes = value.bytes else { return }
      var reader = WireReader(bytes)
      // A wrapper without content holds zero.
      scalar(reader.next()?.value ?? .varint(0), type, field.rules)
    case .duration: value.bytes.map { duration($0, field.rules) }
    case .any:
      guard let bytes = value.bytes else { return }
      let (name, content) = readAny(bytes)
      if field.rules.types.contains(name), let message = schema.message(named: name) { validate(content, message) }
    case .structure: break
    case .message(let message):
      if let bytes = value.bytes { validate(bytes, message) }
    }
  }

  private func scalar(_ value: WireReader.Value, _ type: FieldSchema.Scalar, _ rules: FieldRules) {
    switch type {
    case .string:
      if let bytes = value.bytes { text(bytes, rules) }
    case .bool:
      if let constant = rules.constant, let given = value.varint, (given != 0) != constant {
        report(path, "must be \(constant) when it is given (leave it out otherwise)")
      }
    case .int32, .int64, .uint32:
      guard let given = value.varint else { return }
      number(Int64(bitPattern: given), rules) { "\($0)" }
    case .enumeration(let place):
      if let given = value.varint { enumeration(Int32(truncatingIfNeeded: given), schema.enums[place]) }
    case .uint64:
      guard let given = value.varint else { return }
      number(Int64(clamping: given), rules) { "\($0)" }
    case .double:
      if let bits = value.fixed64 { real(Double(bitPattern: bits), rules) }
    case .float, .bytes:
      break
    }
  }

  private func enumeration(_ number: Int32, _ type: Schema.EnumSchema) {
    let supported = Transcoder.list(type.supported)
    guard let value = type.values.first(where: { $0.number == number }) else {
      report(path, "has no value \(number) (allowed: \(supported))")
      return
    }
    if !value.supported { report(path, "\(value.name) is not supported yet (supported: \(supported))") }
  }

  private func duration(_ bytes: UnsafeRawBufferPointer, _ rules: FieldRules) {
    var reader = WireReader(bytes)
    var seconds: Int64 = 0
    var nanos: Int64 = 0
    while let (number, value) = reader.next() {
      guard let given = value.varint else { continue }
      if number == 1 { seconds = Int64(bitPattern: given) } else if number == 2 { nanos = Int64(bitPattern: given) }
    }
    guard seconds >= 0, nanos >= 0, nanos < 1_000_000_000, seconds <= Transcoder.longestDuration else {
      report(path, "must be 0s to \(Transcoder.longestDuration)s")
      return
    }
    // The bound is such that nanoseconds fit.
    number(seconds * 1_000_000_000 + nanos, rules, Self.duration)
  }

  private func number(_ value: Int64, _ rules: FieldRules, _ shown: (Int64) -> String) {
    if let lower = rules.lower, value < lower.value || (lower.exclusive && value == lower.value) {
      report(path, "must be \(range(rules, shown) ?? ""), not \(shown(value))")
    } else if let upper = rules.upper, value > upper.value || (upper.exclusive && value == upper.value) {
      report(path, "must be \(range(rules, shown) ?? ""), not \(shown(value))")
    }
  }

  /// Of real numbers the bounds are whole and belong to the range.
  private func real(_ value: Double, _ rules: FieldRules) {
    let isInRange =
      (rules.lower.map { value >= Double($0.value) } ?? true) && (rules.upper.map { value <= Double($0.value) } ?? true)
    if !isInRange { report(path, "must be \(range(rules, { "\($0)" }) ?? ""), not \(value)") }
  }

  /// `1 to 8192`, `at least 1`, `more than 0s`; nil without bounds.
  private func range(_ rules: FieldRules, _ shown: (Int64) -> String) -> String? {
    // Whole numbers read better with bounds that are allowed themselves.
    let isDuration = shown(0) != "0"
    let lower = rules.lower.map {
      $0.exclusive && !isDuration ? FieldRules.Bound(value: $0.value + 1, exclusive: false) : $0
    }
    let upper = rules.upper.map {
      $0.exclusive && !isDuration ? FieldRules.Bound(value: $0.value - 1, exclusive: false) : $0
    }
    switch (lower, upper) {
    case (let lower?, let upper?): return "\(shown(lower.value)) to \(shown(upper.value))"
    case (let lower?, nil): return (lower.exclusive ? "more than " : "at least ") + shown(lower.value)
    case (nil, let upper?): return (upper.exclusive ? "less than " : "at most ") + shown(upper.value)
    case (nil, nil): return nil
    }
  }

  private static func duration(_ nanoseconds: Int64) -> String { Transcoder.seconds(Double(nanoseconds) / 1e9) }

  private func text(_ bytes: UnsafeRawBufferPointer, _ rules: FieldRules) {
    if let least = rules.minLength, bytes.count < least {
      report(path, least == 1 ? "must not be empty" : "must have at least \(least) characters")
      return
    }
    if let most = rules.maxBytes, bytes.count > most {
      report(path, "must have at most \(most) bytes, not \(bytes.count)")
    }
    if rules.isHeaderName, !HeaderText.isName(bytes) {
      report(
        path, "must be a header name, not \(quoted(String(decoding: bytes, as: UTF8.self))) (\(HeaderText.nameRule))")
    }
    if rules.isHeaderValue, !HeaderText.isValue(bytes) {
      report(path, "must not contain CR, LF or NUL, but is \(quoted(String(decoding: bytes, as: UTF8.self)))")
    }
    if rules.isPathSeparatedPrefix {
      let forbidden = bytes.contains(UInt8(ascii: "?")) || bytes.contains(UInt8(ascii: "#"))
      if bytes.count < 2 || forbidden || bytes.last == UInt8(ascii: "/") {
        let shown = quoted(String(decoding: bytes, as: UTF8.self))
        report(path, "must have at least two characters, no ? or #, and no / at the end, but is \(shown)")
      }
    }
  }
}

/// What may stand in a header (RFC 9110 sections 5.1 and 5.5).
enum HeaderText {
  static let nameRule = "letters, digits and !#$%&'*+-.^_`|~"

  /// A token; a colon may come first, for the names of pseudo headers such as `:path`.
  static func isName(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let token = bytes.first == UInt8(ascii: ":") ? UnsafeRawBufferPointer(rebasing: bytes.dropFirst()) : bytes
    return !token.isEmpty && token.allSatisfy(isTokenByte)
  }

  static func isValue(_ bytes: UnsafeRawBufferPointer) -> Bool {
    !bytes.contains { $0 == 0 || $0 == UInt8(ascii: "\r") || $0 == UInt8(ascii: "\n") }
  }

  private static func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
  }
}
