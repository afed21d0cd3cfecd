import MeshHTTP
import MeshPrimitives
import MeshRouting

/// What the span of a request is called, and who tells whom. The first that has something to say:
///
/// - `operation`, of the route or of the connection manager: then nobody tells anybody;
/// - the other side, by `x-envoy-decorator-operation`: the caller in the request, or, behind a listener with
///   `traffic_direction: OUTBOUND`, the upstream in the response;
/// - the route's `decorator`, which the other side hears of in turn;
/// - `ingress`, `egress HOST`; Zipkin: the host.
extension ConnectionManager {
  /// The request is on its way: tells the upstream, or hears what the caller says.
  func nameSpan(_ tracing: TracingLane, _ headers: HeaderMap, _ stream: Stream) {
    let configuration = tracing.configuration
    guard configuration.rules(for: stream.info.route).operation == nil else { return }
    if configuration.isOutbound {
      if let decorator = stream.route?.decorator, decorator.propagates {
        decorator.operation.withUnsafeBufferPointer { headers.set(.xEnvoyDecoratorOperation, $0) }
      }
    } else if let name = headers.value(.xEnvoyDecoratorOperation) {
      if !name.isEmpty { stream.spanName = Array(name) }
      headers.remove(.xEnvoyDecoratorOperation)
    }
  }

  /// The response is on its way back: tells the caller, or hears what the upstream says.
  func nameSpan(_ tracing: TracingLane, ofResponse headers: HeaderMap, _ stream: Stream) {
    let configuration = tracing.configuration
    if configuration.isOutbound {
      guard let name = headers.value(.xEnvoyDecoratorOperation) else { return }
      guard configuration.rules(for: stream.info.route).operation == nil else { return }
      if !name.isEmpty { stream.spanName = Array(name) }
      headers.remove(.xEnvoyDecoratorOperation)
    } else if let decorator = stream.info.route?.decorator, decorator.propagates, stream.spanName.isEmpty,
      configuration.rules(for: stream.info.route).operation == nil
    {
      decorator.operation.withUnsafeBufferPointer { headers.set(.xEnvoyDecoratorOperation, $0) }
    }
  }

  /// Calls `body` with the span's name.
  func withSpanName(_ stream: Stream, _ tracing: TracingLane, _ rules: SpanRules, _ body: (Bytes) -> Void) {
    if !stream.spanName.isEmpty { return stream.spanName.withUnsafeBufferPointer(body) }
    if let operation = rules.operation, withName(operation, stream, body) { return }
    if let decorator = stream.info.route?.decorator { return decorator.operation.withUnsafeBufferPointer(body) }
    // As it came: the route may have changed it.
    let headers = stream.requestHeaders
    let host = headers.value(.xEnvoyOriginalHost) ?? headers.value(.host) ?? Bytes("")
    guard case .otlp = tracing.tracer.format else { return body(host) }
    guard tracing.configuration.isOutbound else { return body(Bytes("ingress")) }
    let scratch = tracing.scratch
    scratch.removeAll()
    scratch.append("egress ")
    scratch.append(host)
    body(scratch.bytes)
  }

  /// - Returns: whether there is anything in the name.
  @inline(never)
  func withName(_ format: SubstitutionFormat, _ stream: Stream, _ body: (Bytes) -> Void) -> Bool {
    worker.withSubstitution(format, stream) { name in
      if !name.isEmpty { body(name) }
      return !name.isEmpty
    }
  }
}
