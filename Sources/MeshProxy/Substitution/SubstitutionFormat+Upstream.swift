import MeshPrimitives

/// What is known of the upstream: endpoints, connections, cluster; metadata of all kinds.
extension SubstitutionFormat {
  static func writeUpstream<Source: SubstitutionSource>(
    _ step: Step, _ source: Source, _ output: inout SubstitutionOutput
  ) -> Bool {
    switch step.operation {
    case .upstreamProtocol:
      guard source.info.connectedEndpoint != nil, !source.isConnection else { return false }
      output.append("HTTP/1.1")
    case .upstreamCloseType:
      guard let type = source.upstreamCloseType else { return false }
      output.append(type)
    case .upstreamFailureReason:
      if let failure = source.info.transportFailure {
        output.appendEscaped(failure.text)
        break
      }
      guard let reason = source.info.upstreamFailure, reason.utf8CodeUnitCount > 0 else { return false }
      output.append(reason)
    case .upstreamHostName:
      guard let endpoint = source.info.endpoint else { return false }
      writeHostName(endpoint, port: true, &output)
    case .upstreamHostNameWithoutPort:
      guard let endpoint = source.info.endpoint else { return false }
      writeHostName(endpoint, port: false, &output)
    case .upstreamHostsAttempted:
      return writeAttempts(source, &output) { $1.append($0.address, port: true) }
    case .upstreamHostsAttemptedWithoutPort:
      return writeAttempts(source, &output) { $1.append($0.address, port: false) }
    case .upstreamHostNamesAttempted:
      return writeAttempts(source, &output) { writeHostName($0, port: true, &$1) }
    case .upstreamHostNamesAttemptedWithoutPort:
      return writeAttempts(source, &output) { writeHostName($0, port: false, &$1) }
    case .upstreamConnectionID: output.append(decimal: source.info.upstreamConnectionIdentifier)
    case .upstreamConnectionIDsAttempted:
      guard source.info.upstreamConnectionIdentifier != 0 else { return false }
      for identifier in source.info.earlierAttempts?.connections ?? [] {
        output.append(decimal: identifier)
        output.append(UInt8(ascii: ","))
      }
      output.append(decimal: source.info.upstreamConnectionIdentifier)
    case .upstreamCluster: return writeName(source.info.cluster?.configuration.statName, &output)
    case .upstreamClusterRaw: return writeName(source.info.cluster?.name, &output)
    case .upstreamRequestAttemptCount: output.append(decimal: UInt64(source.info.attempts))
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

  private static func writeAttempts<Source: SubstitutionSource>(
    _ source: Source, _ output: inout SubstitutionOutput,
    _ write: (_ endpoint: Endpoint, _ output: inout SubstitutionOutput) -> Void
  ) -> Bool {
    guard let last = source.info.endpoint else { return false }
    for endpoint in source.info.earlierAttempts?.endpoints ?? [] {
      write(endpoint, &output)
      output.append(UInt8(ascii: ","))
    }
    write(last, &output)
    return true
  }
}
