import MeshHTTP
import MeshPrimitives

/// `http1.…`: what the codec does by the configuration's leave, for all connection managers.
public enum HTTP1Stat: Int, StatSet {
  case droppedUnderscores, rejectedUnderscores

  public var definition: StatDefinition {
    switch self {
    case .droppedUnderscores:
      .counter("dropped_headers_with_underscores", "Headers left out because of underscores in their names.")
    case .rejectedUnderscores:
      .counter(
        "requests_rejected_with_underscores_in_headers", "Requests refused because of underscores in header names.")
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
    case .receivedReset: .counter("rx_reset", "RST_STREAM frames that came.")
    case .sentReset: .counter("tx_reset", "RST_STREAM frames that went out.")
    case .sentGoAway:
      .counter("goaway_sent", "GOAWAY frames that went out: connections that drain, or end for an error.")
    case .headerOverflow: .counter("header_overflow", "Heads that were too large or had too many fields.")
    case .trailers: .counter("trailers", "Messages with trailers that came.")
    case .receivedMessagingError:
      .counter("rx_messaging_error", "Messages that break the rules of HTTP, and frames that break those of HTTP/2.")
    case .rejectedUnderscores:
      .counter(
        "requests_rejected_with_underscores_in_headers", "Requests refused because of underscores in header names.")
    case .droppedUnderscores:
      .counter("dropped_headers_with_underscores", "Headers left out because of underscores in their names.")
    case .outboundFlood:
      .counter("outbound_flood", "Connections ended because more than max_outbound_frames waited to be sent.")
    case .outboundControlFlood:
      .counter("outbound_control_flood", "Connections ended because of max_outbound_control_frames.")
    case .emptyFramesFlood:
      .counter("inbound_empty_frames_flood", "Connections ended because of too many frames without payload.")
    case .priorityFlood:
      .counter("inbound_priority_frames_flood", "Connections ended because of too many PRIORITY frames.")
    case .windowUpdateFlood:
      .counter("inbound_window_update_frames_flood", "Connections ended because of too many WINDOW_UPDATE frames.")
    case .continuationFlood:
      .counter("inbound_continuation_frames_flood", "Connections ended because a header block came in too many frames.")
    case .keepAliveTimeout:
      .counter(
        "keepalive_timeout", "Connections closed because a PING of ours was not answered (connection_keepalive).")
    case .tooManyGlitches:
      .counter(
        "too_many_glitches", "Connections ended because of more than 500 frames or messages that each broke a rule.")
    case .streamsActive: .gauge("streams_active", "Streams open.")
    case .pendingBytes: .gauge("pending_send_bytes", "Bytes of bodies that wait for the peer's window or its reading.")
    }
  }
}
