import MeshHTTP
import MeshPrimitives

/// What is known of the span of one request to an upstream: an attempt (`spawn_upstream_span`), or a mirror's copy. Confined
/// to the worker.
struct AttemptSpan {
  /// A span below the request's own.
  var trace = TraceContext()
  var startedAt = MonotonicTime.never
  /// How the upstream is spoken to; nil: there was no connection.
  var version: HTTPVersion?
  /// 0: no response began.
  var status = 0
  var respondedAt = MonotonicTime.never
  /// Why there is no response, or no more of it.
  var failure: StreamResetReason?
  /// Which time was up.
  var flags: ResponseFlags = []
  /// `grpc-status`; empty: none.
  var call: [UInt8] = []
  /// Somebody on this side gave it up.
  var isCanceled = false

  /// What came of it. - Returns: whether it has failed.
  func writeTags<Writer: SpanWriter>(
    _ writer: inout Writer, _ address: SocketAddress?, _ cluster: ActiveCluster?
  ) -> Bool {
    if isCanceled { writer.tag("canceled", "true") }
    writer.tag("http.protocol", version?.text ?? "-")
    if let address {
      let text = address.description
      writer.tag("upstream_address", text: text)
      writer.tag("peer.address", text: text)
    }
    if let cluster {
      writer.tag("upstream_cluster", text: cluster.configuration.name)
      writer.tag("upstream_cluster.name", text: cluster.configuration.statName)
    }
    writer.tag("http.status_code", number: UInt64(clamping: status))
    (failure?.upstreamFlags ?? flags).shortNames.withUnsafeBufferPointer { writer.tag("response_flags", $0) }
    var status: GRPCStatus?
    if !call.isEmpty {
      status = call.withUnsafeBufferPointer {
        writer.tag("grpc.status_code", $0)
        return GRPCStatus(text: $0)
      }
    }
    if self.status == 0 || self.status >= 500 || status?.isServerError == true { writer.tag("error", "true") }
    if let failure { writer.tag("error.reason", failure.text) }
    return SpanKind.client.isFailure(self.status, status)
  }
}

/// A span that is ready to be written, whatever the form.
protocol SpanWriting {
  func write<Writer: SpanWriter>(to writer: inout Writer)
}

extension TracingLane {
  /// Writes a span in the tracer's form.
  @inline(__always)
  func write(_ span: () -> some SpanWriting) {
    switch tracer.format {
    case .otlp:
      var writer = OTLPSpanWriter(buffer.output)
      span().write(to: &writer)
    case .zipkin(let format):
      var writer = ZipkinSpanWriter(buffer.output, format)
      span().write(to: &writer)
    case .zipkinProtobuf(let format):
      var writer = ZipkinProtobufSpanWriter(buffer.output, format)
      span().write(to: &writer)
    }
    buffer.spanWritten()
  }
}

extension ResponseFlags {
  /// The short names with commas between them; `-` for none.
  var shortNames: [UInt8] {
    if isEmpty { return Array("-".utf8) }
    return Array(Self.names.filter { contains($0.flag) }.map(\.short.description).joined(separator: ",").utf8)
  }
}
