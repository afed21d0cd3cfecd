/// The header names the proxy itself reads, writes or removes, interned so that the request path compares one byte.
/// The pseudo headers of HTTP/2 (RFC 9113 §8.3) are names like any other; `host` doubles as `:authority`.
public enum HeaderID: UInt8, CaseIterable, Sendable {
  /// Any name that is not listed here.
  case other
  case method, path, scheme, status, `protocol`
  case host
  // Framing and hop-by-hop fields (RFC 9110 §7.6.1).
  case connection, keepAlive, proxyConnection, transferEncoding, te, trailer, upgrade, http2Settings
  case contentLength, expect
  case contentType, date, server, userAgent, via, location, acceptEncoding, cookie, setCookie, authorization
  // Edge and identity.
  case xForwardedFor, xForwardedProto, xForwardedHost, xForwardedPort, xForwardedClientCert, xRequestID, xClientTraceID
  case xEnvoyUpstreamServiceTime, xEnvoyExpectedRequestTimeout, xEnvoyOriginalPath, xEnvoyExternalAddress
  case xEnvoyInternal, xEnvoyForceTrace, xEnvoyAttemptCount, xEnvoyOverloaded, xEnvoyDecoratorOperation
  case xEnvoyUpstreamRequestTimeout, xEnvoyUpstreamRequestPerTryTimeout, xEnvoyRetryOn, xEnvoyRetryGRPCOn
  case xEnvoyMaxRetries, xEnvoyRetriableStatusCodes, xEnvoyRetriableHeaderNames, xEnvoyHedgeOnPerTryTimeout
  case xEnvoyUpstreamRequestTimeoutAltResponse, xEnvoyUpstreamStreamDuration, xEnvoyUpstreamCanary, xEnvoyIPTags
  case xEnvoyOriginalURL, xEnvoyOriginalHost, xEnvoyUpstreamAltStatName
  case xEnvoyDownstreamServiceCluster, xEnvoyDownstreamServiceNode, xEnvoyLocalOverloaded,
    xEnvoyImmediateHealthCheckFail, xEnvoyDropOverload, xEnvoyUnconditionalDropOverload
  // What sidecars tell each other of the workloads beside them (Istio).
  case xEnvoyPeerMetadata, xEnvoyPeerMetadataID
  // Trace context.
  case traceparent, tracestate, b3, xB3TraceID, xB3SpanID, xB3ParentSpanID, xB3Sampled, xB3Flags

  /// The name in lower case.
  public var name: StaticString {
    switch self {
    case .other: ""
    case .method: ":method"
    case .path: ":path"
    case .scheme: ":scheme"
    case .status: ":status"
    case .protocol: ":protocol"
    case .host: "host"
    case .connection: "connection"
    case .keepAlive: "keep-alive"
    case .proxyConnection: "proxy-connection"
    case .transferEncoding: "transfer-encoding"
    case .te: "te"
    case .trailer: "trailer"
    case .upgrade: "upgrade"
    case .http2Settings: "http2-settings"
    case .contentLength: "content-length"
    case .expect: "expect"
    case .contentType: "content-type"
    case .date: "date"
    case .server: "server"
    case .userAgent: "user-agent"
    case .via: "via"
    case .location: "location"
    case .acceptEncoding: "accept-encoding"
    case .cookie: "cookie"
    case .setCookie: "set-cookie"
    case .authorization: "authorization"
    case .xForwardedFor: "x-forwarded-for"
    case .xForwardedProto: "x-forwarded-proto"
    case .xForwardedHost: "x-forwarded-host"
    case .xForwardedPort: "x-forwarded-port"
    case .xForwardedClientCert: "x-forwarded-client-cert"
    case .xRequestID: "x-request-id"
    case .xClientTraceID: "x-client-trace-id"
    case .xEnvoyUpstreamServiceTime: "x-envoy-upstream-service-time"
    case .xEnvoyExpectedRequestTimeout: "x-envoy-expected-rq-timeout-ms"
    case .xEnvoyOriginalPath: "x-envoy-original-path"
    case .xEnvoyExternalAddress: "x-envoy-external-address"
    case .xEnvoyInternal: "x-envoy-internal"
    case .xEnvoyForceTrace: "x-envoy-force-trace"
    case .xEnvoyAttemptCount: "x-envoy-attempt-count"
    case .xEnvoyOverloaded: "x-envoy-overloaded"
    case .xEnvoyDecoratorOperation: "x-envoy-decorator-operation"
    case .xEnvoyUpstreamRequestTimeout: "x-envoy-upstream-rq-timeout-ms"
    case .xEnvoyUpstreamRequestPerTryTimeout: "x-envoy-upstream-rq-per-try-timeout-ms"
    case .xEnvoyRetryOn: "x-envoy-retry-on"
    case .xEnvoyRetryGRPCOn: "x-envoy-retry-grpc-on"
    case .xEnvoyMaxRetries: "x-envoy-max-retries"
    case .xEnvoyRetriableStatusCodes: "x-envoy-retriable-status-codes"
    case .xEnvoyRetriableHeaderNames: "x-envoy-retriable-header-names"
    case .xEnvoyHedgeOnPerTryTimeout: "x-envoy-hedge-on-per-try-timeout"
    case .xEnvoyUpstreamRequestTimeoutAltResponse: "x-envoy-upstream-rq-timeout-alt-response"
    case .xEnvoyUpstreamStreamDuration: "x-envoy-upstream-stream-duration-ms"
    case .xEnvoyUpstreamCanary: "x-envoy-upstream-canary"
    case .xEnvoyIPTags: "x-envoy-ip-tags"
    case .xEnvoyOriginalURL: "x-envoy-original-url"
    case .xEnvoyOriginalHost: "x-envoy-original-host"
    case .xEnvoyUpstreamAltStatName: "x-envoy-upstream-alt-stat-name"
    case .xEnvoyDownstreamServiceCluster: "x-envoy-downstream-service-cluster"
    case .xEnvoyDownstreamServiceNode: "x-envoy-downstream-service-node"
    case .xEnvoyLocalOverloaded: "x-envoy-local-overloaded"
    case .xEnvoyImmediateHealthCheckFail: "x-envoy-immediate-health-check-fail"
    case .xEnvoyDropOverload: "x-envoy-drop-overload"
    case .xEnvoyUnconditionalDropOverload: "x-envoy-unconditional-drop-overload"
    case .xEnvoyPeerMetadata: "x-envoy-peer-metadata"
    case .xEnvoyPeerMetadataID: "x-envoy-peer-metadata-id"
    case .traceparent: "traceparent"
    case .tracestate: "tracestate"
    case .b3: "b3"
    case .xB3TraceID: "x-b3-traceid"
    case .xB3SpanID: "x-b3-spanid"
    case .xB3ParentSpanID: "x-b3-parentspanid"
    case .xB3Sampled: "x-b3-sampled"
    case .xB3Flags: "x-b3-flags"
    }
  }
}

/// A header name taken from configuration: lower-cased once, interned where it is well known.
public struct HeaderName: Hashable, Sendable, CustomStringConvertible {
  /// `.other` if the name is not interned.
  public let id: HeaderID
  /// The name in lower case.
  public let lowercased: [UInt8]

  /// `:authority` becomes `host`. The caller has checked that the name is a token (RFC 9110 §5.6.2) or a pseudo header.
  public init(_ name: String) {
    var bytes = name.utf8.map(\.asciiLowercased)
    if bytes == Array(":authority".utf8) { bytes = Array("host".utf8) }
    lowercased = bytes
    id = HeaderID.allCases.first { $0 != .other && $0.name.description.utf8.elementsEqual(bytes) } ?? .other
  }

  public var description: String { String(decoding: lowercased, as: UTF8.self) }
}
