import MeshHTTP
import MeshPrimitives

/// Writing lines. Nothing here allocates but for metadata keys.
extension SubstitutionFormat {
  /// Writes one line for `source`, which is at its end.
  @inline(__always)
  func write<Source: SubstitutionSource>(_ source: Source, into output: inout SubstitutionOutput) {
    let program = self.program
    let request = source.requestHeaders
    let response = source.responseHeaders
    program.texts.withUnsafeBufferPointer { texts in
      program.steps.withUnsafeBufferPointer { steps in
        for step in steps {
          if let operation = step.operation {
            Self.write(operation, step, program, source, request, response, &output)
          } else if let base = texts.baseAddress {
            output.appendText(base + Int(step.index), Int(step.length))
          }
        }
      }
    }
  }

  @inline(__always)
  private static func write<Source: SubstitutionSource>(
    _ operation: SubstitutionOperator, _ step: Step, _ program: Program, _ source: Source, _ request: HeaderMap,
    _ response: HeaderMap?, _ output: inout SubstitutionOutput
  ) {
    switch operation {
    // The default line first.
    case .requestHeader: writeHeader(request, step, program, &output)
    case .responseHeader:
      if let response {
        writeResponseHeader(response, step, program, source.info.responseCode, &output)
      } else {
        output.append(0x2d)
      }
    case .startTime: writeTime(source.info.startedAtWallClock, step, program, &output)
    case .protocol: output.append("HTTP/1.1")
    case .responseCode: output.append(decimal: UInt64(clamping: source.info.responseCode))
    case .responseFlags:
      let flags = source.info.flags
      if flags.isEmpty { output.append(0x2d) } else { writeFlags(flags, long: false, &output) }
    case .bytesReceived: output.append(decimal: source.info.bytesReceived)
    case .bytesSent: output.append(decimal: source.info.bytesSent)
    case .duration: writeSpan(source.info.startedAt, source.info.endedAt, &output)
    case .upstreamHost, .upstreamRemoteAddress: writeAddress(source.info.endpoint?.address, port: true, &output)
    default: writeRare(operation, step, program, source, &output)
    }
  }

  @inline(never)
  private static func writeRare<Source: SubstitutionSource>(
    _ operation: SubstitutionOperator, _ step: Step, _ program: Program, _ source: Source,
    _ output: inout SubstitutionOutput
  ) {
    let info = source.info
    switch operation {
    case .emitTime:
      let elapsed = (info.endedAt ?? info.startedAt).since(info.startedAt)
      writeTime(info.startedAtWallClock &+ elapsed.rawValue, step, program, &output)
    case .upstreamProtocol: output.append(info.upstreamRequestStartedAt == nil ? "-" : "HTTP/1.1")
    case .responseCodeDetails: writeDetails(info.details, &output)
    case .responseFlagsLong: writeFlags(info.flags, long: true, &output)
    case .requestDuration: writeSpan(info.startedAt, info.requestCompleteAt, &output)
    case .responseDuration: writeSpan(info.startedAt, info.upstreamResponseStartedAt, &output)
    case .responseTXDuration: writeSpan(info.upstreamResponseStartedAt, info.endedAt, &output)
    case .upstreamHostName:
      if let name = info.endpoint?.hostname, !name.isEmpty {
        output.appendEscaped(name)
      } else {
        writeAddress(info.endpoint?.address, port: true, &output)
      }
    case .upstreamCluster: writeText(info.cluster?.configuration.statName, &output)
    case .upstreamClusterRaw: writeText(info.cluster?.name, &output)
    case .upstreamLocalAddress: writeAddress(info.upstreamLocalAddress, port: true, &output)
    case .upstreamLocalAddressWithoutPort: writeAddress(info.upstreamLocalAddress, port: false, &output)
    case .upstreamLocalPort: writePort(info.upstreamLocalAddress, &output)
    case .upstreamRemoteAddressWithoutPort: writeAddress(info.endpoint?.address, port: false, &output)
    case .upstreamRemotePort: writePort(info.endpoint?.address, &output)
    case .upstreamRequestAttemptCount: output.append(decimal: UInt64(info.attempts))
    case .routeName: writeText(info.route?.name, &output)
    case .downstreamLocalAddress: writeAddress(info.downstreamLocalAddress, port: true, &output)
    case .downstreamLocalAddressWithoutPort: writeAddress(info.downstreamLocalAddress, port: false, &output)
    case .downstreamLocalPort: writePort(info.downstreamLocalAddress, &output)
    case .downstreamRemoteAddress: writeAddress(info.downstreamRemoteAddress, port: true, &output)
    case .downstreamRemoteAddressWithoutPort: writeAddress(info.downstreamRemoteAddress, port: false, &output)
    case .downstreamRemotePort: writePort(info.downstreamRemoteAddress, &output)
    case .downstreamDirectRemoteAddress: writeAddress(info.directRemoteAddress, port: true, &output)
    case .downstreamDirectRemoteAddressWithoutPort: writeAddress(info.directRemoteAddress, port: false, &output)
    case .downstreamDirectRemotePort: writePort(info.directRemoteAddress, &output)
    case .connectionID: output.append(decimal: info.connectionIdentifier)
    case .traceID:
      guard info.trace.hasTrace else { return output.append(0x2d) }
      if !info.trace.is64Bit { output.append(hex: info.trace.traceIDHigh) }
      output.append(hex: info.trace.traceIDLow)
    case .spanID:
      if info.trace.spanID == 0 { output.append(0x2d) } else { output.append(hex: info.trace.spanID) }
    case .dynamicMetadata:
      guard let value = info.metadata[program.keys[Int(step.index)]] else { return output.append(0x2d) }
      var text = value
      text.withUTF8 { output.appendEscaped(shortened($0, step)) }
    case .requestHeader, .responseHeader, .startTime, .protocol, .responseCode, .responseFlags, .bytesReceived,
      .bytesSent, .duration, .upstreamHost, .upstreamRemoteAddress, .hostName, .environment:
      // Written above, or text since the format was compiled.
      break
    }
  }

  // MARK: Values

  @inline(__always)
  private static func shortened(_ bytes: Bytes, _ step: Step) -> Bytes {
    bytes.count > Int(step.length) ? bytes.slice(0, Int(step.length)) : bytes
  }

  @inline(__always)
  private static func header(_ headers: HeaderMap, _ name: HeaderID, _ index: Int32, _ program: Program) -> Bytes? {
    if name != .other { return headers.value(name) }
    return index < 0 ? nil : headers.value(program.names[Int(index)])
  }

  @inline(__always)
  private static func writeHeader(
    _ headers: HeaderMap, _ step: Step, _ program: Program, _ output: inout SubstitutionOutput
  ) {
    if let value = header(headers, step.name, step.index, program) {
      output.appendEscaped(shortened(value, step))
    } else if let value = header(headers, step.alternative, step.alternativeIndex, program) {
      output.appendEscaped(shortened(value, step))
    } else {
      output.append(0x2d)
    }
  }

  /// A response that the proxy makes has no `:status` among its headers.
  @inline(__always)
  private static func writeResponseHeader(
    _ headers: HeaderMap, _ step: Step, _ program: Program, _ code: Int, _ output: inout SubstitutionOutput
  ) {
    if step.name == .status, !headers.has(.status), code > 0 {
      output.append(decimal: UInt64(clamping: code))
    } else {
      writeHeader(headers, step, program, &output)
    }
  }

  @inline(__always)
  private static func writeTime(
    _ wallClock: UInt64, _ step: Step, _ program: Program, _ output: inout SubstitutionOutput
  ) {
    if step.index < 0 {
      output.append(timeStamp: wallClock)
    } else {
      program.times[Int(step.index)].write(wallClock, into: &output)
    }
  }

  /// Whole milliseconds, rounded down.
  @inline(__always)
  private static func writeSpan(_ from: MonotonicTime?, _ to: MonotonicTime?, _ output: inout SubstitutionOutput) {
    guard let from, let to else { return output.append(0x2d) }
    output.append(decimal: to.since(from).wholeMilliseconds)
  }

  @inline(__always)
  private static func writeAddress(_ address: SocketAddress?, port: Bool, _ output: inout SubstitutionOutput) {
    if let address { output.append(address, port: port) } else { output.append(0x2d) }
  }

  private static func writePort(_ address: SocketAddress?, _ output: inout SubstitutionOutput) {
    guard let address, !address.isUnix else { return output.append(0x2d) }
    output.append(decimal: UInt64(address.port))
  }

  private static func writeText(_ text: String?, _ output: inout SubstitutionOutput) {
    if let text, !text.isEmpty { output.appendEscaped(text) } else { output.append(0x2d) }
  }

  @inline(never)
  private static func writeFlags(_ flags: ResponseFlags, long: Bool, _ output: inout SubstitutionOutput) {
    var isFirst = true
    for entry in ResponseFlags.names where flags.contains(entry.flag) {
      if !isFirst { output.append(UInt8(ascii: ",")) }
      isFirst = false
      output.append(long ? entry.long : entry.short)
    }
    if isFirst { output.append(0x2d) }
  }

  private static func writeDetails(_ details: ResponseCodeDetails?, _ output: inout SubstitutionOutput) {
    guard let details else { return output.append(0x2d) }
    output.append(details.word)
    guard let reason = details.reason else { return }
    output.append(UInt8(ascii: "{"))
    output.append(reason)
    if let more = details.more, more.utf8CodeUnitCount > 0 {
      output.append(UInt8(ascii: "|"))
      output.append(more)
    }
    output.append(UInt8(ascii: "}"))
  }
}
