/// What happens on HTTP/2 connections that is worth counting. Named as Envoy's statistics are.
public enum HTTP2Event: UInt8, CaseIterable, Sendable {
  /// RST_STREAM that came, and that went out.
  case receivedReset, sentReset
  /// GOAWAY that went out.
  case sentGoAway
  /// A header block over its limits.
  case headerOverflow
  /// Trailers of a request.
  case trailers
  /// A message that breaks HTTP's rules, or a frame that breaks those of HTTP/2.
  case receivedMessagingError
  /// Requests or trailers refused, and fields left out, for an underscore in a name.
  case refusedUnderscore, droppedUnderscore
  /// Connections ended by a bound on what costs the peer nothing.
  case outboundFlood, outboundControlFlood, emptyFramesFlood, priorityFlood, windowUpdateFlood, continuationFlood
  /// A PING of ours was not answered in time.
  case keepAliveTimeout
  /// More glitches than a connection may have.
  case tooManyGlitches
  /// Bytes of bodies that wait to be framed have become more, or fewer.
  case pendingBytes
}
