/// What a format can ask for: `%NAME%`, `%NAME(ARGUMENT)%`, `%NAME(ARGUMENT):LENGTH%`. The names and meanings are
/// Envoy's. What is not known is written as `-`.
enum SubstitutionOperator: UInt8, CaseIterable, Sendable {
  /// When the request's head was complete. Without an argument ISO 8601 with milliseconds, in UTC.
  case startTime
  /// When the line is written.
  case emitTime
  /// The client's HTTP version; this proxy speaks HTTP/1.1 and nothing else.
  case `protocol`
  /// The upstream's HTTP version, once a request was sent there.
  case upstreamProtocol
  /// A header of the request as it was sent upstream: `NAME?ALTERNATIVE`. `:METHOD`, `:PATH`, `:AUTHORITY`, `:SCHEME`.
  case requestHeader
  /// A header of the response; `:STATUS`.
  case responseHeader
  /// The status; 0 if no response began.
  case responseCode
  /// How the response came about, in one word.
  case responseCodeDetails
  /// Short names of what went wrong, separated by commas.
  case responseFlags
  /// The same in long names.
  case responseFlagsLong
  /// Bytes of the request's body.
  case bytesReceived
  /// Bytes of the response's body.
  case bytesSent
  /// Milliseconds from the request's head to the last byte of the response.
  case duration
  /// Milliseconds from the request's head to its last byte.
  case requestDuration
  /// Milliseconds from the request's head to the upstream's first byte.
  case responseDuration
  /// Milliseconds from the upstream's first byte to the last one sent to the client.
  case responseTXDuration
  /// The endpoint's address with port.
  case upstreamHost
  /// The endpoint's host name; its address with port if it has none.
  case upstreamHostName
  /// The name of the cluster (`alt_stat_name`, if it has one).
  case upstreamCluster
  /// The name of the cluster.
  case upstreamClusterRaw
  case upstreamLocalAddress, upstreamLocalAddressWithoutPort, upstreamLocalPort
  case upstreamRemoteAddress, upstreamRemoteAddressWithoutPort, upstreamRemotePort
  /// How often an upstream was tried.
  case upstreamRequestAttemptCount
  case routeName
  case downstreamLocalAddress, downstreamLocalAddressWithoutPort, downstreamLocalPort
  /// The client: the socket's other end.
  case downstreamRemoteAddress, downstreamRemoteAddressWithoutPort, downstreamRemotePort
  /// The socket's other end.
  case downstreamDirectRemoteAddress, downstreamDirectRemoteAddressWithoutPort, downstreamDirectRemotePort
  case connectionID
  case traceID
  case spanID
  /// What a filter noted: `NAMESPACE:KEY`.
  case dynamicMetadata
  /// This machine's name; looked up when the format is compiled.
  case hostName
  /// A variable of the environment; looked up when the format is compiled.
  case environment

  /// What may follow the name.
  enum Argument {
    case none, optionalTime, header, metadataKey, variable
  }

  var name: String {
    switch self {
    case .startTime: "START_TIME"
    case .emitTime: "EMIT_TIME"
    case .protocol: "PROTOCOL"
    case .upstreamProtocol: "UPSTREAM_PROTOCOL"
    case .requestHeader: "REQ"
    case .responseHeader: "RESP"
    case .responseCode: "RESPONSE_CODE"
    case .responseCodeDetails: "RESPONSE_CODE_DETAILS"
    case .responseFlags: "RESPONSE_FLAGS"
    case .responseFlagsLong: "RESPONSE_FLAGS_LONG"
    case .bytesReceived: "BYTES_RECEIVED"
    case .bytesSent: "BYTES_SENT"
    case .duration: "DURATION"
    case .requestDuration: "REQUEST_DURATION"
    case .responseDuration: "RESPONSE_DURATION"
    case .responseTXDuration: "RESPONSE_TX_DURATION"
    case .upstreamHost: "UPSTREAM_HOST"
    case .upstreamHostName: "UPSTREAM_HOST_NAME"
    case .upstreamCluster: "UPSTREAM_CLUSTER"
    case .upstreamClusterRaw: "UPSTREAM_CLUSTER_RAW"
    case .upstreamLocalAddress: "UPSTREAM_LOCAL_ADDRESS"
    case .upstreamLocalAddressWithoutPort: "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT"
    case .upstreamLocalPort: "UPSTREAM_LOCAL_PORT"
    case .upstreamRemoteAddress: "UPSTREAM_REMOTE_ADDRESS"
    case .upstreamRemoteAddressWithoutPort: "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"
    case .upstreamRemotePort: "UPSTREAM_REMOTE_PORT"
    case .upstreamRequestAttemptCount: "UPSTREAM_REQUEST_ATTEMPT_COUNT"
    case .routeName: "ROUTE_NAME"
    case .downstreamLocalAddress: "DOWNSTREAM_LOCAL_ADDRESS"
    case .downstreamLocalAddressWithoutPort: "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT"
    case .downstreamLocalPort: "DOWNSTREAM_LOCAL_PORT"
    case .downstreamRemoteAddress: "DOWNSTREAM_REMOTE_ADDRESS"
    case .downstreamRemoteAddressWithoutPort: "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT"
    case .downstreamRemotePort: "DOWNSTREAM_REMOTE_PORT"
    case .downstreamDirectRemoteAddress: "DOWNSTREAM_DIRECT_REMOTE_ADDRESS"
    case .downstreamDirectRemoteAddressWithoutPort: "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT"
    case .downstreamDirectRemotePort: "DOWNSTREAM_DIRECT_REMOTE_PORT"
    case .connectionID: "CONNECTION_ID"
    case .traceID: "TRACE_ID"
    case .spanID: "SPAN_ID"
    case .dynamicMetadata: "DYNAMIC_METADATA"
    case .hostName: "HOSTNAME"
    case .environment: "ENVIRONMENT"
    }
  }

  var argument: Argument {
    switch self {
    case .startTime, .emitTime: .optionalTime
    case .requestHeader, .responseHeader: .header
    case .dynamicMetadata: .metadataKey
    case .environment: .variable
    default: .none
    }
  }

  /// Whether `:LENGTH` may follow the argument.
  var takesLength: Bool {
    switch argument {
    case .header, .metadataKey, .variable: true
    case .none, .optionalTime: false
    }
  }

  /// Operators that Envoy has besides, so that a format is told what it is rather than that it is mistyped.
  static let envoyOnly: Set<String> = [
    "ACCESS_LOG_TYPE", "BYTES_RETRANSMITTED", "CEL", "CLUSTER_METADATA", "COALESCE", "COMMON_DURATION",
    "CONNECTION_TERMINATION_DETAILS", "CUSTOM_FLAGS", "DOWNSTREAM_DETECTED_CLOSE_TYPE", "DOWNSTREAM_HANDSHAKE_DURATION",
    "DOWNSTREAM_HEADER_BYTES_RECEIVED", "DOWNSTREAM_HEADER_BYTES_SENT", "DOWNSTREAM_LOCAL_CLOSE_REASON",
    "DOWNSTREAM_LOCAL_DNS_SAN", "DOWNSTREAM_LOCAL_EMAIL_SAN", "DOWNSTREAM_LOCAL_SUBJECT", "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_PEER_CERT", "DOWNSTREAM_PEER_CERT_V_END", "DOWNSTREAM_PEER_CERT_V_START", "DOWNSTREAM_PEER_DNS_SAN",
    "DOWNSTREAM_PEER_EMAIL_SAN", "DOWNSTREAM_PEER_FINGERPRINT_1", "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_ISSUER", "DOWNSTREAM_PEER_SERIAL", "DOWNSTREAM_PEER_SUBJECT", "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_TLS_CIPHER", "DOWNSTREAM_TLS_GROUP", "DOWNSTREAM_TLS_SESSION_ID", "DOWNSTREAM_TLS_VERSION",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON", "DOWNSTREAM_WIRE_BYTES_RECEIVED", "DOWNSTREAM_WIRE_BYTES_SENT",
    "EMIT_TIME_LOCAL", "FILTER_CHAIN_NAME", "FILTER_STATE", "GRPC_STATUS", "GRPC_STATUS_NUMBER", "LISTENER_METADATA",
    "LOCAL_REPLY_BODY", "METADATA", "PACKETS_RETRANSMITTED", "PATH", "QUERY_PARAM", "QUERY_PARAMS",
    "REQUEST_HEADERS_BYTES", "REQUEST_TX_DURATION", "REQUESTED_SERVER_NAME", "REQ_WITHOUT_QUERY",
    "RESPONSE_HEADERS_BYTES", "RESPONSE_TRAILERS_BYTES", "ROUNDTRIP_DURATION", "START_TIME_LOCAL", "STREAM_ID",
    "STREAM_INFO_REQ", "TLS_JA3_FINGERPRINT", "TLS_JA4_FINGERPRINT", "TRAILER", "UNIQUE_ID",
    "UPSTREAM_CONNECTION_ID", "UPSTREAM_CONNECTION_POOL_READY_DURATION", "UPSTREAM_DETECTED_CLOSE_TYPE",
    "UPSTREAM_FILTER_STATE", "UPSTREAM_HEADER_BYTES_RECEIVED", "UPSTREAM_HEADER_BYTES_SENT",
    "UPSTREAM_HOSTS_ATTEMPTED", "UPSTREAM_LOCAL_CLOSE_REASON", "UPSTREAM_METADATA", "UPSTREAM_PEER_CERT",
    "UPSTREAM_PEER_ISSUER", "UPSTREAM_PEER_SUBJECT", "UPSTREAM_TLS_CIPHER", "UPSTREAM_TLS_SESSION_ID",
    "UPSTREAM_TLS_VERSION", "UPSTREAM_TRANSPORT_FAILURE_REASON", "UPSTREAM_WIRE_BYTES_RECEIVED",
    "UPSTREAM_WIRE_BYTES_SENT", "VIRTUAL_CLUSTER_NAME",
  ]
}
