import MeshConfig
import MeshPrimitives

/// Reads the text of a format and makes the steps that write its lines.
struct SubstitutionCompiler {
  static let maximumLength = 65_536

  private let text: [UInt8]
  private var at = 0
  private var steps: [SubstitutionFormat.Step] = []
  private var texts: [UInt8] = []
  private var names: [HeaderName] = []
  private var times: [SubstitutionTimeFormat] = []
  private var keys: [String] = []
  /// The text since the last operator.
  private var pending: [UInt8] = []

  init(_ text: [UInt8]) { self.text = text }

  mutating func compile(
    _ environment: (String) -> String?, _ hostName: () -> String
  ) throws(FormatProblem) -> SubstitutionFormat.Program {
    guard text.count <= Self.maximumLength else {
      throw FormatProblem(
        offset: Self.maximumLength, message: "the format has \(text.count) bytes (at most \(Self.maximumLength))")
    }
    while at < text.count {
      let byte = text[at]
      if byte != UInt8(ascii: "%") {
        pending.append(byte)
        at += 1
      } else if at + 1 < text.count, text[at + 1] == UInt8(ascii: "%") {
        pending.append(byte)
        at += 2
      } else {
        try readOperator(environment, hostName)
      }
    }
    endText()
    texts += [UInt8](repeating: 0, count: 16)
    return SubstitutionFormat.Program(steps: steps, texts: texts, names: names, times: times, keys: keys)
  }

  private mutating func endText() {
    guard !pending.isEmpty else { return }
    steps.append(.init(operation: nil, index: Int32(texts.count), length: UInt32(pending.count)))
    texts += pending
    pending = []
  }

  // MARK: Operators

  private mutating func readOperator(
    _ environment: (String) -> String?, _ hostName: () -> String
  ) throws(FormatProblem) {
    let start = at
    at += 1
    let nameStart = at
    while at < text.count, Self.isNameByte(text[at]) { at += 1 }
    let name = String(decoding: text[nameStart..<at], as: UTF8.self)
    guard !name.isEmpty else {
      throw FormatProblem(offset: start, message: "'%' begins no operator (write %% for a percent sign)")
    }
    let operation = try Self.find(name, start)
    let argument = try readArgument(name, start)
    let length = try readLength(name)
    guard at < text.count, text[at] == UInt8(ascii: "%") else {
      throw FormatProblem(
        offset: at,
        message: "%\(name) is not ended by a '%' (an operator is %NAME%, %NAME(ARGUMENT)% or "
          + "%NAME(ARGUMENT):LENGTH%; write %% for a percent sign)")
    }
    at += 1
    if length != nil, !operation.takesLength {
      throw FormatProblem(offset: start, message: "%\(name)% takes no length")
    }
    var step = SubstitutionFormat.Step(operation: operation, length: length ?? .max)
    switch operation.argument {
    case .none:
      if argument != nil { throw FormatProblem(offset: start, message: "%\(name)% takes no argument") }
      if operation == .hostName { return addConstant(hostName(), .max) }
    case .optionalTime:
      if let argument, !argument.isEmpty {
        step.index = Int32(times.count)
        times.append(try SubstitutionTimeFormat(argument))
      }
    case .header: try readHeaders(argument, name, start, &step)
    case .metadataKey:
      guard let argument, let colon = argument.firstIndex(of: UInt8(ascii: ":")), colon != argument.startIndex,
        colon + 1 < argument.endIndex
      else {
        throw FormatProblem(offset: start, message: "%\(name)% needs a namespace and a key: %\(name)(NAMESPACE:KEY)%")
      }
      step.index = Int32(keys.count)
      // The namespace ends at the first colon; further ones lead into a structure, whose names dots join.
      keys.append(
        String(
          decoding: argument.map { $0 == UInt8(ascii: ":") ? UInt8(ascii: ".") : $0 }, as: UTF8.self))
    case .variable:
      guard let argument, !argument.isEmpty, !argument.contains(0) else {
        throw FormatProblem(offset: start, message: "%\(name)% needs the name of a variable: %\(name)(NAME)%")
      }
      return addConstant(environment(String(decoding: argument, as: UTF8.self)) ?? "-", length ?? .max)
    }
    endText()
    steps.append(step)
  }

  /// A value that is known already becomes text.
  private mutating func addConstant(_ value: String, _ length: UInt32) {
    var output = SubstitutionOutput()
    Array(value.utf8.prefix(Int(length))).withUnsafeBufferPointer { output.appendEscaped($0) }
    pending += Array(output.bytes)
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    byte &- 0x41 < 26 || byte &- 0x61 < 26 || byte &- 0x30 < 10 || byte == UInt8(ascii: "_")
  }

  private static let operators = Dictionary(
    uniqueKeysWithValues: SubstitutionOperator.allCases.map { ($0.name, $0) })

  private static func find(_ name: String, _ offset: Int) throws(FormatProblem) -> SubstitutionOperator {
    if let found = operators[name] { return found }
    if SubstitutionOperator.envoyOnly.contains(name) {
      throw FormatProblem(offset: offset, message: "%\(name)% is not supported by this proxy (\(supported))")
    }
    let shown = name.utf8.count <= 60 ? name : "\(name.prefix(60))…"
    let nearest = NearestName.of(name, in: SubstitutionOperator.allCases.map(\.name))
    let suggestion = nearest.map { "did you mean %\($0)%? " } ?? ""
    throw FormatProblem(offset: offset, message: "there is no operator %\(shown)% (\(suggestion)\(supported))")
  }

  private static let supported =
    "supported: " + SubstitutionOperator.allCases.map(\.name).sorted().joined(separator: ", ")

  // MARK: Their parts

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

  private mutating func readHeaders(
    _ argument: ArraySlice<UInt8>?, _ name: String, _ offset: Int, _ step: inout SubstitutionFormat.Step
  ) throws(FormatProblem) {
    guard let argument, !argument.isEmpty else {
      throw FormatProblem(
        offset: offset, message: "%\(name)% needs a header: %\(name)(NAME)% or %\(name)(NAME?ALTERNATIVE)%")
    }
    let parts = argument.split(separator: UInt8(ascii: "?"), omittingEmptySubsequences: false)
    guard parts.count <= 2 else {
      throw FormatProblem(offset: offset, message: "%\(name)(\u{2026})% takes one alternative header, not more")
    }
    (step.name, step.index) = try addHeader(parts[0], name)
    if parts.count == 2 { (step.alternative, step.alternativeIndex) = try addHeader(parts[1], name) }
  }

  private mutating func addHeader(
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
