import MeshHTTP
import MeshPrimitives
import MeshRouting

/// Where a provider's spans are sent, and how. Immutable; shared by all threads.
final class SpanCollector: Sendable {
  enum Language: Sendable, Equatable {
    /// `POST` of a list of JSON objects.
    case zipkin
    /// `POST` of a `zipkin.proto3.ListOfSpans`.
    case zipkinProtobuf
    /// `POST` of an `ExportTraceServiceRequest`.
    case otlpHTTP(OTLPEnvelope)
    /// `TraceService/Export` with the same message.
    case otlpGRPC(OTLPEnvelope)
  }

  /// How long an export may take.
  struct Timeout: Sendable {
    /// nil: `fallback` always.
    var value: RuntimeValue?
    /// In milliseconds.
    var fallback: UInt64

    /// Never without bound: a collector that hangs must not hold exports for good.
    var current: Duration {
      let milliseconds = value?.integer(or: fallback) ?? fallback
      return .milliseconds(milliseconds == 0 ? 60_000 : min(milliseconds, 3_600_000))
    }
  }

  let language: Language
  let cluster: String
  /// `host`, `:authority`.
  let host: String
  /// Origin form; not used by gRPC.
  let path: String
  let timeout: Timeout
  /// What else the calls say; nil: nothing.
  let headers: HeaderMutations?
  /// Whether calls have `x-envoy-internal`.
  let sendsEnvoyHeaders: Bool

  static let grpcPath = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
  static let userAgent = "OTel-OTLP-Exporter-Martlet/\(Proxy.versionText)"
  /// Answers are short; more is not read.
  private static let maximumResponse = 64 * 1024

  init(
    _ language: Language, cluster: String, host: String, path: String = "", timeout: Timeout,
    headers: HeaderMutations? = nil, sendsEnvoyHeaders: Bool = true
  ) {
    self.language = language
    self.cluster = cluster
    self.host = host
    self.path = path
    self.timeout = timeout
    self.headers = headers
    self.sendsEnvoyHeaders = sendsEnvoyHeaders
  }

  var isOTLP: Bool { language != .zipkin && language != .zipkinProtobuf }

  /// For people.
  var name: String {
    if case .otlpGRPC = language { "cluster \(cluster), gRPC" } else { "cluster \(cluster), \(path)" }
  }

  /// The call that brings these batches.
  func request(_ batches: [SpanBatch], _ worker: Worker) -> SideCall.Request {
    let timeout = timeout.current
    switch language {
    case .otlpGRPC(let envelope):
      var request = GRPCUnary.request(
        Self.grpcPath, authority: host, message: envelope.message(of: batches), timeout: timeout,
        limit: Self.maximumResponse)
      request.headers.append(("user-agent", Self.userAgent))
      if sendsEnvoyHeaders { request.headers.append(("x-envoy-internal", "true")) }
      request.headers = changed(request.headers, worker)
      return request
    case .otlpHTTP(let envelope):
      var request = self.request(timeout, envelope.message(of: batches))
      request.headers = changed(
        [("content-type", "application/x-protobuf"), ("user-agent", Self.userAgent)] + request.headers, worker)
      return request
    case .zipkin:
      var request = self.request(timeout, Self.list(of: batches))
      request.headers = changed([("content-type", "application/json")] + request.headers, worker)
      return request
    case .zipkinProtobuf:
      // Its fields are the list.
      var request = self.request(timeout, Array(batches.map(\.bytes).joined()))
      request.headers = changed([("content-type", "application/x-protobuf")] + request.headers, worker)
      return request
    }
  }

  private func request(_ timeout: Duration, _ body: [UInt8]) -> SideCall.Request {
    var request = SideCall.Request(host: host, timeout: timeout)
    request.method = "POST"
    request.path = path
    request.maximumResponse = Self.maximumResponse
    request.headers = [
      ("x-envoy-internal", "true"),
      ("x-envoy-expected-rq-timeout-ms", "\(Nanoseconds(timeout).wholeMilliseconds)"),
    ]
    request.body = body
    return request
  }

  /// The JSON list around objects.
  static func list(of batches: [SpanBatch]) -> [UInt8] {
    var list: [UInt8] = []
    list.reserveCapacity(batches.reduce(1) { $0 + $1.bytes.count + 1 } + 1)
    list.append(UInt8(ascii: "["))
    for (index, batch) in batches.enumerated() {
      if index > 0 { list.append(UInt8(ascii: ",")) }
      list += batch.bytes
    }
    list.append(UInt8(ascii: "]"))
    return list
  }

  /// What an outcome means.
  func answer(_ outcome: SideCall.Outcome) -> ExportAnswer {
    if case .otlpGRPC = language { return .ofCall(outcome) }
    return .of(outcome, isOTLP: isOTLP)
  }

  private func changed(
    _ fields: [(name: String, value: String)], _ worker: Worker
  ) -> [(name: String, value: String)] {
    guard let headers else { return fields }
    let map = worker.headerMaps.take()
    defer { worker.headerMaps.recycle(map) }
    for (name, value) in fields {
      Array(value.utf8).withUnsafeBufferPointer { map.add(HeaderName(name), $0) }
    }
    ExportRecord.change(map, headers, worker)
    var changed: [(name: String, value: String)] = []
    map.forEach { _, name, value in changed.append((name.text, value.text)) }
    return changed
  }
}
