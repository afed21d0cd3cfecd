import MeshPrimitives

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
    case .connectionTotal: .counter("upstream_cx_total", "Connections begun.")
    case .connectionActive: .gauge("upstream_cx_active", "Connections open, or on the way.")
    case .connectionHTTP1Total: .counter("upstream_cx_http1_total", "Connections of HTTP/1 begun.")
    case .connectionHTTP2Total: .counter("upstream_cx_http2_total", "Connections of HTTP/2 begun.")
    case .connectionFail:
      .counter("upstream_cx_connect_fail", "Connections that did not come about, time-outs included.")
    case .connectionTimeout:
      .counter("upstream_cx_connect_timeout", "Connections that did not come about because of connect_timeout.")
    case .connectionIdleTimeout:
      .counter("upstream_cx_idle_timeout", "Connections closed because they were unused for idle_timeout.")
    case .connectionOverflow:
      .counter("upstream_cx_overflow", "Times that max_connections stood against a new connection.")
    case .connectionPoolOverflow:
      .counter("upstream_cx_pool_overflow", "Requests refused because of max_connection_pools.")
    case .originalDestinationInvalid:
      .counter(
        "original_dst_host_invalid", "Requests to an ORIGINAL_DST cluster whose header names no address with a port.")
    case .connectAttemptsExceeded:
      .counter(
        "upstream_cx_connect_attempts_exceeded", "Connections of a TCP proxy given up after max_connect_attempts.")
    case .connectionMaximumRequests:
      .counter("upstream_cx_max_requests", "Connections closed because of max_requests_per_connection.")
    case .connectionCloseNotify:
      .counter("upstream_cx_close_notify", "Connections closed because the upstream had said connection: close.")
    case .connectionMaximumDuration:
      .counter("upstream_cx_max_duration_reached", "Connections closed because of max_connection_duration.")
    case .connectionProtocolError:
      .counter("upstream_cx_protocol_error", "Connections closed because the response was no valid HTTP.")
    case .connectionDestroy: .counter("upstream_cx_destroy", "Connections closed.")
    case .connectionDestroyLocal: .counter("upstream_cx_destroy_local", "Connections closed by the proxy.")
    case .connectionDestroyRemote: .counter("upstream_cx_destroy_remote", "Connections closed by the upstream.")
    case .connectionDestroyWithActiveRequest:
      .counter("upstream_cx_destroy_with_active_rq", "Connections closed with a request in flight.")
    case .connectionDestroyLocalWithActiveRequest:
      .counter("upstream_cx_destroy_local_with_active_rq", "Connections closed by the proxy with a request in flight.")
    case .connectionDestroyRemoteWithActiveRequest:
      .counter(
        "upstream_cx_destroy_remote_with_active_rq", "Connections closed by the upstream with a request in flight.")
    case .connectionNoneHealthy: .counter("upstream_cx_none_healthy", "Requests for which there was no endpoint.")
    case .healthyPanic:
      .counter("lb_healthy_panic", "Requests to a priority with too few healthy endpoints (healthy_panic_threshold).")
    case .connectionReceivedBytes: .counter("upstream_cx_rx_bytes_total", "Bytes received.")
    case .connectionSentBytes: .counter("upstream_cx_tx_bytes_total", "Bytes sent.")
    case .requestTotal: .counter("upstream_rq_total", "Requests that got a connection; a retry counts again.")
    case .requestActive: .gauge("upstream_rq_active", "Requests in flight.")
    case .requestCompleted:
      .counter("upstream_rq_completed", "Responses, and failures that the proxy answered in their place.")
    case .requestCancelled: .counter("upstream_rq_cancelled", "Requests given up while they waited.")
    case .requestPendingTotal:
      .counter("upstream_rq_pending_total", "Requests that found no idle connection and waited for one.")
    case .requestPendingActive: .gauge("upstream_rq_pending_active", "Requests waiting now.")
    case .requestPendingOverflow:
      .counter("upstream_rq_pending_overflow", "Requests refused because of max_pending_requests.")
    case .requestPendingFailureEject:
      .counter(
        "upstream_rq_pending_failure_eject", "Requests that waited for, or were under way on, a connection that failed."
      )
    case .requestActiveOverflow: .counter("upstream_rq_active_overflow", "Requests refused because of max_requests.")
    case .requestTimeout: .counter("upstream_rq_timeout", "Requests ended by the route's timeout.")
    case .requestReceivedReset:
      .counter("upstream_rq_rx_reset", "Requests by HTTP/2 that the upstream reset, but for those that it refused.")
    case .requestSentReset:
      .counter("upstream_rq_tx_reset", "Requests by HTTP/2 that were given up, or whose response broke the protocol.")
    case .requestRetry: .counter("upstream_rq_retry", "Attempts after the first.")
    case .requestRetrySuccess:
      .counter("upstream_rq_retry_success", "Requests that had a retry and then got a response that asks for no other.")
    case .requestRetryOverflow:
      .counter("upstream_rq_retry_overflow", "Requests not sent again because of max_retries or the retry_budget.")
    case .requestRetryLimitExceeded:
      .counter("upstream_rq_retry_limit_exceeded", "Requests not sent again because there had been num_retries.")
    case .requestRetryNotCovered:
      .counter("upstream_rq_retry_not_covered", "Failures of requests with a policy whose retry_on does not name them.")
    case .requestRetryBackoffExponential:
      .counter("upstream_rq_retry_backoff_exponential", "Attempts after the first whose wait the policy said.")
    case .requestRetryBackoffRateLimited:
      .counter("upstream_rq_retry_backoff_ratelimited", "Attempts after the first whose wait the response before said.")
    case .requestPerTryTimeout: .counter("upstream_rq_per_try_timeout", "Attempts given up for per_try_timeout.")
    case .requestPerTryIdleTimeout:
      .counter("upstream_rq_per_try_idle_timeout", "Attempts given up for per_try_idle_timeout.")
    case .requestMaximumDurationReached:
      .counter("upstream_rq_max_duration_reached", "Requests that took longer than the cluster's max_stream_duration.")
    case .retryOrShadowAbandoned:
      .counter(
        "retry_or_shadow_abandoned",
        "Requests too large to be kept for a retry; copies that their mirror read too slowly.")
    case .flowControlPaused:
      .counter(
        "upstream_flow_control_paused_reading_total",
        "Times that the upstream was made to wait because the client is slower.")
    case .flowControlResumed:
      .counter(
        "upstream_flow_control_resumed_reading_total", "Times that an upstream that was made to wait was let go on.")
    case .flowControlBackedUp:
      .counter(
        "upstream_flow_control_backed_up_total",
        "Times that a request was over the buffer limit because the upstream does not read.")
    case .flowControlDrained:
      .counter("upstream_flow_control_drained_total", "Times that a request was below the buffer limit again.")
    case .membershipTotal: .gauge("membership_total", "Endpoints.")
    case .membershipHealthy: .gauge("membership_healthy", "Endpoints that are healthy.")
    case .membershipDegraded: .gauge("membership_degraded", "Endpoints that are degraded.")
    case .membershipExcluded: .gauge("membership_excluded", "Endpoints that drain.")
    case .membershipChange: .counter("membership_change", "Times that endpoints came or went.")
    case .updateAttempt: .counter("update_attempt", "Lookups of names begun.")
    case .updateSuccess: .counter("update_success", "Lookups of names that were answered.")
    case .updateFailure: .counter("update_failure", "Lookups of names that failed.")
    case .updateNoRebuild: .counter("update_no_rebuild", "Answers that changed nothing.")
    case .breakerConnectionsOpen: .gauge("circuit_breakers.default.cx_open", "1 while max_connections is reached.")
    case .breakerPoolsOpen: .gauge("circuit_breakers.default.cx_pool_open", "1 while max_connection_pools is reached.")
    case .breakerRequestsOpen: .gauge("circuit_breakers.default.rq_open", "1 while max_requests is reached.")
    case .breakerPendingOpen:
      .gauge("circuit_breakers.default.rq_pending_open", "1 while max_pending_requests is reached.")
    case .breakerRetriesOpen: .gauge("circuit_breakers.default.rq_retry_open", "1 while max_retries is reached.")
    case .highBreakerConnectionsOpen:
      .gauge("circuit_breakers.high.cx_open", "1 while max_connections of the priority HIGH is reached.")
    case .highBreakerPoolsOpen:
      .gauge("circuit_breakers.high.cx_pool_open", "1 while max_connection_pools of the priority HIGH is reached.")
    case .highBreakerRequestsOpen:
      .gauge("circuit_breakers.high.rq_open", "1 while max_requests of the priority HIGH is reached.")
    case .highBreakerPendingOpen:
      .gauge("circuit_breakers.high.rq_pending_open", "1 while max_pending_requests of the priority HIGH is reached.")
    case .highBreakerRetriesOpen:
      .gauge("circuit_breakers.high.rq_retry_open", "1 while max_retries of the priority HIGH is reached.")
    }
  }
}

/// One endpoint's statistics, as `/clusters` prints them.
public enum EndpointStat: Int, StatSet {
  case connectionActive, connectionConnectFail, connectionTotal
  case requestActive, requestPendingActive, requestError, requestSuccess, requestTimeout, requestTotal

  public var definition: StatDefinition {
    switch self {
    case .requestPendingActive: .gauge("rq_pending_active", "Requests waiting for a connection.")
    case .connectionActive: .gauge("cx_active", "Connections open.")
    case .connectionConnectFail: .counter("cx_connect_fail", "Connections that failed.")
    case .connectionTotal: .counter("cx_total", "Connections begun.")
    case .requestActive: .gauge("rq_active", "Requests in flight.")
    case .requestError: .counter("rq_error", "Responses of 500 and above, lost and failed requests.")
    case .requestSuccess: .counter("rq_success", "Responses below 500.")
    case .requestTimeout: .counter("rq_timeout", "Requests ended by the route's timeout.")
    case .requestTotal: .counter("rq_total", "Requests sent or queued.")
    }
  }
}
