import MeshHTTP
import MeshPrimitives

/// What is taken from request and response: trailers, parts of the path, the status of gRPC, sizes.
extension SubstitutionFormat {
  static func writeMessage<Source: SubstitutionSource>(
    _ step: Step, _ program: Program, _ source: Source, _ output: inout SubstitutionOutput
  ) -> Bool {
    switch step.operation {
    case .responseTrailer:
      guard let trailers = source.responseTrailers else { return false }
      return writeHeader(trailers, step, program, &output)
    case .pathWithoutQuery:
      guard let value = header(source.requestHeaders, step, program) else { return false }
      output.appendEscaped(shortened(value.slice(0, value.firstIndex(of: Self.questionMark) ?? value.count), step))
    case .query:
      guard let query = query(source) else { return false }
      output.appendEscaped(shortened(query, step))
    case .decodedQuery:
      guard let query = query(source) else { return false }
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: query.count + 1) { decoded in
        let length = query.percentDecode(into: decoded)
        output.appendEscaped(shortened(Bytes(start: decoded.baseAddress, count: length), step))
      }
    case .queryParameter:
      guard let query = query(source),
        let value = parameter(program.keys[Int(step.index)][0], of: query)
      else { return false }
      output.appendEscaped(shortened(value, step))
    case .grpcStatus, .grpcStatusSnake, .grpcStatusNumber: return writeGRPCStatus(step, source, &output)
    default: return false
    }
    return true
  }

  private static var questionMark: UInt8 { UInt8(ascii: "?") }

  private static func query<Source: SubstitutionSource>(_ source: Source) -> Bytes? {
    guard let path = source.requestHeaders.value(.path), let mark = path.firstIndex(of: questionMark),
      mark + 1 < path.count
    else { return nil }
    return path.slice(mark + 1, path.count - mark - 1)
  }

  /// The value of the first parameter with this name; empty if it has none.
  private static func parameter(_ name: String, of query: Bytes) -> Bytes? {
    var name = name
    return name.withUTF8 { name in
      var start = 0
      while start <= query.count {
        let rest = query.slice(start, query.count - start)
        let pair = rest.slice(0, rest.firstIndex(of: UInt8(ascii: "&")) ?? rest.count)
        let equals = pair.firstIndex(of: UInt8(ascii: "="))
        if pair.slice(0, equals ?? pair.count).equals(name) {
          guard let equals else { return Bytes(start: pair.baseAddress, count: 0) }
          return pair.slice(equals + 1, pair.count - equals - 1)
        }
        start += pair.count + 1
      }
      return nil
    }
  }

  // MARK: gRPC

  private static func writeGRPCStatus<Source: SubstitutionSource>(
    _ step: Step, _ source: Source, _ output: inout SubstitutionOutput
  ) -> Bool {
    guard let status = GRPCStatus.of(source) else { return false }
    switch step.operation {
    case .grpcStatus: if let name = status.name { output.append(name) } else { output.append(plain: "\(status.code)") }
    case .grpcStatusSnake:
      if let name = status.constant { output.append(name) } else { output.append(plain: "\(status.code)") }
    default: output.append(plain: "\(status.code)")
    }
    return true
  }

  // MARK: Sizes

  static func size<Source: SubstitutionSource>(
    _ operation: SubstitutionOperator, _ source: Source
  ) -> UInt64 {
    switch operation {
    case .requestHeadersBytes: UInt64(clamping: size(ofRequest: source.requestHeaders))
    case .responseHeadersBytes: UInt64(clamping: source.responseHeaders.map { size(ofResponse: $0) } ?? 0)
    case .responseTrailersBytes: UInt64(clamping: source.responseTrailers.map { $0.byteCount - 4 * $0.count } ?? 0)
    case .downstreamWireBytesReceived: source.downstreamWire.received
    case .downstreamWireBytesSent: source.downstreamWire.sent
    case .downstreamHeaderBytesReceived: UInt64(source.downstreamWire.headerReceived)
    case .downstreamHeaderBytesSent: UInt64(source.downstreamWire.headerSent)
    case .upstreamWireBytesReceived: source.info.upstreamWire.received
    case .upstreamWireBytesSent: source.info.upstreamWire.sent
    case .upstreamHeaderBytesReceived: UInt64(source.info.upstreamWire.headerReceived)
    case .upstreamHeaderBytesSent: UInt64(source.info.upstreamWire.headerSent)
    default: 0
    }
  }

  /// Names and values, with `:authority` for `host`, and the `:scheme` that HTTP/1.1 does not write.
  private static func size(ofRequest headers: HeaderMap) -> Int {
    guard headers.count > 0 else { return 0 }
    let names = headers.byteCount - 4 * headers.count
    return names + (headers.has(.host) ? 6 : 0) + (headers.has(.scheme) ? 0 : 11)
  }

  /// Names and values, with the `:status` that answers of the proxy's own do not carry.
  private static func size(ofResponse headers: HeaderMap) -> Int {
    headers.byteCount - 4 * headers.count + (headers.has(.status) ? 0 : 10)
  }
}
