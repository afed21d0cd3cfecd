import MeshPrimitives

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
    case .connectionTotal: .counter("downstream_cx_total", "Connections.")
    case .connectionActive: .gauge("downstream_cx_active", "Connections open.")
    case .connectionHTTP1Total: .counter("downstream_cx_http1_total", "Connections of HTTP/1.")
    case .connectionHTTP1Active: .gauge("downstream_cx_http1_active", "Connections of HTTP/1 open.")
    case .connectionTLSTotal: .counter("downstream_cx_ssl_total", "Connections with TLS.")
    case .connectionTLSActive: .gauge("downstream_cx_ssl_active", "Connections with TLS open.")
    case .connectionHTTP2Total: .counter("downstream_cx_http2_total", "Connections of HTTP/2.")
    case .connectionHTTP2Active: .gauge("downstream_cx_http2_active", "Connections of HTTP/2 open.")
    case .requestHTTP2Total: .counter("downstream_rq_http2_total", "Requests by HTTP/2.")
    case .requestTooManyResets:
      .counter(
        "downstream_rq_too_many_premature_resets",
        "Connections of HTTP/2 closed because too many requests were given up at once.")
    case .connectionDestroy: .counter("downstream_cx_destroy", "Connections closed.")
    case .connectionDestroyLocal: .counter("downstream_cx_destroy_local", "Connections closed by the proxy.")
    case .connectionDestroyRemote: .counter("downstream_cx_destroy_remote", "Connections closed by the client.")
    case .connectionDestroyActiveRequest:
      .counter("downstream_cx_destroy_active_rq", "Connections that closed with a request in flight.")
    case .connectionDestroyLocalActiveRequest:
      .counter("downstream_cx_destroy_local_active_rq", "Connections that the proxy closed with a request in flight.")
    case .connectionDestroyRemoteActiveRequest:
      .counter("downstream_cx_destroy_remote_active_rq", "Connections that the client closed with a request in flight.")
    case .connectionProtocolError:
      .counter("downstream_cx_protocol_error", "Heads and bodies that were refused because they are no valid HTTP.")
    case .connectionIdleTimeout: .counter("downstream_cx_idle_timeout", "Connections closed by idle_timeout.")
    case .connectionReceivedBytes:
      .counter("downstream_cx_rx_bytes_total", "Bytes received, heads and framing included.")
    case .connectionSentBytes: .counter("downstream_cx_tx_bytes_total", "Bytes sent, heads and framing included.")
    case .connectionDrainClose:
      .counter("downstream_cx_drain_close", "Responses that said connection: close because of draining or overload.")
    case .requestTotal: .counter("downstream_rq_total", "Requests, refused ones included.")
    case .requestHTTP1Total: .counter("downstream_rq_http1_total", "Requests by HTTP/1.")
    case .requestActive: .gauge("downstream_rq_active", "Requests in flight.")
    case .requestCompleted:
      .counter("downstream_rq_completed", "Requests that got a response, or the beginning of one.")
    case .requestReceivedReset: .counter("downstream_rq_rx_reset", "Requests whose client left or broke the protocol.")
    case .requestSentReset: .counter("downstream_rq_tx_reset", "Responses that had begun and were broken off.")
    case .requestTimeout: .counter("downstream_rq_timeout", "Requests ended by request_timeout.")
    case .requestIdleTimeout:
      .counter("downstream_rq_idle_timeout", "Requests ended by stream_idle_timeout or the route's idle_timeout.")
    case .requestBodyTooSlow:
      .counter("downstream_rq_body_too_slow", "Requests answered with 408 because their body came too slowly.")
    case .connectionMaximumDuration:
      .counter("downstream_cx_max_duration_reached", "Connections that were to end because of max_connection_duration.")
    case .connectionMaximumRequests:
      .counter(
        "downstream_cx_max_requests_reached", "Connections that were to end because of max_requests_per_connection.")
    case .requestHeaderTimeout:
      .counter("downstream_rq_header_timeout", "Heads that did not arrive within request_headers_timeout.")
    case .requestRejectedByAddress:
      .counter(
        "downstream_rq_rejected_via_ip_detection", "Requests refused because the client's address was missing or wrong."
      )
    case .requestNonRelativePath:
      .counter("downstream_rq_non_relative_path", "Requests answered with 404 because their target was a whole URL.")
    case .requestFailedPathNormalization:
      .counter("downstream_rq_failed_path_normalization", "Requests answered with 400 because of their path.")
    case .requestRedirectedPath:
      .counter(
        "downstream_rq_redirected_with_normalized_path",
        "Requests sent back to the path with its escaped slashes decoded.")
    case .requestMaximumDurationReached:
      .counter("downstream_rq_max_duration_reached", "Requests ended by max_stream_duration.")
    case .requestTooLarge:
      .counter(
        "downstream_rq_too_large",
        "Requests answered with 413, because a filter wanted all of a body that is over its limit.")
    case .responseTooLarge:
      .counter(
        "rs_too_large", "Responses answered with 500, because a filter wanted all of a body that is over its limit.")
    case .responseBeforeRequestComplete:
      .counter(
        "downstream_rq_response_before_rq_complete", "Requests that were over before the client had sent all of them.")
    case .requestUpgradeRefused:
      .counter("downstream_rq_ws_on_non_ws_route", "Requests for a tunnel (an upgrade, CONNECT) that is not allowed.")
    case .upgradeTotal:
      .counter(
        "downstream_cx_upgrades_total", "Requests for a tunnel that were allowed, whatever their upstream answered.")
    case .upgradeActive: .gauge("downstream_cx_upgrades_active", "Tunnels that go on now.")
    case .flowControlPaused:
      .counter(
        "downstream_flow_control_paused_reading_total",
        "Times that the client was made to wait because the upstream is slower.")
    case .flowControlResumed:
      .counter(
        "downstream_flow_control_resumed_reading_total", "Times that a client that was made to wait was let go on.")
    case .requestOverloadClose:
      .counter(
        "downstream_rq_overload_close", "Requests, and connections before their first one, refused because of overload."
      )
    case .connectionOverloadDisableKeepAlive:
      .counter(
        "downstream_cx_overload_disable_keepalive",
        "Responses that said connection: close because of disable_http_keepalive.")
    case .requestOverloadReply:
      .counter("rq_overload_local_reply", "Requests refused because of http_downstream_filter_check.")
    case .routerTotal: .counter("rq_total", "Requests that reached the router.")
    case .routerNoRoute: .counter("no_route", "Requests for which there was no route.")
    case .routerNoCluster: .counter("no_cluster", "Requests whose route leads to a cluster that does not exist.")
    case .routerDirectResponse: .counter("rq_direct_response", "Requests that their route answered itself.")
    case .routerResetAfterResponseStarted:
      .counter("rq_reset_after_downstream_response_started", "Responses that broke off after they had begun.")
    }
  }
}

/// `vhost.<name>.vcluster.<name>.…` and `vhost.<name>.route.<stat_prefix>.…`
public enum RequestScopeStat: Int, StatSet {
  case requestTotal, requestTimeout
  case requestRetry, requestRetrySuccess, requestRetryOverflow, requestRetryLimitExceeded

  public var definition: StatDefinition {
    switch self {
    case .requestTotal: .counter("upstream_rq_total", "Requests that got a connection; a retry counts again.")
    case .requestTimeout: .counter("upstream_rq_timeout", "Requests ended by the route's timeout.")
    case .requestRetry: .counter("upstream_rq_retry", "Attempts after the first.")
    case .requestRetrySuccess:
      .counter("upstream_rq_retry_success", "Requests that had a retry and then got a response that asks for no other.")
    case .requestRetryOverflow:
      .counter("upstream_rq_retry_overflow", "Requests not sent again because of max_retries or the retry_budget.")
    case .requestRetryLimitExceeded:
      .counter("upstream_rq_retry_limit_exceeded", "Requests not sent again because there had been num_retries.")
    }
  }
}
