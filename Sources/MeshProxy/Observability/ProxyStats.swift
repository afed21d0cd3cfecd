import MeshHTTP
import MeshPrimitives

// Every statistic the proxy keeps, once, under Envoy's name. The scope (`http.<stat_prefix>`, `cluster.<name>`,
// `listener.<address>`) is added where the block is made.

/// `listener.<address>.…`
public enum ListenerStat: Int, StatSet {
  case connectionTotal, connectionActive, connectionDestroy, connectionOverflow, globalOverflow, acceptFailure
  case noFilterChainMatch, beforeConnectionActive, beforeConnectionTimeout, listenerFilterError
  case listenerFilterRemoteClose
  case transportTimeout, overloadReject

  public var definition: StatDefinition {
    switch self {
    case .connectionTotal: .init(name: "downstream_cx_total", kind: .counter)
    case .connectionActive: .init(name: "downstream_cx_active", kind: .gauge)
    case .connectionDestroy: .init(name: "downstream_cx_destroy", kind: .counter)
    case .connectionOverflow: .init(name: "downstream_cx_overflow", kind: .counter)
    case .globalOverflow: .init(name: "downstream_global_cx_overflow", kind: .counter)
    case .acceptFailure: .init(name: "downstream_cx_accept_failure", kind: .counter)
    case .noFilterChainMatch: .counter("no_filter_chain_match")
    case .beforeConnectionActive: .gauge("downstream_pre_cx_active")
    case .beforeConnectionTimeout: .counter("downstream_pre_cx_timeout")
    case .listenerFilterError: .counter("downstream_listener_filter_error")
    case .listenerFilterRemoteClose: .counter("downstream_listener_filter_remote_close")
    case .transportTimeout: .init(name: "downstream_cx_transport_socket_connect_timeout", kind: .counter)
    case .overloadReject: .counter("downstream_cx_overload_reject")
    }
  }
}

/// `tls_inspector.…`: for all listeners.
public enum TLSInspectorStat: Int, StatSet {
  case tlsFound, tlsNotFound, nameFound, nameNotFound, protocolsFound, protocolsNotFound, tooLarge

  public var definition: StatDefinition {
    switch self {
    case .tlsFound: .counter("tls_found")
    case .tlsNotFound: .counter("tls_not_found")
    case .nameFound: .counter("sni_found")
    case .nameNotFound: .counter("sni_not_found")
    case .protocolsFound: .counter("alpn_found")
    case .protocolsNotFound: .counter("alpn_not_found")
    case .tooLarge: .counter("client_hello_too_large")
    }
  }
}

/// `http_inspector.…`: for all listeners.
public enum HTTPInspectorStat: Int, StatSet {
  case http10Found, http11Found, http2Found, notFound

  public var definition: StatDefinition {
    switch self {
    case .http10Found: .counter("http10_found")
    case .http11Found: .counter("http11_found")
    case .http2Found: .counter("http2_found")
    case .notFound: .counter("http_not_found")
    }
  }
}

/// `proxy_proto.…`, or `proxy_proto.<stat_prefix>.…`
public enum ProxyProtocolStat: Int, StatSet {
  case notFoundAllowed, notFoundDisallowed
  case v1Found, v1Disallowed, v1Error, v2Found, v2Disallowed, v2Error

  public var definition: StatDefinition {
    switch self {
    case .notFoundAllowed: .counter("not_found_allowed")
    case .notFoundDisallowed: .counter("not_found_disallowed")
    case .v1Found: .counter("versions.v1.found")
    case .v1Disallowed: .counter("versions.v1.disallowed")
    case .v1Error: .counter("versions.v1.error")
    case .v2Found: .counter("versions.v2.found")
    case .v2Disallowed: .counter("versions.v2.disallowed")
    case .v2Error: .counter("versions.v2.error")
    }
  }
}

/// `http1.…`: what the codec does by the configuration's leave, for all connection managers.
public enum HTTP1Stat: Int, StatSet {
  case droppedUnderscores, rejectedUnderscores

  public var definition: StatDefinition {
    switch self {
    case .droppedUnderscores: .init(name: "dropped_headers_with_underscores", kind: .counter)
    case .rejectedUnderscores: .init(name: "requests_rejected_with_underscores_in_headers", kind: .counter)
    }
  }
}

/// `http2.…` for all connection managers, `cluster.<name>.http2.…`: what happens below streams.
public enum HTTP2Stat: Int, StatSet {
  case receivedReset, sentReset, sentGoAway, headerOverflow, trailers, receivedMessagingError
  case rejectedUnderscores, droppedUnderscores
  case outboundFlood, outboundControlFlood, emptyFramesFlood, priorityFlood, windowUpdateFlood, continuationFlood
  case keepAliveTimeout, tooManyGlitches
  case streamsActive, pendingBytes

  init(_ event: HTTP2Event) {
    switch event {
    case .receivedReset: self = .receivedReset
    case .sentReset: self = .sentReset
    case .sentGoAway: self = .sentGoAway
    case .headerOverflow: self = .headerOverflow
    case .trailers: self = .trailers
    case .receivedMessagingError: self = .receivedMessagingError
    case .refusedUnderscore: self = .rejectedUnderscores
    case .droppedUnderscore: self = .droppedUnderscores
    case .outboundFlood: self = .outboundFlood
    case .outboundControlFlood: self = .outboundControlFlood
    case .emptyFramesFlood: self = .emptyFramesFlood
    case .priorityFlood: self = .priorityFlood
    case .windowUpdateFlood: self = .windowUpdateFlood
    case .continuationFlood: self = .continuationFlood
    case .keepAliveTimeout: self = .keepAliveTimeout
    case .tooManyGlitches: self = .tooManyGlitches
    case .pendingBytes: self = .pendingBytes
    }
  }

  public var definition: StatDefinition {
    switch self {
    case .receivedReset: .counter("rx_reset")
    case .sentReset: .counter("tx_reset")
    case .sentGoAway: .counter("goaway_sent")
    case .headerOverflow: .counter("header_overflow")
    case .trailers: .counter("trailers")
    case .receivedMessagingError: .counter("rx_messaging_error")
    case .rejectedUnderscores: .counter("requests_rejected_with_underscores_in_headers")
    case .droppedUnderscores: .counter("dropped_headers_with_underscores")
    case .outboundFlood: .counter("outbound_flood")
    case .outboundControlFlood: .counter("outbound_control_flood")
    case .emptyFramesFlood: .counter("inbound_empty_frames_flood")
    case .priorityFlood: .counter("inbound_priority_frames_flood")
    case .windowUpdateFlood: .counter("inbound_window_update_frames_flood")
    case .continuationFlood: .counter("inbound_continuation_frames_flood")
    case .keepAliveTimeout: .counter("keepalive_timeout")
    case .tooManyGlitches: .counter("too_many_glitches")
    case .streamsActive: .init(name: "streams_active", kind: .gauge)
    case .pendingBytes: .init(name: "pending_send_bytes", kind: .gauge)
    }
  }
}

/// `http.<stat_prefix>.…`
public enum ConnectionManagerStat: Int, StatSet {
  case connectionTotal, connectionActive, connectionTLSTotal, connectionTLSActive
  case connectionHTTP1Total, connectionHTTP1Active
  case connectionHTTP2Total, connectionHTTP2Active, requestHTTP2Total, requestTooManyResets
  case connectionDestroy, connectionDestroyLocal, connectionDestroyRemote
  case connectionDestroyActiveRequest, connectionDestroyLocalActiveRequest, connectionDestroyRemoteActiveRequest
  case connectionProtocolError, connectionIdleTimeout
  case connectionReceivedBytes, connectionSentBytes, connectionDrainClose
  case connectionMaximumDuration, connectionMaximumRequests
  case requestTotal, requestHTTP1Total, requestActive, requestCompleted
  case requestReceivedReset, requestSentReset
  case requestTimeout, requestIdleTimeout, requestHeaderTimeout, requestBodyTooSlow
  case requestMaximumDurationReached, requestTooLarge, responseTooLarge, responseBeforeRequestComplete
  case requestNonRelativePath, requestFailedPathNormalization, requestRedirectedPath, requestRejectedByAddress
  case requestUpgradeRefused, upgradeTotal, upgradeActive, flowControlPaused, flowControlResumed
  case requestOverloadClose, connectionOverloadDisableKeepAlive, requestOverloadReply
  case routerTotal, routerNoRoute, routerNoCluster, routerDirectResponse, routerResetAfterResponseStarted

  public var definition: StatDefinition {
    switch self {
    case .connectionTotal: .init(name: "downstream_cx_total", kind: .counter)
    case .connectionActive: .init(name: "downstream_cx_active", kind: .gauge)
    case .connectionHTTP1Total: .init(name: "downstream_cx_http1_total", kind: .counter)
    case .connectionHTTP1Active: .init(name: "downstream_cx_http1_active", kind: .gauge)
    case .connectionTLSTotal: .init(name: "downstream_cx_ssl_total", kind: .counter)
    case .connectionTLSActive: .init(name: "downstream_cx_ssl_active", kind: .gauge)
    case .connectionHTTP2Total: .init(name: "downstream_cx_http2_total", kind: .counter)
    case .connectionHTTP2Active: .init(name: "downstream_cx_http2_active", kind: .gauge)
    case .requestHTTP2Total: .init(name: "downstream_rq_http2_total", kind: .counter)
    case .requestTooManyResets: .init(name: "downstream_rq_too_many_premature_resets", kind: .counter)
    case .connectionDestroy: .init(name: "downstream_cx_destroy", kind: .counter)
    case .connectionDestroyLocal: .init(name: "downstream_cx_destroy_local", kind: .counter)
    case .connectionDestroyRemote: .init(name: "downstream_cx_destroy_remote", kind: .counter)
    case .connectionDestroyActiveRequest: .init(name: "downstream_cx_destroy_active_rq", kind: .counter)
    case .connectionDestroyLocalActiveRequest: .counter("downstream_cx_destroy_local_active_rq")
    case .connectionDestroyRemoteActiveRequest: .counter("downstream_cx_destroy_remote_active_rq")
    case .connectionProtocolError: .init(name: "downstream_cx_protocol_error", kind: .counter)
    case .connectionIdleTimeout: .init(name: "downstream_cx_idle_timeout", kind: .counter)
    case .connectionReceivedBytes: .init(name: "downstream_cx_rx_bytes_total", kind: .counter)
    case .connectionSentBytes: .init(name: "downstream_cx_tx_bytes_total", kind: .counter)
    case .connectionDrainClose: .init(name: "downstream_cx_drain_close", kind: .counter)
    case .requestTotal: .init(name: "downstream_rq_total", kind: .counter)
    case .requestHTTP1Total: .init(name: "downstream_rq_http1_total", kind: .counter)
    case .requestActive: .init(name: "downstream_rq_active", kind: .gauge)
    case .requestCompleted: .init(name: "downstream_rq_completed", kind: .counter)
    case .requestReceivedReset: .init(name: "downstream_rq_rx_reset", kind: .counter)
    case .requestSentReset: .init(name: "downstream_rq_tx_reset", kind: .counter)
    case .requestTimeout: .init(name: "downstream_rq_timeout", kind: .counter)
    case .requestIdleTimeout: .init(name: "downstream_rq_idle_timeout", kind: .counter)
    case .requestBodyTooSlow: .init(name: "downstream_rq_body_too_slow", kind: .counter)
    case .connectionMaximumDuration: .init(name: "downstream_cx_max_duration_reached", kind: .counter)
    case .connectionMaximumRequests: .init(name: "downstream_cx_max_requests_reached", kind: .counter)
    case .requestHeaderTimeout: .init(name: "downstream_rq_header_timeout", kind: .counter)
    case .requestRejectedByAddress: .init(name: "downstream_rq_rejected_via_ip_detection", kind: .counter)
    case .requestNonRelativePath: .init(name: "downstream_rq_non_relative_path", kind: .counter)
    case .requestFailedPathNormalization: .init(name: "downstream_rq_failed_path_normalization", kind: .counter)
    case .requestRedirectedPath: .init(name: "downstream_rq_redirected_with_normalized_path", kind: .counter)
    case .requestMaximumDurationReached: .init(name: "downstream_rq_max_duration_reached", kind: .counter)
    case .requestTooLarge: .init(name: "downstream_rq_too_large", kind: .counter)
    case .responseTooLarge: .init(name: "rs_too_large", kind: .counter)
    case .responseBeforeRequestComplete: .init(name: "downstream_rq_response_before_rq_complete", kind: .counter)
    case .requestUpgradeRefused: .init(name: "downstream_rq_ws_on_non_ws_route", kind: .counter)
    case .upgradeTotal: .counter("downstream_cx_upgrades_total")
    case .upgradeActive: .gauge("downstream_cx_upgrades_active")
    case .flowControlPaused: .init(name: "downstream_flow_control_paused_reading_total", kind: .counter)
    case .flowControlResumed: .init(name: "downstream_flow_control_resumed_reading_total", kind: .counter)
    case .requestOverloadClose: .counter("downstream_rq_overload_close")
    case .connectionOverloadDisableKeepAlive: .counter("downstream_cx_overload_disable_keepalive")
    case .requestOverloadReply: .counter("rq_overload_local_reply")
    case .routerTotal: .init(name: "rq_total", kind: .counter)
    case .routerNoRoute: .init(name: "no_route", kind: .counter)
    case .routerNoCluster: .init(name: "no_cluster", kind: .counter)
    case .routerDirectResponse: .init(name: "rq_direct_response", kind: .counter)
    case .routerResetAfterResponseStarted:
      .init(name: "rq_reset_after_downstream_response_started", kind: .counter)
    }
  }
}

/// `cluster.<name>.…`
public enum ClusterStat: Int, StatSet {
  case connectionTotal, connectionActive, connectionHTTP1Total, connectionHTTP2Total, connectionFail, connectionTimeout
  case connectionIdleTimeout, connectionOverflow, connectionPoolOverflow, connectAttemptsExceeded
  case originalDestinationInvalid
  case connectionMaximumRequests, connectionMaximumDuration, connectionCloseNotify, connectionProtocolError
  case connectionDestroy, connectionDestroyLocal, connectionDestroyRemote
  case connectionDestroyWithActiveRequest, connectionDestroyLocalWithActiveRequest
  case connectionDestroyRemoteWithActiveRequest
  case connectionNoneHealthy, healthyPanic, connectionReceivedBytes, connectionSentBytes
  case requestTotal, requestActive, requestCompleted, requestCancelled
  case requestPendingTotal, requestPendingActive, requestPendingOverflow, requestPendingFailureEject
  case requestActiveOverflow, requestTimeout, requestReceivedReset, requestSentReset
  case requestRetry, requestRetrySuccess, requestRetryOverflow, retryOrShadowAbandoned
  case requestRetryLimitExceeded, requestRetryNotCovered
  case requestRetryBackoffExponential, requestRetryBackoffRateLimited
  case requestPerTryTimeout, requestPerTryIdleTimeout
  case requestMaximumDurationReached
  case flowControlPaused, flowControlResumed, flowControlBackedUp, flowControlDrained
  case membershipTotal, membershipHealthy, membershipDegraded, membershipExcluded, membershipChange
  case updateAttempt, updateSuccess, updateFailure, updateNoRebuild
  // Read off the circuit breakers when statistics are asked for.
  case breakerConnectionsOpen, breakerPoolsOpen, breakerRequestsOpen, breakerPendingOpen, breakerRetriesOpen
  case highBreakerConnectionsOpen, highBreakerPoolsOpen, highBreakerRequestsOpen, highBreakerPendingOpen
  case highBreakerRetriesOpen

  public var definition: StatDefinition {
    switch self {
    case .connectionTotal: .init(name: "upstream_cx_total", kind: .counter)
    case .connectionActive: .init(name: "upstream_cx_active", kind: .gauge)
    case .connectionHTTP1Total: .init(name: "upstream_cx_http1_total", kind: .counter)
    case .connectionHTTP2Total: .init(name: "upstream_cx_http2_total", kind: .counter)
    case .connectionFail: .init(name: "upstream_cx_connect_fail", kind: .counter)
    case .connectionTimeout: .init(name: "upstream_cx_connect_timeout", kind: .counter)
    case .connectionIdleTimeout: .init(name: "upstream_cx_idle_timeout", kind: .counter)
    case .connectionOverflow: .init(name: "upstream_cx_overflow", kind: .counter)
    case .connectionPoolOverflow: .init(name: "upstream_cx_pool_overflow", kind: .counter)
    case .originalDestinationInvalid: .counter("original_dst_host_invalid")
    case .connectAttemptsExceeded: .init(name: "upstream_cx_connect_attempts_exceeded", kind: .counter)
    case .connectionMaximumRequests: .init(name: "upstream_cx_max_requests", kind: .counter)
    case .connectionCloseNotify: .init(name: "upstream_cx_close_notify", kind: .counter)
    case .connectionMaximumDuration: .init(name: "upstream_cx_max_duration_reached", kind: .counter)
    case .connectionProtocolError: .init(name: "upstream_cx_protocol_error", kind: .counter)
    case .connectionDestroy: .init(name: "upstream_cx_destroy", kind: .counter)
    case .connectionDestroyLocal: .init(name: "upstream_cx_destroy_local", kind: .counter)
    case .connectionDestroyRemote: .init(name: "upstream_cx_destroy_remote", kind: .counter)
    case .connectionDestroyWithActiveRequest: .init(name: "upstream_cx_destroy_with_active_rq", kind: .counter)
    case .connectionDestroyLocalWithActiveRequest:
      .init(name: "upstream_cx_destroy_local_with_active_rq", kind: .counter)
    case .connectionDestroyRemoteWithActiveRequest:
      .init(name: "upstream_cx_destroy_remote_with_active_rq", kind: .counter)
    case .connectionNoneHealthy: .init(name: "upstream_cx_none_healthy", kind: .counter)
    case .healthyPanic: .counter("lb_healthy_panic")
    case .connectionReceivedBytes: .init(name: "upstream_cx_rx_bytes_total", kind: .counter)
    case .connectionSentBytes: .init(name: "upstream_cx_tx_bytes_total", kind: .counter)
    case .requestTotal: .init(name: "upstream_rq_total", kind: .counter)
    case .requestActive: .init(name: "upstream_rq_active", kind: .gauge)
    case .requestCompleted: .init(name: "upstream_rq_completed", kind: .counter)
    case .requestCancelled: .init(name: "upstream_rq_cancelled", kind: .counter)
    case .requestPendingTotal: .init(name: "upstream_rq_pending_total", kind: .counter)
    case .requestPendingActive: .init(name: "upstream_rq_pending_active", kind: .gauge)
    case .requestPendingOverflow: .init(name: "upstream_rq_pending_overflow", kind: .counter)
    case .requestPendingFailureEject: .init(name: "upstream_rq_pending_failure_eject", kind: .counter)
    case .requestActiveOverflow: .init(name: "upstream_rq_active_overflow", kind: .counter)
    case .requestTimeout: .init(name: "upstream_rq_timeout", kind: .counter)
    case .requestReceivedReset: .init(name: "upstream_rq_rx_reset", kind: .counter)
    case .requestSentReset: .init(name: "upstream_rq_tx_reset", kind: .counter)
    case .requestRetry: .init(name: "upstream_rq_retry", kind: .counter)
    case .requestRetrySuccess: .init(name: "upstream_rq_retry_success", kind: .counter)
    case .requestRetryOverflow: .init(name: "upstream_rq_retry_overflow", kind: .counter)
    case .requestRetryLimitExceeded: .init(name: "upstream_rq_retry_limit_exceeded", kind: .counter)
    case .requestRetryNotCovered: .init(name: "upstream_rq_retry_not_covered", kind: .counter)
    case .requestRetryBackoffExponential: .init(name: "upstream_rq_retry_backoff_exponential", kind: .counter)
    case .requestRetryBackoffRateLimited: .init(name: "upstream_rq_retry_backoff_ratelimited", kind: .counter)
    case .requestPerTryTimeout: .init(name: "upstream_rq_per_try_timeout", kind: .counter)
    case .requestPerTryIdleTimeout: .init(name: "upstream_rq_per_try_idle_timeout", kind: .counter)
    case .requestMaximumDurationReached: .init(name: "upstream_rq_max_duration_reached", kind: .counter)
    case .retryOrShadowAbandoned: .init(name: "retry_or_shadow_abandoned", kind: .counter)
    case .flowControlPaused: .init(name: "upstream_flow_control_paused_reading_total", kind: .counter)
    case .flowControlResumed: .init(name: "upstream_flow_control_resumed_reading_total", kind: .counter)
    case .flowControlBackedUp: .init(name: "upstream_flow_control_backed_up_total", kind: .counter)
    case .flowControlDrained: .init(name: "upstream_flow_control_drained_total", kind: .counter)
    case .membershipTotal: .init(name: "membership_total", kind: .gauge)
    case .membershipHealthy: .init(name: "membership_healthy", kind: .gauge)
    case .membershipDegraded: .init(name: "membership_degraded", kind: .gauge)
    case .membershipExcluded: .init(name: "membership_excluded", kind: .gauge)
    case .membershipChange: .init(name: "membership_change", kind: .counter)
    case .updateAttempt: .init(name: "update_attempt", kind: .counter)
    case .updateSuccess: .init(name: "update_success", kind: .counter)
    case .updateFailure: .init(name: "update_failure", kind: .counter)
    case .updateNoRebuild: .init(name: "update_no_rebuild", kind: .counter)
    case .breakerConnectionsOpen: .init(name: "circuit_breakers.default.cx_open", kind: .gauge)
    case .breakerPoolsOpen: .init(name: "circuit_breakers.default.cx_pool_open", kind: .gauge)
    case .breakerRequestsOpen: .init(name: "circuit_breakers.default.rq_open", kind: .gauge)
    case .breakerPendingOpen: .init(name: "circuit_breakers.default.rq_pending_open", kind: .gauge)
    case .breakerRetriesOpen: .init(name: "circuit_breakers.default.rq_retry_open", kind: .gauge)
    case .highBreakerConnectionsOpen: .init(name: "circuit_breakers.high.cx_open", kind: .gauge)
    case .highBreakerPoolsOpen: .init(name: "circuit_breakers.high.cx_pool_open", kind: .gauge)
    case .highBreakerRequestsOpen: .init(name: "circuit_breakers.high.rq_open", kind: .gauge)
    case .highBreakerPendingOpen: .init(name: "circuit_breakers.high.rq_pending_open", kind: .gauge)
    case .highBreakerRetriesOpen: .init(name: "circuit_breakers.high.rq_retry_open", kind: .gauge)
    }
  }
}

/// `tcp.<stat_prefix>.…`
public enum TCPProxyStat: Int, StatSet {
  case connectionTotal, noRoute, overloadClose, receivedBytes, sentBytes, paused, resumed, idleTimeout, maximumDuration

  public var definition: StatDefinition {
    switch self {
    case .connectionTotal: .counter("downstream_cx_total")
    case .noRoute: .counter("downstream_cx_no_route")
    case .overloadClose: .counter("downstream_cx_overload_close")
    case .receivedBytes: .counter("downstream_cx_rx_bytes_total")
    case .sentBytes: .counter("downstream_cx_tx_bytes_total")
    case .paused: .counter("downstream_flow_control_paused_reading_total")
    case .resumed: .counter("downstream_flow_control_resumed_reading_total")
    case .idleTimeout: .counter("idle_timeout")
    case .maximumDuration: .counter("max_downstream_connection_duration")
    }
  }
}

/// One endpoint's statistics, as `/clusters` prints them.
public enum EndpointStat: Int, StatSet {
  case connectionActive, connectionConnectFail, connectionTotal
  case requestActive, requestPendingActive, requestError, requestSuccess, requestTimeout, requestTotal

  public var definition: StatDefinition {
    switch self {
    case .requestPendingActive: .init(name: "rq_pending_active", kind: .gauge)
    case .connectionActive: .init(name: "cx_active", kind: .gauge)
    case .connectionConnectFail: .init(name: "cx_connect_fail", kind: .counter)
    case .connectionTotal: .init(name: "cx_total", kind: .counter)
    case .requestActive: .init(name: "rq_active", kind: .gauge)
    case .requestError: .init(name: "rq_error", kind: .counter)
    case .requestSuccess: .init(name: "rq_success", kind: .counter)
    case .requestTimeout: .init(name: "rq_timeout", kind: .counter)
    case .requestTotal: .init(name: "rq_total", kind: .counter)
    }
  }
}

/// `<stat_prefix>.http_local_rate_limit.…`
public enum LocalRateLimitStat: Int, StatSet {
  case enabled, enforced, ok, rateLimited

  public var definition: StatDefinition {
    switch self {
    case .enabled: .counter("enabled")
    case .enforced: .counter("enforced")
    case .ok: .counter("ok")
    case .rateLimited: .counter("rate_limited")
    }
  }
}

/// `local_rate_limit.<stat_prefix>.…`, `listener_local_ratelimit.<stat_prefix>.…`
public enum ConnectionRateLimitStat: Int, StatSet {
  case rateLimited

  public var definition: StatDefinition { .counter("rate_limited") }
}

/// `connection_limit.<stat_prefix>.…`
public enum ConnectionLimitStat: Int, StatSet {
  case active, limited

  public var definition: StatDefinition {
    switch self {
    case .active: .gauge("active_connections")
    case .limited: .counter("limited_connections")
    }
  }
}

/// `cluster.<name>.ratelimit.…`
public enum RateLimitStat: Int, StatSet {
  case ok, overLimit, error, failureModeAllowed

  public var definition: StatDefinition {
    switch self {
    case .ok: .counter("ok")
    case .overLimit: .counter("over_limit")
    case .error: .counter("error")
    case .failureModeAllowed: .counter("failure_mode_allowed")
    }
  }
}

/// `http.<stat_prefix>.cors.…`
public enum CorsStat: Int, StatSet {
  case originValid, originInvalid

  public var definition: StatDefinition {
    switch self {
    case .originValid: .counter("origin_valid")
    case .originInvalid: .counter("origin_invalid")
    }
  }
}

/// `cluster.<name>.grpc.…`
public enum GRPCStat: Int, StatSet {
  case total, success, failure, requestMessages, responseMessages

  public var definition: StatDefinition {
    switch self {
    case .total: .counter("total")
    case .success: .counter("success")
    case .failure: .counter("failure")
    case .requestMessages: .counter("request_message_count")
    case .responseMessages: .counter("response_message_count")
    }
  }
}

/// `http.<stat_prefix>.fault.…`
public enum FaultStat: Int, StatSet {
  case delaysInjected, abortsInjected, responsesSlowed, overflow, active

  public var definition: StatDefinition {
    switch self {
    case .delaysInjected: .init(name: "delays_injected", kind: .counter)
    case .abortsInjected: .init(name: "aborts_injected", kind: .counter)
    case .responsesSlowed: .counter("response_rl_injected")
    case .overflow: .init(name: "faults_overflow", kind: .counter)
    case .active: .init(name: "active_faults", kind: .gauge)
    }
  }
}

/// `server.…`: the main thread's, but for `stale_events`, to which every loop adds its own.
public enum ServerStat: Int, StatSet {
  case live, state, uptime, concurrency, memoryAllocated, memoryHeapSize, memoryPhysicalSize
  case totalConnections, parentConnections, hotRestartEpoch, version, daysUntilFirstCertificateExpires
  case reloadSuccess, reloadFailure, staleEvents

  public var definition: StatDefinition {
    switch self {
    case .live: .init(name: "live", kind: .gauge)
    case .state: .init(name: "state", kind: .gauge)
    case .uptime: .init(name: "uptime", kind: .gauge)
    case .concurrency: .init(name: "concurrency", kind: .gauge)
    case .memoryAllocated: .gauge("memory_allocated")
    case .memoryHeapSize: .gauge("memory_heap_size")
    case .memoryPhysicalSize: .gauge("memory_physical_size")
    case .parentConnections: .gauge("parent_connections")
    case .hotRestartEpoch: .gauge("hot_restart_epoch")
    case .version: .gauge("version")
    case .daysUntilFirstCertificateExpires: .gauge("days_until_first_cert_expiring")
    case .totalConnections: .init(name: "total_connections", kind: .gauge)
    case .reloadSuccess: .init(name: "config_reload_success", kind: .counter)
    case .reloadFailure: .init(name: "config_reload_failure", kind: .counter)
    case .staleEvents: .init(name: "stale_events", kind: .counter)
    }
  }
}

/// `runtime.…`: the main thread's.
public enum RuntimeStat: Int, StatSet {
  case loadSuccess, loadError, overrideDirectoryExists, overrideDirectoryMissing
  case keys, layers, adminOverridesActive

  public var definition: StatDefinition {
    switch self {
    case .loadSuccess: .counter("load_success")
    case .loadError: .counter("load_error")
    case .overrideDirectoryExists: .counter("override_dir_exists")
    case .overrideDirectoryMissing: .counter("override_dir_not_exists")
    case .keys: .gauge("num_keys")
    case .layers: .gauge("num_layers")
    case .adminOverridesActive: .gauge("admin_overrides_active")
    }
  }
}

/// `vhost.<name>.vcluster.<name>.…` and `vhost.<name>.route.<stat_prefix>.…`
public enum RequestScopeStat: Int, StatSet {
  case requestTotal, requestTimeout
  case requestRetry, requestRetrySuccess, requestRetryOverflow, requestRetryLimitExceeded

  public var definition: StatDefinition {
    switch self {
    case .requestTotal: .counter("upstream_rq_total")
    case .requestTimeout: .counter("upstream_rq_timeout")
    case .requestRetry: .counter("upstream_rq_retry")
    case .requestRetrySuccess: .counter("upstream_rq_retry_success")
    case .requestRetryOverflow: .counter("upstream_rq_retry_overflow")
    case .requestRetryLimitExceeded: .counter("upstream_rq_retry_limit_exceeded")
    }
  }
}

/// `listener_manager.…`: the main thread's.
public enum ListenerUpdateStat: Int, StatSet {
  case added, modified, removed, createSuccess, createFailure
  case active, draining, warming, workersStarted

  public var definition: StatDefinition {
    switch self {
    case .added: .counter("listener_added")
    case .modified: .counter("listener_modified")
    case .removed: .counter("listener_removed")
    case .createSuccess: .counter("listener_create_success")
    case .createFailure: .counter("listener_create_failure")
    case .active: .gauge("total_listeners_active")
    case .draining: .gauge("total_listeners_draining")
    case .warming: .gauge("total_listeners_warming")
    case .workersStarted: .gauge("workers_started")
    }
  }
}

/// `cluster_manager.…`: the main thread's.
public enum ClusterUpdateStat: Int, StatSet {
  case added, modified, removed, active, warming

  public var definition: StatDefinition {
    switch self {
    case .added: .counter("cluster_added")
    case .modified: .counter("cluster_modified")
    case .removed: .counter("cluster_removed")
    case .active: .gauge("active_clusters")
    case .warming: .gauge("warming_clusters")
    }
  }
}
