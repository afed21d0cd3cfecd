import MeshPrimitives

/// `listener.<address>.…`
public enum ListenerStat: Int, StatSet {
  case connectionTotal, connectionActive, connectionDestroy, connectionOverflow, globalOverflow, acceptFailure
  case noFilterChainMatch, beforeConnectionActive, beforeConnectionTimeout, listenerFilterError
  case listenerFilterRemoteClose
  case transportTimeout, overloadReject

  public var definition: StatDefinition {
    switch self {
    case .connectionTotal: .counter("downstream_cx_total", "Connections accepted.")
    case .connectionActive: .gauge("downstream_cx_active", "Connections open.")
    case .connectionDestroy: .counter("downstream_cx_destroy", "Connections closed.")
    case .connectionOverflow:
      .counter(
        "downstream_cx_overflow", "Connections closed as they were accepted, because the listener's limit was reached.")
    case .globalOverflow:
      .counter(
        "downstream_global_cx_overflow",
        "Connections closed as they were accepted, because the limit of all listeners was reached.")
    case .acceptFailure:
      .counter("downstream_cx_accept_failure", "Times that accepting failed for want of descriptors or memory.")
    case .noFilterChainMatch:
      .counter("no_filter_chain_match", "Connections closed because no filter chain was for them.")
    case .beforeConnectionActive: .gauge("downstream_pre_cx_active", "Connections that listener filters look at.")
    case .beforeConnectionTimeout:
      .counter(
        "downstream_pre_cx_timeout",
        "Connections on which listener filters waited for longer than listener_filters_timeout.")
    case .listenerFilterError:
      .counter("downstream_listener_filter_error", "Connections that broke while listener filters looked at them.")
    case .listenerFilterRemoteClose:
      .counter(
        "downstream_listener_filter_remote_close", "Connections that ended while listener filters looked at them.")
    case .transportTimeout:
      .counter(
        "downstream_cx_transport_socket_connect_timeout",
        "Connections closed because their TLS handshake took too long.")
    case .overloadReject:
      .counter("downstream_cx_overload_reject", "Connections closed as they were accepted, because of overload.")
    }
  }
}

/// `tls_inspector.…`: for all listeners.
public enum TLSInspectorStat: Int, StatSet {
  case tlsFound, tlsNotFound, nameFound, nameNotFound, protocolsFound, protocolsNotFound, tooLarge

  public var definition: StatDefinition {
    switch self {
    case .tlsFound: .counter("tls_found", "Connections that began with a TLS client's hello.")
    case .tlsNotFound: .counter("tls_not_found", "Connections that did not begin with a TLS client's hello.")
    case .nameFound: .counter("sni_found", "Hellos that asked for a name.")
    case .nameNotFound: .counter("sni_not_found", "Hellos that asked for no name.")
    case .protocolsFound: .counter("alpn_found", "Hellos that offered application protocols.")
    case .protocolsNotFound: .counter("alpn_not_found", "Hellos that offered no application protocols.")
    case .tooLarge:
      .counter("client_hello_too_large", "Connections closed because their hello exceeded max_client_hello_size.")
    }
  }
}

/// `http_inspector.…`: for all listeners.
public enum HTTPInspectorStat: Int, StatSet {
  case http10Found, http11Found, http2Found, notFound

  public var definition: StatDefinition {
    switch self {
    case .http10Found: .counter("http10_found", "Connections without TLS that began with HTTP/1.0.")
    case .http11Found: .counter("http11_found", "Connections without TLS that began with HTTP/1.1.")
    case .http2Found: .counter("http2_found", "Connections without TLS that began with HTTP/2.")
    case .notFound: .counter("http_not_found", "Connections without TLS that did not begin with HTTP.")
    }
  }
}

/// `proxy_proto.…`, or `proxy_proto.<stat_prefix>.…`
public enum ProxyProtocolStat: Int, StatSet {
  case notFoundAllowed, notFoundDisallowed
  case v1Found, v1Disallowed, v1Error, v2Found, v2Disallowed, v2Error

  public var definition: StatDefinition {
    switch self {
    case .notFoundAllowed: .counter("not_found_allowed", "Connections that began without a header and went on.")
    case .notFoundDisallowed:
      .counter("not_found_disallowed", "Connections that were closed because they began without a header.")
    case .v1Found: .counter("versions.v1.found", "Headers of version 1.")
    case .v1Disallowed:
      .counter("versions.v1.disallowed", "Connections closed because disallowed_versions has version 1.")
    case .v1Error:
      .counter("versions.v1.error", "Connections closed because their header of version 1 broke the rules.")
    case .v2Found: .counter("versions.v2.found", "Headers of version 2.")
    case .v2Disallowed:
      .counter("versions.v2.disallowed", "Connections closed because disallowed_versions has version 2.")
    case .v2Error:
      .counter("versions.v2.error", "Connections closed because their header of version 2 broke the rules.")
    }
  }
}

/// `tcp.<stat_prefix>.…`
public enum TCPProxyStat: Int, StatSet {
  case connectionTotal, noRoute, overloadClose, receivedBytes, sentBytes, paused, resumed, idleTimeout, maximumDuration

  public var definition: StatDefinition {
    switch self {
    case .connectionTotal: .counter("downstream_cx_total", "Connections from clients.")
    case .noRoute: .counter("downstream_cx_no_route", "Connections closed because there was no cluster of the name.")
    case .overloadClose: .counter("downstream_cx_overload_close", "Connections closed because of overload.")
    case .receivedBytes: .counter("downstream_cx_rx_bytes_total", "Bytes read from clients.")
    case .sentBytes: .counter("downstream_cx_tx_bytes_total", "Bytes sent to clients.")
    case .paused:
      .counter(
        "downstream_flow_control_paused_reading_total",
        "Times that reading from a client stopped: the upstream took no more.")
    case .resumed:
      .counter("downstream_flow_control_resumed_reading_total", "Times that reading from a client went on.")
    case .idleTimeout: .counter("idle_timeout", "Connections closed because nothing had moved for idle_timeout.")
    case .maximumDuration: .counter("max_downstream_connection_duration", "Connections closed because of their age.")
    }
  }
}

/// `local_rate_limit.<stat_prefix>.…`, `listener_local_ratelimit.<stat_prefix>.…`
public enum ConnectionRateLimitStat: Int, StatSet {
  case rateLimited

  public var definition: StatDefinition {
    .counter("rate_limited", "Connections closed because there was no token for them.")
  }
}

/// `connection_limit.<stat_prefix>.…`
public enum ConnectionLimitStat: Int, StatSet {
  case active, limited

  public var definition: StatDefinition {
    switch self {
    case .active: .gauge("active_connections", "Open connections, with those that wait for their end (delay).")
    case .limited: .counter("limited_connections", "Connections closed because max_connections were open.")
    }
  }
}
