/// Finding the interned id of a name read from the wire: a jump on the length, then whole-word comparisons.
extension HeaderID {
  /// The id of `lowercased`; `.other` if the name is not interned. Upper-case letters never match.
  @inlinable @inline(__always)
  public static func identify(_ lowercased: Bytes) -> HeaderID {
    guard let start = lowercased.baseAddress else { return .other }
    return identify(UnsafeRawPointer(start), lowercased.count)
  }

  /// The id of the `count` bytes at `name`.
  public static func identify(_ name: UnsafeRawPointer, _ count: Int) -> HeaderID {
    // Within a length, the commonest name comes first.
    switch count {
    case 2:
      if same(name, "te") { return .te }
      if same(name, "b3") { return .b3 }
    case 3:
      if same(name, "via") { return .via }
    case 4:
      if same(name, "host") { return .host }
      if same(name, "date") { return .date }
    case 5:
      if same(name, ":path") { return .path }
    case 6:
      if same(name, "cookie") { return .cookie }
      if same(name, "server") { return .server }
      if same(name, "expect") { return .expect }
    case 7:
      if same(name, ":method") { return .method }
      if same(name, ":scheme") { return .scheme }
      if same(name, ":status") { return .status }
      if same(name, "trailer") { return .trailer }
      if same(name, "upgrade") { return .upgrade }
    case 8:
      if same(name, "location") { return .location }
    case 9:
      if same(name, ":protocol") { return .protocol }
    case 10:
      if same(name, "user-agent") { return .userAgent }
      if same(name, "connection") { return .connection }
      if same(name, "tracestate") { return .tracestate }
      if same(name, "keep-alive") { return .keepAlive }
      if same(name, "set-cookie") { return .setCookie }
      if same(name, "x-b3-flags") { return .xB3Flags }
    case 11:
      if same(name, "traceparent") { return .traceparent }
      if same(name, "x-b3-spanid") { return .xB3SpanID }
    case 12:
      if same(name, "content-type") { return .contentType }
      if same(name, "x-request-id") { return .xRequestID }
      if same(name, "x-b3-traceid") { return .xB3TraceID }
      if same(name, "x-b3-sampled") { return .xB3Sampled }
    case 13:
      if same(name, "authorization") { return .authorization }
    case 14:
      if same(name, "content-length") { return .contentLength }
      if same(name, "http2-settings") { return .http2Settings }
    case 15:
      if same(name, "accept-encoding") { return .acceptEncoding }
      if same(name, "x-forwarded-for") { return .xForwardedFor }
      if same(name, "x-envoy-ip-tags") { return .xEnvoyIPTags }
    case 16:
      if same(name, "x-envoy-internal") { return .xEnvoyInternal }
      if same(name, "proxy-connection") { return .proxyConnection }
      if same(name, "x-forwarded-host") { return .xForwardedHost }
      if same(name, "x-forwarded-port") { return .xForwardedPort }
      if same(name, "x-envoy-retry-on") { return .xEnvoyRetryOn }
    case 17:
      if same(name, "transfer-encoding") { return .transferEncoding }
      if same(name, "x-forwarded-proto") { return .xForwardedProto }
      if same(name, "x-client-trace-id") { return .xClientTraceID }
      if same(name, "x-b3-parentspanid") { return .xB3ParentSpanID }
    case 18:
      if same(name, "x-envoy-overloaded") { return .xEnvoyOverloaded }
    case 19:
      if same(name, "x-envoy-force-trace") { return .xEnvoyForceTrace }
      if same(name, "x-envoy-max-retries") { return .xEnvoyMaxRetries }
    case 20:
      if same(name, "x-envoy-original-url") { return .xEnvoyOriginalURL }
    case 21:
      if same(name, "x-envoy-original-path") { return .xEnvoyOriginalPath }
      if same(name, "x-envoy-original-host") { return .xEnvoyOriginalHost }
      if same(name, "x-envoy-attempt-count") { return .xEnvoyAttemptCount }
      if same(name, "x-envoy-drop-overload") { return .xEnvoyDropOverload }
      if same(name, "x-envoy-retry-grpc-on") { return .xEnvoyRetryGRPCOn }
      if same(name, "x-envoy-peer-metadata") { return .xEnvoyPeerMetadata }
    case 23:
      if same(name, "x-envoy-upstream-canary") { return .xEnvoyUpstreamCanary }
      if same(name, "x-forwarded-client-cert") { return .xForwardedClientCert }
    case 24:
      if same(name, "x-envoy-external-address") { return .xEnvoyExternalAddress }
      if same(name, "x-envoy-local-overloaded") { return .xEnvoyLocalOverloaded }
      if same(name, "x-envoy-peer-metadata-id") { return .xEnvoyPeerMetadataID }
    case 27:
      if same(name, "x-envoy-decorator-operation") { return .xEnvoyDecoratorOperation }
    case 29:
      if same(name, "x-envoy-upstream-service-time") { return .xEnvoyUpstreamServiceTime }
    case 30:
      if same(name, "x-envoy-expected-rq-timeout-ms") { return .xEnvoyExpectedRequestTimeout }
      if same(name, "x-envoy-upstream-rq-timeout-ms") { return .xEnvoyUpstreamRequestTimeout }
      if same(name, "x-envoy-retriable-status-codes") { return .xEnvoyRetriableStatusCodes }
      if same(name, "x-envoy-retriable-header-names") { return .xEnvoyRetriableHeaderNames }
      if same(name, "x-envoy-upstream-alt-stat-name") { return .xEnvoyUpstreamAltStatName }
    case 31:
      if same(name, "x-envoy-downstream-service-node") { return .xEnvoyDownstreamServiceNode }
    case 32:
      if same(name, "x-envoy-hedge-on-per-try-timeout") { return .xEnvoyHedgeOnPerTryTimeout }
    case 34:
      if same(name, "x-envoy-downstream-service-cluster") { return .xEnvoyDownstreamServiceCluster }
    case 35:
      if same(name, "x-envoy-unconditional-drop-overload") { return .xEnvoyUnconditionalDropOverload }
      if same(name, "x-envoy-immediate-health-check-fail") { return .xEnvoyImmediateHealthCheckFail }
      if same(name, "x-envoy-upstream-stream-duration-ms") { return .xEnvoyUpstreamStreamDuration }
    case 38:
      if same(name, "x-envoy-upstream-rq-per-try-timeout-ms") { return .xEnvoyUpstreamRequestPerTryTimeout }
    case 40:
      if same(name, "x-envoy-upstream-rq-timeout-alt-response") { return .xEnvoyUpstreamRequestTimeoutAltResponse }
    default: break
    }
    return .other
  }

  /// Whether the bytes at `p` are `literal`'s, the lengths being equal. The literal is a constant of the caller, so this
  /// becomes one to five comparisons with immediate words; the last word overlaps the one before.
  @inline(__always)
  private static func same(_ p: UnsafeRawPointer, _ literal: StaticString) -> Bool {
    let q = UnsafeRawPointer(literal.utf8Start)
    let n = literal.utf8CodeUnitCount
    if n >= 8 {
      var i = 0
      while i &+ 8 <= n {
        if word(p, i) != word(q, i) { return false }
        i &+= 8
      }
      return i == n || word(p, n &- 8) == word(q, n &- 8)
    }
    if n >= 4 { return half(p, 0) == half(q, 0) && half(p, n &- 4) == half(q, n &- 4) }
    return pair(p, 0) == pair(q, 0) && pair(p, n &- 2) == pair(q, n &- 2)
  }

  @inline(__always)
  private static func word(_ p: UnsafeRawPointer, _ i: Int) -> UInt64 {
    p.loadUnaligned(fromByteOffset: i, as: UInt64.self)
  }
  @inline(__always)
  private static func half(_ p: UnsafeRawPointer, _ i: Int) -> UInt32 {
    p.loadUnaligned(fromByteOffset: i, as: UInt32.self)
  }
  @inline(__always)
  private static func pair(_ p: UnsafeRawPointer, _ i: Int) -> UInt16 {
    p.loadUnaligned(fromByteOffset: i, as: UInt16.self)
  }
}
