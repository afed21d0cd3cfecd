import MeshPrimitives

/// What is known of the upstream: endpoints, connections, cluster; metadata of all kinds.
extension SubstitutionFormat {
  static func writeUpstream(_ step: Step, _ info: StreamInfo, _ output: inout SubstitutionOutput) -> Bool {
    switch step.operation {
    case .upstreamProtocol:
      guard info.upstreamTiming.connectionReadyAt != .never else { return false }
      output.append("HTTP/1.1")
    case .upstreamHostName:
      guard let endpoint = info.endpoint else { return false }
      writeHostName(endpoint, port: true, &output)
    case .upstreamHostNameWithoutPort:
      guard let endpoint = info.endpoint else { return false }
      writeHostName(endpoint, port: false, &output)
    case .upstreamHostsAttempted:
      return writeAttempts(info, &output) { $1.append($0.address, port: true) }
    case .upstreamHostsAttemptedWithoutPort:
      return writeAttempts(info, &output) { $1.append($0.address, port: false) }
    case .upstreamHostNamesAttempted:
      return writeAttempts(info, &output) { writeHostName($0, port: true, &$1) }
    case .upstreamHostNamesAttemptedWithoutPort:
      return writeAttempts(info, &output) { writeHostName($0, port: false, &$1) }
    case .upstreamConnectionID: output.append(decimal: info.upstreamConnectionIdentifier)
    case .upstreamConnectionIDsAttempted:
      guard info.upstreamConnectionIdentifier != 0 else { return false }
      for identifier in info.earlierAttempts?.connections ?? [] {
        output.append(decimal: identifier)
        output.append(UInt8(ascii: ","))
      }
      output.append(decimal: info.upstreamConnectionIdentifier)
    case .upstreamCluster: return writeName(info.cluster?.configuration.statName, &output)
    case .upstreamClusterRaw: return writeName(info.cluster?.name, &output)
    case .upstreamRequestAttemptCount: output.append(decimal: UInt64(info.attempts))
    default: return false
    }
    return true
  }

  /// The name an endpoint was resolved from, as the configuration has it; else its address.
  private static func writeHostName(_ endpoint: Endpoint, port: Bool, _ output: inout SubstitutionOutput) {
    if endpoint.hostname.isEmpty {
      output.append(endpoint.address, port: port)
    } else {
      output.appendEscaped(endpoint.hostname)
    }
  }

  private static func writeAttempts(
    _ info: StreamInfo, _ output: inout SubstitutionOutput,
    _ write: (_ endpoint: Endpoint, _ output: inout SubstitutionOutput) -> Void
  ) -> Bool {
    guard let last = info.endpoint else { return false }
    for endpoint in info.earlierAttempts?.endpoints ?? [] {
      write(endpoint, &output)
      output.append(UInt8(ascii: ","))
    }
    write(last, &output)
    return true
  }

  // MARK: Metadata

  /// A string as it is, anything else as JSON, which is not shortened.
  static func writeMetadata<Source: SubstitutionSource>(
    _ step: Step, _ program: Program, _ source: Source, asJSON: Bool, _ output: inout SubstitutionOutput
  ) -> Bool {
    guard let kind = SubstitutionMetadataSource(rawValue: UInt8(truncatingIfNeeded: step.alternativeIndex)) else {
      return false
    }
    let path = program.keys[Int(step.index)]
    let found =
      kind == .dynamic ? dynamicMetadata(path[0], source.info.metadata) : source.metadata(kind)?.value(path)
    switch found {
    case nil, .null: return false
    case .string(var text):
      if asJSON { output.append(UInt8(ascii: "\"")) }
      text.withUTF8 { output.appendEscaped(asJSON ? $0 : shortened($0, step)) }
      if asJSON { output.append(UInt8(ascii: "\"")) }
    case .some(let value):
      let start = output.count
      output.append(json: value)
      if !asJSON, output.count - start > Int(step.length) { output.truncate(to: start + Int(step.length)) }
    }
    return true
  }

  /// What filters noted under a key, or everything under a namespace.
  private static func dynamicMetadata(_ key: String, _ noted: [String: String]) -> MetadataValue? {
    if noted.isEmpty { return nil }
    if let text = noted[key] { return .string(text) }
    let prefix = key + "."
    let members = noted.filter { $0.key.hasPrefix(prefix) }
    guard !members.isEmpty else { return nil }
    return .object(
      Dictionary(
        members.map { (String($0.key.dropFirst(prefix.count)), MetadataValue.string($0.value)) },
        uniquingKeysWith: { first, _ in first }))
  }
}
