import MeshConfig
import MeshPrimitives
import SwiftProtobuf

/// What stands in an operator's parentheses.
extension SubstitutionCompiler {
  mutating func readArgument(
    _ argument: ArraySlice<UInt8>?, _ definition: SubstitutionName, _ offset: Int,
    _ step: inout SubstitutionFormat.Step
  ) throws(FormatProblem) {
    let name = definition.name
    switch definition.argument {
    case .none:
      if argument != nil { throw FormatProblem(offset: offset, message: "%\(name)% takes no argument") }
    case .tls(let field):
      step.alternativeIndex = field.rawValue
      if field.isTime {
        try readTime(argument, &step)
      } else if argument != nil {
        throw FormatProblem(offset: offset, message: "%\(name)% takes no argument")
      }
    case .ignoredRequired:
      guard argument?.isEmpty == false else {
        throw FormatProblem(offset: offset, message: "%\(name)% needs a key: %\(name)(KEY)%")
      }
    case .optionalTime: try readTime(argument, &step)
    case .header: try readHeaders(argument, name, offset, &step)
    case .metadata(let source): try readMetadata(argument, source, name, offset, &step)
    case .variable:
      guard let argument, !argument.isEmpty, !argument.contains(0) else {
        throw FormatProblem(offset: offset, message: "%\(name)% needs the name of a variable: %\(name)(NAME)%")
      }
    case .mask: try readMask(argument, name, &step)
    case .timePoints: try readTimePoints(argument, name, offset, &step)
    case .path: try readPath(argument, name, &step)
    case .queryParameter:
      guard let argument, !argument.isEmpty else {
        throw FormatProblem(offset: offset, message: "%\(name)% needs the name of a parameter: %\(name)(NAME)%")
      }
      step.index = Int32(keys.count)
      keys.append([String(decoding: argument, as: UTF8.self)])
    case .query:
      if try choice(argument, ["ORIG", "DECODED"], name) == 1 { step.operation = .decodedQuery }
    case .details: _ = try choice(argument, ["ALLOW_WHITESPACES"], name)
    case .grpc:
      switch try choice(argument, ["CAMEL_STRING", "SNAKE_STRING", "NUMBER"], name) {
      case 1: step.operation = .grpcStatusSnake
      case 2: step.operation = .grpcStatusNumber
      default: break
      }
    case .serverName: try readServerName(argument, name, &step)
    case .coalesce: try readAlternatives(argument, name, offset, &step)
    }
  }

  /// Which of `words` an argument is; nil if there is none.
  private func choice(
    _ argument: ArraySlice<UInt8>?, _ words: [String], _ name: String
  ) throws(FormatProblem) -> Int? {
    guard let argument, !argument.isEmpty else { return nil }
    let word = String(decoding: argument, as: UTF8.self)
    if let index = words.firstIndex(of: word) { return index }
    throw FormatProblem(
      offset: argument.startIndex,
      message: "%\(name)(\(word.prefix(60)))%: not understood (\(words.joined(separator: ", ")))")
  }

  private static func parts(_ argument: ArraySlice<UInt8>?, _ separator: Unicode.Scalar) -> [ArraySlice<UInt8>] {
    guard let argument, !argument.isEmpty else { return [] }
    return argument.split(separator: UInt8(ascii: separator), omittingEmptySubsequences: false)
  }

  // MARK: Times

  private mutating func readTime(
    _ argument: ArraySlice<UInt8>?, _ step: inout SubstitutionFormat.Step
  ) throws(FormatProblem) {
    if let argument, !argument.isEmpty {
      step.index = Int32(times.count)
      times.append(try SubstitutionTimeFormat(argument))
    } else if step.operation == .startTimeLocal || step.operation == .emitTimeLocal {
      step.index = Int32(times.count)
      times.append(try SubstitutionTimeFormat(Array("%Y-%m-%dT%H:%M:%S.%3f%z".utf8)[...]))
    }
  }

  /// `START:END`, `START:END:UNIT`.
  private func readTimePoints(
    _ argument: ArraySlice<UInt8>?, _ name: String, _ offset: Int, _ step: inout SubstitutionFormat.Step
  ) throws(FormatProblem) {
    let parts = Self.parts(argument, ":")
    guard parts.count == 2 || parts.count == 3 else {
      throw FormatProblem(
        offset: offset, message: "%\(name)% needs two points in time: %\(name)(START:END)% or %\(name)(START:END:UNIT)%"
      )
    }
    step.index = Int32(try timePoint(parts[0], name).rawValue)
    step.alternativeIndex = Int32(try timePoint(parts[1], name).rawValue)
    let unit = parts.count == 3 ? String(decoding: parts[2], as: UTF8.self) : "ms"
    switch unit {
    case "ms": step.length = 1_000_000
    case "us": step.length = 1_000
    case "ns": step.length = 1
    default:
      throw FormatProblem(offset: parts[2].startIndex, message: "%\(name)%: no unit of time (ms, us, ns)")
    }
  }

  private func timePoint(_ part: ArraySlice<UInt8>, _ name: String) throws(FormatProblem) -> SubstitutionTimePoint {
    let word = String(decoding: part, as: UTF8.self)
    if let point = SubstitutionTimePoint.allCases.first(where: { $0.name == word }) { return point }
    throw FormatProblem(
      offset: part.startIndex,
      message: "%\(name)%: no point in time (\(SubstitutionTimePoint.allCases.map(\.name).joined(separator: ", ")))")
  }

  // MARK: Headers

  private mutating func readHeaders(
    _ argument: ArraySlice<UInt8>?, _ name: String, _ offset: Int, _ step: inout SubstitutionFormat.Step
  ) throws(FormatProblem) {
    let parts = Self.parts(argument, "?")
    guard !parts.isEmpty else {
      throw FormatProblem(
        offset: offset, message: "%\(name)% needs a header: %\(name)(NAME)% or %\(name)(NAME?ALTERNATIVE)%")
    }
    guard parts.count <= 2 else {
      throw FormatProblem(offset: offset, message: "%\(name)(\u{2026})% takes one alternative header, not more")
    }
    (step.name, step.index) = try addHeader(parts[0], name)
    if step.name == .scheme, step.operation == .requestHeader { step.operation = .requestScheme }
    if parts.count == 2 { (step.alternative, step.alternativeIndex) = try addHeader(parts[1], name) }
  }

  /// `ORIG`, what the client asked for; the other word, what is sent upstream; `ORIG_OR_…`, the first of the two.
  private mutating func readOrigin(
    _ part: ArraySlice<UInt8>?, _ current: String, _ original: String, _ header: String, _ name: String,
    _ step: inout SubstitutionFormat.Step
  ) throws(FormatProblem) {
    let source = try choice(part, ["ORIG_OR_\(current)", "ORIG", current], name) ?? 0
    let headers = [original, header].map { Array($0.utf8)[...] }
    (step.name, step.index) = try addHeader(source == 2 ? headers[1] : headers[0], name)
    if source == 0 { (step.alternative, step.alternativeIndex) = try addHeader(headers[1], name) }
  }

  /// `WQ` or `NQ`, then whose path.
  private mutating func readPath(
    _ argument: ArraySlice<UInt8>?, _ name: String, _ step: inout SubstitutionFormat.Step
  ) throws(FormatProblem) {
    let parts = Self.parts(argument, ":")
    guard parts.count <= 2 else { throw tooManyParts(parts[2], name) }
    if try choice(parts.first, ["WQ", "NQ"], name) == 1 { step.operation = .pathWithoutQuery }
    try readOrigin(parts.count > 1 ? parts[1] : nil, "PATH", "x-envoy-original-path", ":path", name, &step)
  }

  /// Without TLS there is no server name but the host's.
  private mutating func readServerName(
    _ argument: ArraySlice<UInt8>?, _ name: String, _ step: inout SubstitutionFormat.Step
  ) throws(FormatProblem) {
    let parts = Self.parts(argument, ":")
    guard parts.count <= 2 else { throw tooManyParts(parts[2], name) }
    let order = try choice(parts.first, ["SNI_ONLY", "SNI_FIRST", "HOST_FIRST"], name) ?? 0
    let origin = parts.count > 1 ? parts[1] : nil
    guard order > 0 else {
      _ = try choice(origin, ["ORIG_OR_HOST", "ORIG", "HOST"], name)
      return
    }
    var host = step
    host.operation = .requestHeader
    host.alternativeIndex = -1
    try readOrigin(origin, "HOST", "x-envoy-original-host", ":authority", name, &host)
    groups.append(order == 1 ? [step, host] : [host, step])
    step.operation = .coalesce
    step.index = Int32(groups.count - 1)
    step.alternativeIndex = -1
  }

  private func tooManyParts(_ part: ArraySlice<UInt8>, _ name: String) -> FormatProblem {
    FormatProblem(offset: part.startIndex, message: "%\(name)% takes two words at most")
  }

  // MARK: Others

  /// How many bits of an address are shown.
  private func readMask(
    _ argument: ArraySlice<UInt8>?, _ name: String, _ step: inout SubstitutionFormat.Step
  ) throws(FormatProblem) {
    guard let argument, !argument.isEmpty else { return }
    guard argument.count <= 3, argument.allSatisfy({ $0 &- 0x30 < 10 }),
      let bits = Int32(String(decoding: argument, as: UTF8.self)), bits <= 128
    else {
      throw FormatProblem(
        offset: argument.startIndex, message: "%\(name)%: not a number of bits to show (0 to 32, for IPv6 to 128)")
    }
    step.index = bits
  }

  /// `NAMESPACE`, `NAMESPACE:KEY`, `NAMESPACE:KEY:KEY…`.
  private mutating func readMetadata(
    _ argument: ArraySlice<UInt8>?, _ known: SubstitutionMetadataSource?, _ name: String, _ offset: Int,
    _ step: inout SubstitutionFormat.Step
  ) throws(FormatProblem) {
    var parts = Self.parts(argument, ":")
    var source = known ?? .dynamic
    if known == nil, let word = parts.first {
      let names = SubstitutionMetadataSource.allCases.map(\.name)
      source = SubstitutionMetadataSource.allCases[try choice(word, names, name) ?? 0]
      parts.removeFirst()
    }
    guard !parts.isEmpty, parts.allSatisfy({ !$0.isEmpty }) else {
      let kind = known == nil ? "TYPE:" : ""
      throw FormatProblem(
        offset: offset,
        message: "%\(name)% needs a namespace, and may have keys: %\(name)(\(kind)NAMESPACE:KEY)%")
    }
    step.index = Int32(keys.count)
    step.alternativeIndex = Int32(source.rawValue)
    let path = parts.map { String(decoding: $0, as: UTF8.self) }
    keys.append(source == .dynamic ? [path.joined(separator: ".")] : path)
  }

  /// `{"operators": ["NAME", {"command": "NAME", "param": "ARGUMENT", "max_length": 5}]}`.
  private mutating func readAlternatives(
    _ argument: ArraySlice<UInt8>?, _ name: String, _ offset: Int, _ step: inout SubstitutionFormat.Step
  ) throws(FormatProblem) {
    let usage = "%\(name)% needs {\"operators\": [\"NAME\", {\"command\": \"NAME\", \"param\": \"ARGUMENT\"}]}"
    guard let argument, let object = try? Google_Protobuf_Struct(jsonUTF8Bytes: Array(argument)),
      object.fields.count == 1, case .listValue(let list)? = object.fields["operators"]?.kind, !list.values.isEmpty
    else { throw FormatProblem(offset: offset, message: usage) }
    var group: [SubstitutionFormat.Step] = []
    for value in list.values {
      var name = ""
      var parameter: [UInt8]?
      var length: UInt32?
      switch value.kind {
      case .stringValue(let text): name = text
      case .structValue(let fields):
        for (field, value) in fields.fields {
          switch (field, value.kind) {
          case ("command", .stringValue(let text)?): name = text
          case ("param", .stringValue(let text)?): parameter = Array(text.utf8)
          case ("max_length", .numberValue(let number)?) where number >= 1 && number <= 9_999_999:
            length = UInt32(number)
          default: throw FormatProblem(offset: offset, message: usage)
          }
        }
      default: throw FormatProblem(offset: offset, message: usage)
      }
      let definition = try Self.find(name, offset)
      guard definition.operation != .coalesce else {
        throw FormatProblem(offset: offset, message: "%\(definition.name)% cannot hold another one")
      }
      do {
        group.append(try makeStep(definition, parameter.map { $0[...] }, length, offset))
      } catch {
        throw FormatProblem(offset: offset, message: error.message)
      }
    }
    step.index = Int32(groups.count)
    groups.append(group)
  }
}

/// What `%COMMON_DURATION%` measures between. The names are Envoy's.
enum SubstitutionTimePoint: Int, CaseIterable {
  case requestBegan, requestEnded, upstreamConnectBegan, upstreamConnectEnded, upstreamHandshakeEnded,
    upstreamRequestBegan, upstreamRequestEnded, upstreamResponseBegan, upstreamResponseBodyBegan,
    upstreamResponseEnded, responseBegan, responseEnded, downstreamConnectBegan, downstreamConnectEnded,
    downstreamHandshakeEnded

  var name: String {
    switch self {
    case .requestBegan: "DS_RX_BEG"
    case .requestEnded: "DS_RX_END"
    case .upstreamConnectBegan: "US_CX_BEG"
    case .upstreamConnectEnded: "US_CX_END"
    case .upstreamHandshakeEnded: "US_HS_END"
    case .upstreamRequestBegan: "US_TX_BEG"
    case .upstreamRequestEnded: "US_TX_END"
    case .upstreamResponseBegan: "US_RX_BEG"
    case .upstreamResponseBodyBegan: "US_RX_BODY_BEG"
    case .upstreamResponseEnded: "US_RX_END"
    case .responseBegan: "DS_TX_BEG"
    case .responseEnded: "DS_TX_END"
    case .downstreamConnectBegan: "DS_CX_BEG"
    case .downstreamConnectEnded: "DS_CX_END"
    case .downstreamHandshakeEnded: "DS_HS_END"
    }
  }
}
