import MeshConfig
import MeshPrimitives
import SwiftProtobuf

/// Reads the text of a format and makes the steps that write it.
struct SubstitutionCompiler {
  static let maximumLength = 65_536

  let escaping: SubstitutionOutput.Escaping
  let omitsEmpty: Bool
  let environment: (String) -> String?
  let hostName: String

  /// The text that is read, and how far.
  var text: [UInt8] = []
  var at = 0
  var steps: [SubstitutionFormat.Step] = []
  var times: [SubstitutionTimeFormat] = []
  var keys: [[String]] = []
  var groups: [[SubstitutionFormat.Step]] = []
  /// How deep objects that may be taken back lie in each other.
  var depth = 0
  private var texts: [UInt8] = []
  private var names: [HeaderName] = []
  /// The text since the last operator.
  private var pending: [UInt8] = []

  init(
    escaping: SubstitutionOutput.Escaping, omitsEmpty: Bool, environment: @escaping (String) -> String?,
    hostName: String
  ) {
    self.escaping = escaping
    self.omitsEmpty = omitsEmpty
    self.environment = environment
    self.hostName = hostName
  }

  /// What has been compiled.
  var program: SubstitutionFormat.Program {
    SubstitutionFormat.Program(
      steps: steps, escaping: escaping, depth: depth, texts: texts + [UInt8](repeating: 0, count: 16), names: names,
      times: times, keys: keys, groups: groups)
  }

  /// Appends a format.
  mutating func add(_ text: [UInt8]) throws(FormatProblem) {
    guard text.count <= Self.maximumLength else {
      throw FormatProblem(
        offset: Self.maximumLength, message: "the format has \(text.count) bytes (at most \(Self.maximumLength))")
    }
    self.text = text
    at = 0
    while at < text.count {
      if let literal = readLiteral() {
        pending.append(literal)
      } else {
        let step = try readOperator()
        endText()
        steps.append(step)
      }
    }
    endText()
  }

  // MARK: Text

  /// One byte of text: anything but the beginning of an operator.
  mutating func readLiteral() -> UInt8? {
    let byte = text[at]
    if byte != UInt8(ascii: "%") {
      at += 1
    } else if at + 1 < text.count, text[at + 1] == UInt8(ascii: "%") {
      at += 2
    } else {
      return nil
    }
    return byte
  }

  /// Appends text that is the same every time.
  mutating func append(literal: [UInt8]) { pending += literal }

  mutating func append(literal: String) { pending += literal.utf8 }

  /// Ends the run of text, so that a step can follow.
  mutating func endText() {
    guard !pending.isEmpty else { return }
    steps.append(textStep(.text, pending))
    pending = []
  }

  mutating func textStep(_ action: SubstitutionFormat.Step.Action, _ bytes: [UInt8]) -> SubstitutionFormat.Step {
    defer { texts += bytes }
    return .init(action: action, index: Int32(texts.count), length: UInt32(bytes.count))
  }

  // MARK: Operators

  /// Reads an operator, whose percent sign is next. A value that is known already becomes a step of text.
  mutating func readOperator() throws(FormatProblem) -> SubstitutionFormat.Step {
    let start = at
    at += 1
    let nameStart = at
    while at < text.count, Self.isNameByte(text[at]) { at += 1 }
    let name = String(decoding: text[nameStart..<at], as: UTF8.self)
    guard !name.isEmpty else {
      throw FormatProblem(offset: start, message: "'%' begins no operator (write %% for a percent sign)")
    }
    let definition = try Self.find(name, start)
    let argument = try readArgument(name, start)
    let length = try readLength(name)
    guard at < text.count, text[at] == UInt8(ascii: "%") else {
      throw FormatProblem(
        offset: at,
        message: "%\(name) is not ended by a '%' (an operator is %NAME%, %NAME(ARGUMENT)% or "
          + "%NAME(ARGUMENT):LENGTH%; write %% for a percent sign)")
    }
    at += 1
    return try makeStep(definition, argument, length, start)
  }

  /// - Parameters:
  ///   - argument: what stands in parentheses, with its place in the text.
  ///   - offset: where the operator begins.
  mutating func makeStep(
    _ definition: SubstitutionName, _ argument: ArraySlice<UInt8>?, _ length: UInt32?, _ offset: Int
  ) throws(FormatProblem) -> SubstitutionFormat.Step {
    if length != nil, !definition.takesLength {
      throw FormatProblem(offset: offset, message: "%\(definition.name)% takes no length")
    }
    var step = SubstitutionFormat.Step(
      action: omitsEmpty ? .valueOrNothing : .value, operation: definition.operation, length: length ?? .max)
    try readArgument(argument, definition, offset, &step)
    switch step.operation {
    case .hostName: return constant(hostName, .max)
    case .environment:
      let name = String(decoding: argument ?? [], as: UTF8.self)
      return constant(environment(name) ?? "-", step.length)
    default: return step
    }
  }

  private mutating func constant(_ value: String, _ length: UInt32) -> SubstitutionFormat.Step {
    var output = SubstitutionOutput()
    output.escaping = escaping
    Array(value.utf8.prefix(Int(length))).withUnsafeBufferPointer { output.appendEscaped($0) }
    return textStep(.text, Array(output.bytes))
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    byte &- 0x41 < 26 || byte &- 0x61 < 26 || byte &- 0x30 < 10 || byte == UInt8(ascii: "_")
  }

  static func find(_ name: String, _ offset: Int) throws(FormatProblem) -> SubstitutionName {
    if let found = SubstitutionName.byName[name] { return found }
    if let reason = SubstitutionName.unsupported[name] {
      throw FormatProblem(offset: offset, message: "%\(name)% is not supported (\(reason))")
    }
    let shown = name.utf8.count <= 60 ? name : "\(name.prefix(60))…"
    let nearest = NearestName.of(name, in: SubstitutionName.all.map(\.name))
    let suggestion = nearest.map { "did you mean %\($0)%?" } ?? "docs/access-log.md lists them all"
    throw FormatProblem(offset: offset, message: "there is no operator %\(shown)% (\(suggestion))")
  }

  /// What stands in parentheses.
  private mutating func readArgument(_ name: String, _ offset: Int) throws(FormatProblem) -> ArraySlice<UInt8>? {
    guard at < text.count, text[at] == UInt8(ascii: "(") else { return nil }
    guard let end = text[at...].firstIndex(of: UInt8(ascii: ")")) else {
      throw FormatProblem(offset: offset, message: "the parenthesis of %\(name)( is not closed")
    }
    let argument = text[(at + 1)..<end]
    at = end + 1
    return argument
  }

  private mutating func readLength(_ name: String) throws(FormatProblem) -> UInt32? {
    guard at < text.count, text[at] == UInt8(ascii: ":") else { return nil }
    let start = at
    at += 1
    var value: UInt32 = 0
    while at < text.count, text[at] &- 0x30 < 10 {
      value = value &* 10 &+ UInt32(text[at] &- 0x30)
      at += 1
      if at - start > 8 { throw FormatProblem(offset: start, message: "the length of %\(name)% is over 9999999") }
    }
    guard at > start + 1 else {
      throw FormatProblem(offset: start, message: "the length of %\(name)% is not a decimal number")
    }
    return value
  }

  mutating func addHeader(
    _ name: ArraySlice<UInt8>, _ operation: String
  ) throws(FormatProblem) -> (HeaderID, Int32) {
    let isPseudo = name.first == UInt8(ascii: ":")
    let header = HeaderName(String(decoding: name, as: UTF8.self))
    let token = isPseudo ? name.dropFirst() : name
    guard !token.isEmpty, token.allSatisfy(Self.isTokenByte) else {
      throw FormatProblem(
        offset: name.startIndex,
        message: "%\(operation)(\u{2026})%: not the name of a header (letters, digits and !#$%&'*+-.^_`|~)")
    }
    if isPseudo, ![.method, .path, .scheme, .status, .host].contains(header.id) {
      throw FormatProblem(
        offset: name.startIndex,
        message: "%\(operation)(\u{2026})%: no such pseudo header (:METHOD, :PATH, :SCHEME, :AUTHORITY, :STATUS)")
    }
    if header.id != .other { return (header.id, -1) }
    names.append(header)
    return (.other, Int32(names.count - 1))
  }

  /// tchar (RFC 9110 §5.6.2).
  private static func isTokenByte(_ byte: UInt8) -> Bool {
    byte &- 0x30 < 10 || byte.asciiLowercased &- 0x61 < 26 || "!#$%&'*+-.^_`|~".utf8.contains(byte)
  }
}
