import MeshAPI
import MeshPrimitives
import SwiftProtobuf

/// What the configuration says of the things a stream has met, and what filters noted of it.
extension SubstitutionFormat {
  /// A string as it is, anything else as JSON.
  static func writeMetadata<Source: SubstitutionSource>(
    _ step: Step, _ program: Program, _ source: Source, asJSON: Bool, _ output: inout SubstitutionOutput
  ) -> Bool {
    guard let kind = SubstitutionMetadataSource(rawValue: UInt8(truncatingIfNeeded: step.alternativeIndex)) else {
      return false
    }
    let path = program.keys[Int(step.index)]
    let found =
      kind == .dynamic ? noted(path[0], source.info) : source.metadata(kind).flatMap { value(path, $0) }
    switch found?.kind {
    case nil, .nullValue: return false
    case .stringValue(let text) where asJSON: output.append(jsonString: text)
    case .stringValue(var text): text.withUTF8 { output.appendEscaped(shortened($0, step)) }
    case .some:
      guard let found else { return false }
      let start = output.count
      output.append(json: found)
      if !asJSON, output.count - start > Int(step.length) { output.truncate(to: start + Int(step.length)) }
    }
    return true
  }

  /// The value at the end of a path: a namespace and the names of members in it.
  private static func value(_ path: [String], _ metadata: Metadata) -> Google_Protobuf_Value? {
    guard let namespace = path.first, let structure = metadata.filterMetadata[namespace] else { return nil }
    return value(Array(path.dropFirst()), structure)
  }

  private static func value(_ path: [String], _ structure: StructValue) -> Google_Protobuf_Value? {
    var value = Google_Protobuf_Value(structValue: structure)
    for name in path {
      guard case .structValue(let members)? = value.kind, let member = members.fields[name] else { return nil }
      value = member
    }
    return value
  }

  /// What filters noted under a key, or everything under a namespace.
  private static func noted(_ key: String, _ info: StreamInfo) -> Google_Protobuf_Value? {
    for (namespace, structure) in info.metadataStructures {
      if key == namespace { return Google_Protobuf_Value(structValue: structure) }
      guard key.hasPrefix(namespace + ".") else { continue }
      let path = key.dropFirst(namespace.count + 1).split(separator: ".").map(String.init)
      if let value = value(path, structure) { return value }
    }
    let noted = info.metadata
    if noted.isEmpty { return nil }
    if let text = noted[key] { return Google_Protobuf_Value(stringValue: text) }
    let prefix = key + "."
    var members = Google_Protobuf_Struct()
    for (name, text) in noted where name.hasPrefix(prefix) {
      members.fields[String(name.dropFirst(prefix.count))] = Google_Protobuf_Value(stringValue: text)
    }
    return members.fields.isEmpty ? nil : Google_Protobuf_Value(structValue: members)
  }
}
