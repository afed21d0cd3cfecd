/// A name as it stands in a format.
struct SubstitutionName: Sendable {
  let name: String
  let operation: SubstitutionOperator
  let argument: SubstitutionOperator.Argument
  /// Whether `:LENGTH` may follow.
  let takesLength: Bool

  init(
    _ name: String, _ operation: SubstitutionOperator, _ argument: SubstitutionOperator.Argument = .none,
    takesLength: Bool = false
  ) {
    self.name = name
    self.operation = operation
    self.argument = argument
    self.takesLength = takesLength
  }
}

extension SubstitutionName {
  /// Every name that is understood.
  static let all: [SubstitutionName] = known + SubstitutionTLSField.operators + alwaysUnknown

  static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

  /// Names that have a value here.
  static let known: [SubstitutionName] = [
    .init("START_TIME", .startTime, .optionalTime),
    .init("START_TIME_LOCAL", .startTimeLocal, .optionalTime),
    .init("EMIT_TIME", .emitTime, .optionalTime),
    .init("EMIT_TIME_LOCAL", .emitTimeLocal, .optionalTime),
    .init("DURATION", .duration),
    .init("REQUEST_DURATION", .requestDuration),
    .init("REQUEST_TX_DURATION", .requestTXDuration),
    .init("RESPONSE_DURATION", .responseDuration),
    .init("RESPONSE_TX_DURATION", .responseTXDuration),
    .init("UPSTREAM_CONNECTION_POOL_READY_DURATION", .upstreamConnectionPoolReadyDuration),
    .init("COMMON_DURATION", .commonDuration, .timePoints),
    .init("DOWNSTREAM_CX_RTT", .downstreamConnectionRoundTrip),

    .init("PROTOCOL", .protocol),
    .init("UPSTREAM_PROTOCOL", .upstreamProtocol),
    .init("REQ", .requestHeader, .header, takesLength: true),
    .init("REQUEST_HEADER", .requestHeader, .header, takesLength: true),
    .init("STREAM_INFO_REQ", .requestHeader, .header, takesLength: true),
    .init("RESP", .responseHeader, .header, takesLength: true),
    .init("RESPONSE_HEADER", .responseHeader, .header, takesLength: true),
    .init("TRAILER", .responseTrailer, .header, takesLength: true),
    .init("RESPONSE_TRAILER", .responseTrailer, .header, takesLength: true),
    .init("PATH", .requestHeader, .path, takesLength: true),
    .init("QUERY_PARAM", .queryParameter, .queryParameter, takesLength: true),
    .init("QUERY_PARAMS", .query, .query, takesLength: true),
    .init("REQUESTED_SERVER_NAME", .requestedServerName, .serverName),
    .init("RESPONSE_CODE", .responseCode),
    .init("RESPONSE_CODE_DETAILS", .responseCodeDetails, .details),
    .init("RESPONSE_FLAGS", .responseFlags),
    .init("RESPONSE_FLAGS_LONG", .responseFlagsLong),
    .init("GRPC_STATUS", .grpcStatus, .grpc),
    .init("GRPC_STATUS_NUMBER", .grpcStatusNumber),
    .init("LOCAL_REPLY_BODY", .localReplyBody),

    .init("BYTES_RECEIVED", .bytesReceived),
    .init("BYTES_SENT", .bytesSent),
    .init("BYTES_RETRANSMITTED", .zero),
    .init("PACKETS_RETRANSMITTED", .zero),
    .init("REQUEST_HEADERS_BYTES", .requestHeadersBytes),
    .init("RESPONSE_HEADERS_BYTES", .responseHeadersBytes),
    .init("RESPONSE_TRAILERS_BYTES", .responseTrailersBytes),
    .init("DOWNSTREAM_WIRE_BYTES_RECEIVED", .downstreamWireBytesReceived),
    .init("DOWNSTREAM_WIRE_BYTES_SENT", .downstreamWireBytesSent),
    .init("DOWNSTREAM_HEADER_BYTES_RECEIVED", .downstreamHeaderBytesReceived),
    .init("DOWNSTREAM_HEADER_BYTES_SENT", .downstreamHeaderBytesSent),
    .init("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", .downstreamHeaderBytesReceived),
    .init("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", .downstreamHeaderBytesSent),
    .init("UPSTREAM_WIRE_BYTES_RECEIVED", .upstreamWireBytesReceived),
    .init("UPSTREAM_WIRE_BYTES_SENT", .upstreamWireBytesSent),
    .init("UPSTREAM_HEADER_BYTES_RECEIVED", .upstreamHeaderBytesReceived),
    .init("UPSTREAM_HEADER_BYTES_SENT", .upstreamHeaderBytesSent),
    .init("UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", .upstreamHeaderBytesReceived),
    .init("UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", .upstreamHeaderBytesSent),

    .init("UPSTREAM_HOST", .upstreamHost),
    .init("UPSTREAM_HOST_NAME", .upstreamHostName),
    .init("UPSTREAM_HOST_NAME_WITHOUT_PORT", .upstreamHostNameWithoutPort),
    .init("UPSTREAM_HOSTS_ATTEMPTED", .upstreamHostsAttempted),
    .init("UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT", .upstreamHostsAttemptedWithoutPort),
    .init("UPSTREAM_HOST_NAMES_ATTEMPTED", .upstreamHostNamesAttempted),
    .init("UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT", .upstreamHostNamesAttemptedWithoutPort),
    .init("UPSTREAM_CLUSTER", .upstreamCluster),
    .init("UPSTREAM_CLUSTER_RAW", .upstreamClusterRaw),
    .init("UPSTREAM_LOCAL_ADDRESS", .upstreamLocalAddress),
    .init("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", .upstreamLocalAddressWithoutPort, .mask),
    .init("UPSTREAM_LOCAL_PORT", .upstreamLocalPort),
    .init("UPSTREAM_REMOTE_ADDRESS", .upstreamRemoteAddress),
    .init("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", .upstreamRemoteAddressWithoutPort, .mask),
    .init("UPSTREAM_REMOTE_PORT", .upstreamRemotePort),
    .init("UPSTREAM_CONNECTION_ID", .upstreamConnectionID),
    .init("UPSTREAM_CONNECTION_IDS_ATTEMPTED", .upstreamConnectionIDsAttempted),
    .init("UPSTREAM_REQUEST_ATTEMPT_COUNT", .upstreamRequestAttemptCount),
    .init("UPSTREAM_TRANSPORT_FAILURE_REASON", .upstreamFailureReason),

    .init("ROUTE_NAME", .routeName),
    .init("VIRTUAL_CLUSTER_NAME", .virtualClusterName),
    .init("LISTENER_NAME", .listenerName),
    .init("FILTER_CHAIN_NAME", .filterChainName),
    .init("METADATA", .metadata, .metadata(nil), takesLength: true),
    .init("DYNAMIC_METADATA", .metadata, .metadata(.dynamic), takesLength: true),
    .init("CLUSTER_METADATA", .metadata, .metadata(.cluster)),
    .init("UPSTREAM_METADATA", .metadata, .metadata(.upstreamHost)),
    .init("HOSTNAME", .hostName),
    .init("ENVIRONMENT", .environment, .variable, takesLength: true),

    .init("DOWNSTREAM_LOCAL_ADDRESS", .downstreamLocalAddress),
    .init("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", .downstreamLocalAddressWithoutPort, .mask),
    .init("DOWNSTREAM_LOCAL_PORT", .downstreamLocalPort),
    .init("DOWNSTREAM_DIRECT_LOCAL_ADDRESS", .downstreamDirectLocalAddress),
    .init("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT", .downstreamDirectLocalAddressWithoutPort, .mask),
    .init("DOWNSTREAM_DIRECT_LOCAL_PORT", .downstreamDirectLocalPort),
    .init("DOWNSTREAM_REMOTE_ADDRESS", .downstreamRemoteAddress),
    .init("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", .downstreamRemoteAddressWithoutPort, .mask),
    .init("DOWNSTREAM_REMOTE_PORT", .downstreamRemotePort),
    .init("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", .downstreamDirectRemoteAddress),
    .init("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", .downstreamDirectRemoteAddressWithoutPort, .mask),
    .init("DOWNSTREAM_DIRECT_REMOTE_PORT", .downstreamDirectRemotePort),

    .init("CONNECTION_ID", .connectionID),
    .init("STREAM_ID", .streamID),
    .init("UNIQUE_ID", .uniqueID),
    .init("TRACE_ID", .traceID),
    .init("SPAN_ID", .spanID),
    .init("ACCESS_LOG_TYPE", .accessLogType),
    .init("COALESCE", .coalesce, .coalesce, takesLength: true),
    .init("DOWNSTREAM_DETECTED_CLOSE_TYPE", .downstreamCloseType),
    .init("DOWNSTREAM_LOCAL_CLOSE_REASON", .localCloseReason),
    .init("UPSTREAM_DETECTED_CLOSE_TYPE", .upstreamCloseType),
    .init("CUSTOM_FLAGS", .nothing),
    .init("DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID", .nothing),
    .init("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID", .nothing),
    .init("UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", .nothing),
  ]

  /// Names that are understood and have no value in a proxy of TCP: of HTTP/3, of internal listeners, of extensions that
  /// share state; and of handshakes that have failed, after which there is no request. In Envoy they have none there either.
  static let alwaysUnknown: [SubstitutionName] =
    [
      "CONNECTION_TERMINATION_DETAILS", "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
      "ROUNDTRIP_DURATION", "TLS_JA3_FINGERPRINT", "TLS_JA4_FINGERPRINT", "UPSTREAM_LOCAL_CLOSE_REASON",
    ].map { SubstitutionName($0, .unknown) }
    + [
      "FILTER_STATE", "UPSTREAM_FILTER_STATE",
    ].map { SubstitutionName($0, .unknown, .ignoredRequired, takesLength: true) }

  /// Names that Envoy has and this proxy has not, with the reason.
  static let unsupported: [String: String] = [
    "CEL": "expressions are not supported by this proxy",
    "DYNAMIC_MODULE": "dynamic modules are not supported by this proxy",
    "REQ_WITHOUT_QUERY": "a formatter extension of Envoy, which deprecates it: use %PATH(NQ)%",
    "TYPED_CEL": "expressions are not supported by this proxy",
    "VIRTUAL_HOST_NAME": "it is not an operator of Envoy 1.40",
  ]
}
