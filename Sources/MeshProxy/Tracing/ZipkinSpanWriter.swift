import MeshPrimitives

/// What every span of a Zipkin provider says of the proxy itself.
struct ZipkinSpanFormat: Sendable {
  /// `"localEndpoint":{…}`, as it is sent.
  let localEndpoint: [UInt8]

  init(localEndpoint: [UInt8]) { self.localEndpoint = localEndpoint }

  /// - Parameters:
  ///   - serviceName: may be empty.
  ///   - address: of this host; nil: not known.
  init(serviceName: String, address: IPAddress?) {
    let output = SpanOutput(capacity: 128)
    output.append("\"localEndpoint\":{")
    if !serviceName.isEmpty {
      output.append("\"serviceName\":")
      Array(serviceName.utf8).withUnsafeBufferPointer { output.append(jsonString: $0) }
      if address != nil { output.append(UInt8(ascii: ",")) }
    }
    if let address {
      output.append(address.family == .v4 ? "\"ipv4\":" : "\"ipv6\":")
      Array(address.description.utf8).withUnsafeBufferPointer { output.append(jsonString: $0) }
      // As Envoy: a proxy has no one port.
      output.append(",\"port\":0")
    }
    output.append(UInt8(ascii: "}"))
    localEndpoint = Array(output.bytes)
  }
}

/// Writes spans as Zipkin's API has them (version 2, JSON): objects with commas between them, without the brackets of the
/// list. Confined to the worker.
struct ZipkinSpanWriter: SpanWriter {
  private let output: SpanOutput
  private let format: ZipkinSpanFormat
  private var startedAt: UInt64 = 0
  private var kind = SpanKind.server
  private var part = Part.tags
  private var isFirst = true

  /// The list that is being written.
  private enum Part { case tags, annotations }

  init(_ output: SpanOutput, _ format: ZipkinSpanFormat) {
    self.output = output
    self.format = format
  }

  static var leavesOutUncommonMethods: Bool { false }

  /// Microseconds of nanoseconds.
  @inline(__always)
  private static func microseconds(_ time: UInt64) -> UInt64 { time / 1_000 }

  mutating func begin(_ head: SpanHead, name: Bytes, tracestate: Bytes) {
    let trace = head.trace
    output.append(output.count == 0 ? "{\"traceId\":\"" : ",{\"traceId\":\"")
    if trace.traceIDHigh != 0 { output.append(hex: trace.traceIDHigh) }
    output.append(hex: trace.traceIDLow)
    if trace.parentSpanID != 0 {
      output.append("\",\"parentId\":\"")
      output.append(hex: trace.parentSpanID)
    }
    output.append("\",\"id\":\"")
    output.append(hex: trace.spanID)
    output.append(head.kind == .client ? "\",\"kind\":\"CLIENT\"" : "\",\"kind\":\"SERVER\"")
    if !name.isEmpty {
      output.append(",\"name\":")
      output.append(jsonString: name)
    }
    if head.isShared { output.append(",\"shared\":true") }
    output.append(",\"timestamp\":")
    output.append(decimal: Self.microseconds(head.startedAt))
    output.append(UInt8(ascii: ","))
    format.localEndpoint.withUnsafeBufferPointer { output.append($0) }
    output.append(",\"tags\":{")
    startedAt = head.startedAt
    kind = head.kind
    part = .tags
    isFirst = true
  }

  /// The comma before an element.
  @inline(__always)
  private mutating func separate() {
    if !isFirst { output.append(UInt8(ascii: ",")) }
    isFirst = false
  }

  mutating func tag(_ key: StaticString, _ value: Bytes) {
    guard !value.isEmpty else { return }
    separate()
    output.append(UInt8(ascii: "\""))
    output.append(key)
    output.append("\":")
    output.append(jsonString: value)
  }

  mutating func tag(_ key: StaticString, plain value: Bytes) {
    separate()
    output.append(UInt8(ascii: "\""))
    output.append(key)
    output.append("\":\"")
    output.append(value)
    output.append(UInt8(ascii: "\""))
  }

  mutating func tag(_ key: Bytes, _ value: Bytes) {
    guard !value.isEmpty else { return }
    separate()
    output.append(jsonString: key)
    output.append(UInt8(ascii: ":"))
    output.append(jsonString: value)
  }

  mutating func tags(_ encoded: [UInt8]) {
    guard !encoded.isEmpty else { return }
    separate()
    encoded.withUnsafeBufferPointer { output.append($0) }
  }

  /// An annotation; its name is ASCII that needs no escaping.
  mutating func event(_ name: StaticString, at time: UInt64) {
    if part == .tags {
      output.append("},\"annotations\":[")
      part = .annotations
      isFirst = true
    }
    separate()
    output.append("{\"timestamp\":")
    output.append(decimal: Self.microseconds(time))
    output.append(",\"value\":\"")
    output.append(name)
    output.append("\"}")
  }

  /// A failure is the tag `error`, which whoever writes tags has written.
  mutating func end(at time: UInt64, isError: Bool) {
    // "Server send", "client receive": what Envoy notes at the end.
    event(kind == .server ? "ss" : "cr", at: time)
    output.append("],\"duration\":")
    // Zipkin takes 0 for no duration at all.
    output.append(
      decimal: max(1, Self.microseconds(time) &- min(Self.microseconds(time), Self.microseconds(startedAt))))
    output.append(UInt8(ascii: "}"))
  }

  static func encoded(_ tags: [(key: [UInt8], value: [UInt8])]) -> [UInt8] {
    let output = SpanOutput(capacity: 256)
    for tag in tags where !tag.value.isEmpty {
      if output.count > 0 { output.append(UInt8(ascii: ",")) }
      tag.key.withUnsafeBufferPointer { output.append(jsonString: $0) }
      output.append(UInt8(ascii: ":"))
      tag.value.withUnsafeBufferPointer { output.append(jsonString: $0) }
    }
    return Array(output.bytes)
  }
}
