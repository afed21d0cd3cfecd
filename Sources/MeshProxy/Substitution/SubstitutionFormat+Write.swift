import MeshHTTP
import MeshPrimitives

/// Filling a format in. Nothing here allocates but for metadata and a few rare operators.
extension SubstitutionFormat {
  /// Appends what the format says of `source`.
  @inline(__always)
  func write<Source: SubstitutionSource>(_ source: Source, into output: inout SubstitutionOutput) {
    let program = self.program
    output.escaping = program.escaping
    guard program.isPlain else { return Self.writeSteps(program, source, &output) }
    let request = source.requestHeaders
    let response = source.responseHeaders
    program.texts.withUnsafeBufferPointer { texts in
      program.steps.withUnsafeBufferPointer { steps in
        for step in steps {
          if step.action == .value {
            if !Self.write(step, program, source, request, response, &output) { output.append(0x2d) }
          } else if let base = texts.baseAddress {
            output.appendText(base + Int(step.index), Int(step.length))
          }
        }
      }
    }
  }

  /// Formats with JSON, or in which unknown values are nothing.
  @inline(never)
  private static func writeSteps<Source: SubstitutionSource>(
    _ program: Program, _ source: Source, _ output: inout SubstitutionOutput
  ) {
    let request = source.requestHeaders
    let response = source.responseHeaders
    withUnsafeTemporaryAllocation(of: Int.self, capacity: program.depth + 1) { marks in
      /// How many objects are open, and where the last member began.
      var open = 0
      var mark = output.count
      for step in program.steps {
        switch step.action {
        case .text: writeText(step, program, &output)
        case .value: if !write(step, program, source, request, response, &output) { output.append(0x2d) }
        case .valueOrNothing: _ = write(step, program, source, request, response, &output)
        case .json: if !writeJSON(step, program, source, request, response, &output) { output.append("null") }
        case .jsonOrNothing:
          if !writeJSON(step, program, source, request, response, &output) { output.truncate(to: mark) }
        case .member:
          mark = output.count
          if output.last != UInt8(ascii: "{"), output.last != UInt8(ascii: "[") { output.append(UInt8(ascii: ",")) }
          writeText(step, program, &output)
        case .open:
          marks[open] = mark
          open += 1
          output.append(UInt8(ascii: "{"))
        case .close:
          open -= 1
          if output.last == UInt8(ascii: "{") {
            output.truncate(to: marks[open])
          } else {
            output.append(UInt8(ascii: "}"))
          }
        }
      }
    }
  }

  private static func writeText(_ step: Step, _ program: Program, _ output: inout SubstitutionOutput) {
    program.texts.withUnsafeBufferPointer { texts in
      if let base = texts.baseAddress { output.appendText(base + Int(step.index), Int(step.length)) }
    }
  }

  /// Appends a value as JSON of its own type.
  /// - Returns: false, with nothing appended, if it is not known.
  private static func writeJSON<Source: SubstitutionSource>(
    _ step: Step, _ program: Program, _ source: Source, _ request: HeaderMap, _ response: HeaderMap?,
    _ output: inout SubstitutionOutput
  ) -> Bool {
    switch step.operation.jsonForm {
    case .number: return write(step, program, source, request, response, &output)
    case .string:
      let start = output.count
      output.append(UInt8(ascii: "\""))
      guard write(step, program, source, request, response, &output) else {
        output.truncate(to: start)
        return false
      }
      output.append(UInt8(ascii: "\""))
      return true
    case .own:
      if step.operation == .metadata { return writeMetadata(step, program, source, asJSON: true, &output) }
      let start = output.count
      for alternative in program.groups[Int(step.index)] {
        if alternative.action == .text {
          output.append(UInt8(ascii: "\""))
          writeText(alternative, program, &output)
          output.append(UInt8(ascii: "\""))
        } else if !writeJSON(alternative, program, source, request, response, &output) {
          continue
        }
        // An empty string has no value either.
        if output.count - start == 2, output.last == UInt8(ascii: "\"") {
          output.truncate(to: start)
        } else {
          return true
        }
      }
      return false
    }
  }

  /// Appends a value as text.
  /// - Returns: false, with nothing appended, if it is not known.
  @inline(__always)
  private static func write<Source: SubstitutionSource>(
    _ step: Step, _ program: Program, _ source: Source, _ request: HeaderMap, _ response: HeaderMap?,
    _ output: inout SubstitutionOutput
  ) -> Bool {
    switch step.operation {
    // The default line.
    case .requestHeader: return writeHeader(request, step, program, &output)
    case .responseHeader:
      guard let response else { return false }
      return writeResponseHeader(response, step, program, source.info.responseCode, &output)
    case .startTime:
      writeTime(source.info.startedAtWallClock, step, program, &output)
    case .protocol:
      if source.isConnection { return false }
      output.append(source.info.version.text)
    case .responseCode: output.append(decimal: UInt64(clamping: source.info.responseCode))
    case .responseFlags:
      let flags = source.info.flags
      if flags.isEmpty { output.append(0x2d) } else { writeFlags(flags, long: false, &output) }
    case .bytesReceived: output.append(decimal: source.info.bytesReceived)
    case .bytesSent: output.append(decimal: source.info.bytesSent)
    case .duration:
      if let ended = source.info.endedAt { return writeSpan(source.info.startedAt, ended, &output) }
      return writeRare(step, program, source, &output)
    case .upstreamHost: return writeAddress(source.info.endpoint?.address, &output)
    default: return writeRare(step, program, source, &output)
    }
    return true
  }

  @inline(never)
  private static func writeRare<Source: SubstitutionSource>(
    _ step: Step, _ program: Program, _ source: Source, _ output: inout SubstitutionOutput
  ) -> Bool {
    // Field by field: a copy of all that is known would touch a dozen reference counts.
    switch step.operation {
    case .startTimeLocal, .emitTime, .emitTimeLocal, .requestDuration, .requestTXDuration, .responseDuration,
      .responseTXDuration, .upstreamConnectionPoolReadyDuration, .commonDuration, .downstreamConnectionRoundTrip:
      return writeTiming(step, program, source, &output)
    case .responseTrailer, .pathWithoutQuery, .query, .decodedQuery, .queryParameter, .grpcStatus, .grpcStatusSnake,
      .grpcStatusNumber:
      return writeMessage(step, program, source, &output)
    case .requestHeadersBytes, .responseHeadersBytes, .responseTrailersBytes, .downstreamWireBytesReceived,
      .downstreamWireBytesSent, .upstreamWireBytesReceived, .upstreamWireBytesSent, .downstreamHeaderBytesReceived,
      .downstreamHeaderBytesSent, .upstreamHeaderBytesReceived, .upstreamHeaderBytesSent, .zero:
      output.append(decimal: size(step.operation, source))
      return true
    case .upstreamHostName, .upstreamHostNameWithoutPort, .upstreamHostsAttempted, .upstreamHostsAttemptedWithoutPort,
      .upstreamHostNamesAttempted, .upstreamHostNamesAttemptedWithoutPort, .upstreamConnectionID,
      .upstreamConnectionIDsAttempted, .upstreamProtocol, .upstreamCluster, .upstreamClusterRaw,
      .upstreamRequestAttemptCount, .upstreamFailureReason, .upstreamCloseType:
      return writeUpstream(step, source, &output)
    case .upstreamLocalAddress: return writeAddress(source.info.upstreamLocalAddress, &output)
    case .upstreamLocalAddressWithoutPort: return writeIP(source.info.upstreamLocalAddress, step, &output)
    case .upstreamLocalPort: return writePort(source.info.upstreamLocalAddress, &output)
    case .upstreamRemoteAddress: return writeAddress(source.info.connectedEndpoint?.address, &output)
    case .upstreamRemoteAddressWithoutPort: return writeIP(source.info.connectedEndpoint?.address, step, &output)
    case .upstreamRemotePort: return writePort(source.info.connectedEndpoint?.address, &output)
    case .downstreamLocalAddress: return writeAddress(source.info.downstreamLocalAddress, &output)
    case .downstreamLocalAddressWithoutPort: return writeIP(source.info.downstreamLocalAddress, step, &output)
    case .downstreamLocalPort: return writePort(source.info.downstreamLocalAddress, &output)
    case .downstreamDirectLocalAddress: return writeAddress(source.info.connection?.directLocalAddress, &output)
    case .downstreamDirectLocalAddressWithoutPort:
      return writeIP(source.info.connection?.directLocalAddress, step, &output)
    case .downstreamDirectLocalPort: return writePort(source.info.connection?.directLocalAddress, &output)
    case .downstreamRemoteAddress: return writeAddress(source.info.downstreamRemoteAddress, &output)
    case .downstreamRemoteAddressWithoutPort: return writeIP(source.info.downstreamRemoteAddress, step, &output)
    case .downstreamRemotePort: return writePort(source.info.downstreamRemoteAddress, &output)
    case .downstreamDirectRemoteAddress: return writeAddress(source.info.directRemoteAddress, &output)
    case .downstreamDirectRemoteAddressWithoutPort: return writeIP(source.info.directRemoteAddress, step, &output)
    case .downstreamDirectRemotePort: return writePort(source.info.directRemoteAddress, &output)
    case .responseCodeDetails:
      guard let details = source.info.details else { return false }
      output.append(details, source.info.transportFailure?.text)
    case .responseFlagsLong:
      if source.info.flags.isEmpty { output.append(0x2d) } else { writeFlags(source.info.flags, long: true, &output) }
    case .localReplyBody: source.localReplyBody.withUnsafeBufferPointer { output.appendEscaped($0) }
    case .routeName: return writeName(source.info.route?.name, &output)
    case .virtualClusterName: return writeName(source.virtualClusterName, &output)
    case .listenerName: return writeName(source.listenerName, &output)
    case .filterChainName: return writeName(source.filterChainName, &output)
    case .metadata: return writeMetadata(step, program, source, asJSON: false, &output)
    case .connectionID: output.append(decimal: source.info.connectionIdentifier)
    case .streamID:
      guard let identifier = source.requestHeaders.value(.xRequestID) else { return false }
      output.appendEscaped(identifier)
    case .uniqueID:
      let (high, low) = source.randomBits()
      RequestID.write(high, low, into: output.reserve(RequestID.length))
      output.commit(RequestID.length)
    case .traceID:
      guard source.info.trace.hasTrace else { return false }
      if !source.info.trace.is64Bit { output.append(hex: source.info.trace.traceIDHigh) }
      output.append(hex: source.info.trace.traceIDLow)
    case .spanID:
      guard source.info.trace.spanID != 0 else { return false }
      output.append(hex: source.info.trace.spanID)
    case .accessLogType: output.append(source.info.logType.name)
    case .coalesce: return writeFirst(program.groups[Int(step.index)], step, program, source, &output)
    case .duration: return writeSpan(source.info.startedAt, source.info.loggedAt.known, &output)
    case .requestScheme:
      guard let value = source.requestHeaders.value(.scheme) else {
        guard source.requestHeaders.has(.method) else { return false }
        output.append(source.info.connection?.tls == nil ? "http" : "https")
        break
      }
      output.appendEscaped(shortened(value, step))
    case .requestedServerName: return writeName(source.info.connection?.requestedServerName, &output)
    case .downstreamTLS: return writeTLS(source.info.connection?.tls, step, program, &output)
    case .upstreamTLS: return writeTLS(source.info.upstreamConnection?.tls, step, program, &output)
    case .downstreamCloseType: output.append(source.downstreamCloseType)
    case .localCloseReason:
      guard let reason = source.localCloseReason else { return false }
      output.append(reason)
    case .nothing: break
    case .unknown: return false
    case .requestHeader, .responseHeader, .startTime, .protocol, .responseCode, .responseFlags, .bytesReceived,
      .bytesSent, .upstreamHost, .hostName, .environment:
      // Written above, or text since the format was compiled.
      return false
    }
    return true
  }

  /// The first of several that is known and not empty.
  private static func writeFirst<Source: SubstitutionSource>(
    _ alternatives: [Step], _ step: Step, _ program: Program, _ source: Source, _ output: inout SubstitutionOutput
  ) -> Bool {
    let start = output.count
    for alternative in alternatives {
      if alternative.action == .text {
        writeText(alternative, program, &output)
      } else if !write(alternative, program, source, source.requestHeaders, source.responseHeaders, &output) {
        continue
      }
      guard output.count > start else { continue }
      if output.count - start > Int(step.length) { output.truncate(to: start + Int(step.length)) }
      return true
    }
    return false
  }

  // MARK: Headers

  @inline(__always)
  static func shortened(_ bytes: Bytes, _ step: Step) -> Bytes {
    bytes.count > Int(step.length) ? bytes.slice(0, Int(step.length)) : bytes
  }

  @inline(__always)
  private static func header(_ headers: HeaderMap, _ name: HeaderID, _ index: Int32, _ program: Program) -> Bytes? {
    if name != .other { return headers.value(name) }
    return index < 0 ? nil : headers.value(program.names[Int(index)])
  }

  /// The header, else its alternative.
  @inline(__always)
  static func header(_ headers: HeaderMap, _ step: Step, _ program: Program) -> Bytes? {
    header(headers, step.name, step.index, program)
      ?? header(headers, step.alternative, step.alternativeIndex, program)
  }

  @inline(__always)
  static func writeHeader(
    _ headers: HeaderMap, _ step: Step, _ program: Program, _ output: inout SubstitutionOutput
  ) -> Bool {
    if let value = header(headers, step.name, step.index, program) {
      output.appendEscaped(shortened(value, step))
    } else if let value = header(headers, step.alternative, step.alternativeIndex, program) {
      output.appendEscaped(shortened(value, step))
    } else {
      return false
    }
    return true
  }

  /// A response that the proxy makes has no `:status` among its headers.
  @inline(__always)
  private static func writeResponseHeader(
    _ headers: HeaderMap, _ step: Step, _ program: Program, _ code: Int, _ output: inout SubstitutionOutput
  ) -> Bool {
    if step.name == .status, !headers.has(.status), code > 0 {
      output.append(decimal: UInt64(clamping: code))
      return true
    }
    return writeHeader(headers, step, program, &output)
  }

  // MARK: Values

  @inline(__always)
  static func writeTime(_ wallClock: UInt64, _ step: Step, _ program: Program, _ output: inout SubstitutionOutput) {
    if step.index < 0 {
      output.append(timeStamp: wallClock)
    } else {
      program.times[Int(step.index)].write(wallClock, into: &output)
    }
  }

  /// Whole milliseconds, rounded down.
  @inline(__always)
  static func writeSpan(_ from: MonotonicTime?, _ to: MonotonicTime?, _ output: inout SubstitutionOutput) -> Bool {
    guard let from, let to else { return false }
    output.append(decimal: to.since(from).wholeMilliseconds)
    return true
  }

  @inline(__always)
  static func writeAddress(_ address: SocketAddress?, _ output: inout SubstitutionOutput) -> Bool {
    guard let address else { return false }
    output.append(address, port: true)
    return true
  }

  /// The address without the port, in as many bits as the step says: `10.1.0.0/16`.
  private static func writeIP(_ address: SocketAddress?, _ step: Step, _ output: inout SubstitutionOutput) -> Bool {
    guard let address else { return false }
    if step.index >= 0, !address.isUnix {
      let masked = address.ip.masked(bits: Int(step.index))
      output.append(SocketAddress(masked.address, port: 0), port: false)
      output.append(UInt8(ascii: "/"))
      output.append(decimal: UInt64(masked.bits))
    } else {
      output.append(address, port: false)
    }
    return true
  }

  private static func writePort(_ address: SocketAddress?, _ output: inout SubstitutionOutput) -> Bool {
    guard let address, !address.isUnix else { return false }
    output.append(decimal: UInt64(address.port))
    return true
  }

  static func writeName(_ text: String?, _ output: inout SubstitutionOutput) -> Bool {
    guard let text, !text.isEmpty else { return false }
    output.appendEscaped(text)
    return true
  }

  @inline(never)
  private static func writeFlags(_ flags: ResponseFlags, long: Bool, _ output: inout SubstitutionOutput) {
    var isFirst = true
    for entry in ResponseFlags.names where flags.contains(entry.flag) {
      if !isFirst { output.append(UInt8(ascii: ",")) }
      isFirst = false
      output.append(long ? entry.long : entry.short)
    }
  }
}

extension SubstitutionOutput {
  /// Appends how a response came about: `word{reason|more}`.
  /// - Parameter transport: what the transport says of the failure that these are about, if anything.
  mutating func append(_ details: ResponseCodeDetails, _ transport: String? = nil) {
    append(details.word)
    guard let reason = details.reason else { return }
    append(UInt8(ascii: "{"))
    append(reason)
    if let more = details.more, more.utf8CodeUnitCount > 0 {
      append(UInt8(ascii: "|"))
      append(more)
    } else if let transport {
      append(UInt8(ascii: "|"))
      appendEscaped(transport)
    }
    append(UInt8(ascii: "}"))
  }
}
