import MeshIO
import MeshPrimitives

/// Times and durations.
extension SubstitutionFormat {
  static func writeTiming<Source: SubstitutionSource>(
    _ step: Step, _ program: Program, _ info: StreamInfo, _ source: Source, _ output: inout SubstitutionOutput
  ) -> Bool {
    switch step.operation {
    case .startTimeLocal: writeLocalTime(info.startedAtWallClock, step, program, &output)
    case .emitTime: writeTime(emitted(info), step, program, &output)
    case .emitTimeLocal: writeLocalTime(emitted(info), step, program, &output)
    case .requestDuration: return writeSpan(info.startedAt, info.requestCompleteAt, &output)
    case .requestTXDuration: return writeSpan(info.startedAt, info.upstreamTiming.requestSentAt.known, &output)
    case .responseDuration: return writeSpan(info.startedAt, info.upstreamResponseStartedAt, &output)
    case .responseTXDuration: return writeSpan(info.upstreamResponseStartedAt, info.endedAt, &output)
    case .upstreamConnectionPoolReadyDuration:
      return writeSpan(info.upstreamRequestStartedAt, info.upstreamTiming.connectionReadyAt.known, &output)
    case .commonDuration: return writeCommonDuration(step, info, &output)
    case .downstreamConnectionRoundTrip:
      guard let time = source.downstreamRoundTrip else { return false }
      output.append(decimal: time.wholeMilliseconds)
    default: return false
    }
    return true
  }

  /// When the line is written, to the accuracy of the loop's clock.
  private static func emitted(_ info: StreamInfo) -> UInt64 {
    info.startedAtWallClock &+ (info.endedAt ?? info.loggedAt.known ?? info.startedAt).since(info.startedAt).rawValue
  }

  private static func writeLocalTime(
    _ wallClock: UInt64, _ step: Step, _ program: Program, _ output: inout SubstitutionOutput
  ) {
    guard step.index >= 0 else { return }
    let zone = LocalTime.zone(at: Int64(wallClock / 1_000_000_000))
    program.times[Int(step.index)].write(wallClock, offset: zone.offset, zone: zone.name, into: &output)
  }

  private static func writeCommonDuration(
    _ step: Step, _ info: StreamInfo, _ output: inout SubstitutionOutput
  ) -> Bool {
    guard let from = SubstitutionTimePoint(rawValue: Int(step.index)).flatMap({ time($0, info) }),
      let to = SubstitutionTimePoint(rawValue: Int(step.alternativeIndex)).flatMap({ time($0, info) }), from <= to
    else { return false }
    output.append(decimal: to.since(from).rawValue / UInt64(max(step.length, 1)))
    return true
  }

  private static func time(_ point: SubstitutionTimePoint, _ info: StreamInfo) -> MonotonicTime? {
    switch point {
    case .requestBegan: info.startedAt.known
    case .requestEnded: info.requestCompleteAt
    case .upstreamConnectBegan: info.upstreamTiming.connectStartedAt.known
    case .upstreamConnectEnded: info.upstreamTiming.connectedAt.known
    case .upstreamRequestBegan: info.upstreamTiming.connectionReadyAt.known
    case .upstreamRequestEnded: info.upstreamTiming.requestSentAt.known
    case .upstreamResponseBegan: info.upstreamResponseStartedAt
    case .upstreamResponseBodyBegan: info.upstreamTiming.bodyStartedAt.known
    case .upstreamResponseEnded: info.upstreamTiming.responseCompleteAt.known
    case .responseBegan: info.responseStartedAt
    case .responseEnded: info.endedAt
    // Without TLS there is no handshake, and Envoy knows these of TCP connections only.
    case .upstreamHandshakeEnded, .downstreamConnectBegan, .downstreamConnectEnded, .downstreamHandshakeEnded: nil
    }
  }
}

extension MonotonicTime {
  /// Nil for `.never`.
  var known: MonotonicTime? { self == .never ? nil : self }
}
