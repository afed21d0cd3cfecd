import MeshIO
import MeshPrimitives

/// Times and durations.
extension SubstitutionFormat {
  static func writeTiming<Source: SubstitutionSource>(
    _ step: Step, _ program: Program, _ source: Source, _ output: inout SubstitutionOutput
  ) -> Bool {
    switch step.operation {
    case .startTimeLocal: writeLocalTime(source.info.startedAtWallClock, step, program, &output)
    case .emitTime: writeTime(emitted(source), step, program, &output)
    case .emitTimeLocal: writeLocalTime(emitted(source), step, program, &output)
    case .requestDuration: return writeSpan(source.info.startedAt, source.info.requestCompleteAt, &output)
    case .requestTXDuration:
      return writeSpan(source.info.startedAt, source.info.upstreamTiming.requestSentAt.known, &output)
    case .responseDuration: return writeSpan(source.info.startedAt, source.info.upstreamResponseStartedAt, &output)
    case .responseTXDuration: return writeSpan(source.info.upstreamResponseStartedAt, source.info.endedAt, &output)
    case .upstreamConnectionPoolReadyDuration:
      return writeSpan(
        source.info.upstreamRequestStartedAt, source.info.upstreamTiming.connectionReadyAt.known, &output)
    case .commonDuration: return writeCommonDuration(step, source, &output)
    case .downstreamConnectionRoundTrip:
      guard let time = source.downstreamRoundTrip else { return false }
      output.append(decimal: time.wholeMilliseconds)
    default: return false
    }
    return true
  }

  /// When the line is written, to the accuracy of the loop's clock.
  private static func emitted<Source: SubstitutionSource>(_ source: Source) -> UInt64 {
    let started = source.info.startedAt
    let now = source.info.endedAt ?? source.info.loggedAt.known ?? started
    return source.info.startedAtWallClock &+ now.since(started).rawValue
  }

  private static func writeLocalTime(
    _ wallClock: UInt64, _ step: Step, _ program: Program, _ output: inout SubstitutionOutput
  ) {
    guard step.index >= 0 else { return }
    let zone = LocalTime.zone(at: Int64(wallClock / 1_000_000_000))
    program.times[Int(step.index)].write(wallClock, offset: zone.offset, zone: zone.name, into: &output)
  }

  private static func writeCommonDuration<Source: SubstitutionSource>(
    _ step: Step, _ source: Source, _ output: inout SubstitutionOutput
  ) -> Bool {
    guard let from = SubstitutionTimePoint(rawValue: Int(step.index)).flatMap({ time($0, source) }),
      let to = SubstitutionTimePoint(rawValue: Int(step.alternativeIndex)).flatMap({ time($0, source) }), from <= to
    else { return false }
    output.append(decimal: to.since(from).rawValue / UInt64(max(step.length, 1)))
    return true
  }

  private static func time<Source: SubstitutionSource>(
    _ point: SubstitutionTimePoint, _ source: Source
  ) -> MonotonicTime? {
    switch point {
    case .requestBegan: source.info.startedAt.known
    case .requestEnded: source.info.requestCompleteAt
    case .upstreamConnectBegan: source.info.upstreamConnection?.openedAt.known
    case .upstreamConnectEnded: source.info.upstreamConnection?.establishedAt.known
    case .upstreamRequestBegan: source.info.upstreamTiming.connectionReadyAt.known
    case .upstreamRequestEnded: source.info.upstreamTiming.requestSentAt.known
    case .upstreamResponseBegan: source.info.upstreamResponseStartedAt
    case .upstreamResponseBodyBegan: source.info.upstreamTiming.bodyStartedAt.known
    case .upstreamResponseEnded: source.info.upstreamTiming.responseCompleteAt.known
    case .responseBegan: source.info.responseStartedAt
    case .responseEnded: source.info.endedAt
    // Without TLS there is no handshake, and Envoy knows these of TCP connections only.
    case .upstreamHandshakeEnded, .downstreamConnectBegan, .downstreamConnectEnded, .downstreamHandshakeEnded: nil
    }
  }
}

extension MonotonicTime {
  /// Nil for `.never`.
  var known: MonotonicTime? { self == .never ? nil : self }
}
