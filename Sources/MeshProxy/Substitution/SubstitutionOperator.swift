/// What a format can ask for: `%NAME%`, `%NAME(ARGUMENT)%`, `%NAME(ARGUMENT):LENGTH%`. The names and meanings are
/// Envoy's; several names can stand for one of these (`SubstitutionOperator+Names.swift`). What is not known of a stream
/// is written as `-`, or as `null` in JSON.
enum SubstitutionOperator: UInt8, CaseIterable, Sendable {
  // Times.

  /// When the request's head was complete. Without an argument ISO 8601 with milliseconds, in UTC.
  case startTime
  /// The same in the machine's time zone.
  case startTimeLocal
  /// When the line is written.
  case emitTime
  case emitTimeLocal
  /// Milliseconds from the request's head to the last byte of the response.
  case duration
  /// Milliseconds from the request's head to its last byte.
  case requestDuration
  /// Milliseconds from the request's head to the last byte of it sent upstream.
  case requestTXDuration
  /// Milliseconds from the request's head to the upstream's first byte.
  case responseDuration
  /// Milliseconds from the upstream's first byte to the last one sent to the client.
  case responseTXDuration
  /// Milliseconds from the choice of an endpoint to a connection for the request.
  case upstreamConnectionPoolReadyDuration
  /// From one point in time to another, in a unit: `DS_RX_BEG:DS_TX_END:us`.
  case commonDuration
  /// The kernel's estimate of the round trip to the client, in milliseconds.
  case downstreamConnectionRoundTrip

  // The message.

  /// The client's HTTP version; this proxy speaks HTTP/1.1 and nothing else.
  case `protocol`
  /// The upstream's HTTP version, once a request was sent there.
  case upstreamProtocol
  /// `:SCHEME`, which HTTP/1.1 seldom writes.
  case requestScheme
  /// A header of the request as it was sent upstream: `NAME?ALTERNATIVE`. `:METHOD`, `:PATH`, `:AUTHORITY`, `:SCHEME`.
  case requestHeader
  /// A header of the response; `:STATUS`.
  case responseHeader
  /// A trailer of the response.
  case responseTrailer
  /// As `requestHeader`, up to the question mark of the value.
  case pathWithoutQuery
  /// What stands behind the path's question mark.
  case query
  /// The same with percent-encoding resolved.
  case decodedQuery
  /// The first parameter of a name in the query.
  case queryParameter
  /// The status; 0 if no response began.
  case responseCode
  /// How the response came about, in one word.
  case responseCodeDetails
  /// Short names of what went wrong, separated by commas.
  case responseFlags
  /// The same in long names.
  case responseFlagsLong
  /// `grpc-status` as a word (`InvalidArgument`).
  case grpcStatus
  /// `grpc-status` as a word (`INVALID_ARGUMENT`).
  case grpcStatusSnake
  case grpcStatusNumber
  /// The text of an answer that the proxy makes itself, while that is formatted; nothing at other times.
  case localReplyBody

  // Sizes.

  /// Bytes of the request's body.
  case bytesReceived
  /// Bytes of the response's body.
  case bytesSent
  /// Names and values of the request's headers, of the response's, of its trailers.
  case requestHeadersBytes, responseHeadersBytes, responseTrailersBytes
  /// Everything that crossed the wire for this stream.
  case downstreamWireBytesReceived, downstreamWireBytesSent, upstreamWireBytesReceived, upstreamWireBytesSent
  /// Field lines of the heads.
  case downstreamHeaderBytesReceived, downstreamHeaderBytesSent, upstreamHeaderBytesReceived, upstreamHeaderBytesSent
  /// What TCP and HTTP/1.1 do not count.
  case zero

  // Upstream.

  /// The endpoint's address with port.
  case upstreamHost
  /// The endpoint's host name; its address with port if it has none.
  case upstreamHostName, upstreamHostNameWithoutPort
  /// Every endpoint that was tried, in order, separated by commas.
  case upstreamHostsAttempted, upstreamHostsAttemptedWithoutPort, upstreamHostNamesAttempted,
    upstreamHostNamesAttemptedWithoutPort
  /// The name of the cluster (`alt_stat_name`, if it has one).
  case upstreamCluster
  /// The name of the cluster.
  case upstreamClusterRaw
  /// Why there was no connection to the upstream.
  case upstreamFailureReason
  case upstreamLocalAddress, upstreamLocalAddressWithoutPort, upstreamLocalPort
  /// The other end of the connection to the endpoint.
  case upstreamRemoteAddress, upstreamRemoteAddressWithoutPort, upstreamRemotePort
  /// A number for the connection to the upstream, unique in the process; 0 if there was none.
  case upstreamConnectionID
  case upstreamConnectionIDsAttempted
  /// How often an upstream was tried.
  case upstreamRequestAttemptCount

  // Configuration.

  case routeName
  case virtualClusterName
  case listenerName
  case filterChainName
  /// A value of the metadata that the configuration gives to a route, a cluster … or that a filter noted.
  case metadata
  /// This machine's name; looked up when the format is compiled.
  case hostName
  /// A variable of the environment; looked up when the format is compiled.
  case environment

  // Downstream.

  case downstreamLocalAddress, downstreamLocalAddressWithoutPort, downstreamLocalPort
  case downstreamDirectLocalAddress, downstreamDirectLocalAddressWithoutPort, downstreamDirectLocalPort
  /// The client.
  case downstreamRemoteAddress, downstreamRemoteAddressWithoutPort, downstreamRemotePort
  /// The socket's other end.
  case downstreamDirectRemoteAddress, downstreamDirectRemoteAddressWithoutPort, downstreamDirectRemotePort

  // Identifiers.

  case connectionID
  /// The request's `x-request-id`.
  case streamID
  /// A new UUID each time.
  case uniqueID
  case traceID
  case spanID
  /// On what occasion the line is written.
  case accessLogType

  /// The first of several operators that has a value.
  case coalesce
  /// The name that the client asked for (SNI), whoever has read it.
  case requestedServerName
  /// How the client's connection ended: `Normal` for a stream, which ends before its connection does.
  case downstreamCloseType
  /// Why this side closed a client's connection.
  case localCloseReason
  /// The same, once there was a connection to the upstream.
  case upstreamCloseType
  /// What is always empty here.
  case nothing
  /// What is known of the TLS of the client's connection, and of that to the upstream.
  case downstreamTLS, upstreamTLS
  /// What a proxy of TCP never knows.
  case unknown

  /// What may stand in parentheses.
  enum Argument: Equatable {
    case none, optionalTime, header, variable, mask, timePoints, path, queryParameter, query, details, grpc, serverName,
      coalesce
    /// `NAMESPACE:KEY…`, with the kind of metadata in front if it is nil here.
    case metadata(SubstitutionMetadataSource?)
    /// Which of the things known of TLS; with the format of a time, if it is one.
    case tls(SubstitutionTLSField)
    /// Something must stand there, without effect.
    case ignoredRequired
  }

  /// What the value is in JSON.
  enum JSONForm {
    /// A string in quotes.
    case string
    /// Digits.
    case number
    /// JSON as it is written, which depends on the value.
    case own
  }

  var jsonForm: JSONForm {
    switch self {
    case .duration, .requestDuration, .requestTXDuration, .responseDuration, .responseTXDuration,
      .upstreamConnectionPoolReadyDuration, .commonDuration, .downstreamConnectionRoundTrip, .responseCode,
      .grpcStatusNumber, .bytesReceived, .bytesSent, .requestHeadersBytes, .responseHeadersBytes,
      .responseTrailersBytes, .downstreamWireBytesReceived, .downstreamWireBytesSent, .upstreamWireBytesReceived,
      .upstreamWireBytesSent, .downstreamHeaderBytesReceived, .downstreamHeaderBytesSent, .upstreamHeaderBytesReceived,
      .upstreamHeaderBytesSent, .zero, .upstreamLocalPort, .upstreamRemotePort, .upstreamConnectionID,
      .upstreamRequestAttemptCount, .downstreamLocalPort, .downstreamDirectLocalPort, .downstreamRemotePort,
      .downstreamDirectRemotePort, .connectionID:
      .number
    case .metadata, .coalesce: .own
    default: .string
    }
  }
}

/// Whose metadata `%METADATA(…)%` reads.
enum SubstitutionMetadataSource: UInt8, CaseIterable, Sendable {
  case dynamic, cluster, route, upstreamHost, listener, listenerFilterChain, virtualHost

  /// The name as a format has it.
  var name: String {
    switch self {
    case .dynamic: "DYNAMIC"
    case .cluster: "CLUSTER"
    case .route: "ROUTE"
    case .upstreamHost: "UPSTREAM_HOST"
    case .listener: "LISTENER"
    case .listenerFilterChain: "LISTENER_FILTER_CHAIN"
    case .virtualHost: "VIRTUAL_HOST"
    }
  }
}
