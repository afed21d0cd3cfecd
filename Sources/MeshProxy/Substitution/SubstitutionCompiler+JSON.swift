import SwiftProtobuf

/// JSON formats: an object whose strings are formats.
extension SubstitutionCompiler {
  /// The reader's own bound on configurations is higher.
  static let maximumDepth = 32

  /// Compiles an object, which becomes a line.
  mutating func add(_ structure: Google_Protobuf_Struct) throws(FormatProblem) {
    append(literal: "{")
    try addMembers(structure, "", 1)
    append(literal: "}\n")
    endText()
    let size = program.texts.count
    guard size <= Self.maximumLength else {
      throw FormatProblem(
        offset: Self.maximumLength, message: "the format has \(size) bytes (at most \(Self.maximumLength))")
    }
  }

  private mutating func addMembers(
    _ structure: Google_Protobuf_Struct, _ path: String, _ level: Int
  ) throws(FormatProblem) {
    guard level <= Self.maximumDepth else {
      throw FormatProblem(offset: 0, message: "is over \(Self.maximumDepth) levels deep", path: path)
    }
    depth = max(depth, level)
    var isFirst = true
    for (name, value) in structure.fields.sorted(by: {
      Array($0.key.utf8).lexicographicallyPrecedes(Array($1.key.utf8))
    }) {
      beginElement(jsonString(name) + ":", isFirst)
      isFirst = false
      try add(value, "\(path).\(name)", level)
    }
  }

  private mutating func beginElement(_ text: String, _ isFirst: Bool) {
    if omitsEmpty {
      endText()
      steps.append(textStep(.member, Array(text.utf8)))
    } else {
      append(literal: (isFirst ? "" : ",") + text)
    }
  }

  private mutating func add(_ value: Google_Protobuf_Value, _ path: String, _ level: Int) throws(FormatProblem) {
    switch value.kind {
    case .stringValue(let text):
      do { try addString(text) } catch {
        throw FormatProblem(offset: error.offset, message: error.message, path: path)
      }
    case .boolValue(let value): append(literal: value ? "true" : "false")
    case .numberValue(let value): append(literal: SubstitutionOutput.jsonNumber(value))
    case .structValue(let structure):
      if omitsEmpty {
        endText()
        steps.append(.init(action: .open))
      } else {
        append(literal: "{")
      }
      try addMembers(structure, path, level + 1)
      if omitsEmpty {
        endText()
        steps.append(.init(action: .close))
      } else {
        append(literal: "}")
      }
    case .listValue(let list):
      guard level < Self.maximumDepth else {
        throw FormatProblem(offset: 0, message: "is over \(Self.maximumDepth) levels deep", path: path)
      }
      append(literal: "[")
      for (index, value) in list.values.enumerated() {
        beginElement("", index == 0)
        try add(value, "\(path)[\(index)]", level + 1)
      }
      append(literal: "]")
    case .nullValue, nil:
      if omitsEmpty {
        endText()
        steps.append(.init(action: .jsonOrNothing))
      } else {
        append(literal: "null")
      }
    }
  }

  /// A string that is one operator has the operator's type; any other is a string.
  private mutating func addString(_ text: String) throws(FormatProblem) {
    let bytes = Array(text.utf8)
    guard bytes.count <= Self.maximumLength else {
      throw FormatProblem(
        offset: Self.maximumLength, message: "the format has \(bytes.count) bytes (at most \(Self.maximumLength))")
    }
    self.text = bytes
    at = 0
    if bytes.first == UInt8(ascii: "%"), bytes.count > 1, bytes[1] != UInt8(ascii: "%") {
      var step = try readOperator()
      if at == bytes.count {
        guard step.action != .text else {
          append(literal: "\"")
          endText()
          steps.append(step)
          return append(literal: "\"")
        }
        step.action = omitsEmpty ? .jsonOrNothing : .json
        endText()
        return steps.append(step)
      }
      at = 0
    }
    append(literal: "\"")
    var literal: [UInt8] = []
    while at < bytes.count {
      if let byte = readLiteral() {
        literal.append(byte)
        continue
      }
      let step = try readOperator()
      append(literal: jsonEscaped(literal))
      literal = []
      endText()
      steps.append(step)
    }
    append(literal: jsonEscaped(literal))
    append(literal: "\"")
  }

  private func jsonString(_ text: String) -> String {
    "\"" + String(decoding: jsonEscaped(Array(text.utf8)), as: UTF8.self) + "\""
  }

  private func jsonEscaped(_ text: [UInt8]) -> [UInt8] {
    var output = SubstitutionOutput()
    output.escaping = .json
    text.withUnsafeBufferPointer { output.appendEscaped($0) }
    return Array(output.bytes)
  }
}
