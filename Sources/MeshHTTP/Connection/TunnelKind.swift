/// What a request wants besides an answer: that its stream becomes a way for bytes in both directions.
///
/// Every codec says it in one form, whatever its wire:
/// - A request for another protocol is a GET with the field `upgrade` (one, the protocol's name), as HTTP/1.1 has it; an
///   extended CONNECT of HTTP/2 (RFC 8441) is turned into that. No other request has the field. It is granted by a
///   response with status 101 and the field `upgrade`; a codec of HTTP/2 makes 200 of it, and 101 of 200.
/// - A CONNECT has no `:path`. It is granted by any 2xx.
///
/// The request's head never ends its stream, and says nothing of a body. What follows it is the tunnel's, also before the
/// tunnel is granted. Once it is, each direction ends for itself: `endStream` one way leaves the other as it is, and the
/// codec's stream lasts until both have ended. Where the answer grants nothing it is a response like any other, and what
/// came for the tunnel is thrown away; a connection of HTTP/1.1 ends with it, so that nobody takes those bytes for a
/// request.
public enum TunnelKind: UInt8, Sendable {
  case none
  /// Another protocol (RFC 9110 §7.8, RFC 8441), which the field `upgrade` names.
  case upgrade
  /// Bytes for the authority (RFC 9110 §9.3.6).
  case connect

  /// Whether a response of this status makes the tunnel.
  @inlinable @inline(__always)
  public func isGranted(by status: Int) -> Bool {
    switch self {
    case .none: false
    case .upgrade: status == 101
    case .connect: status >= 200 && status < 300
    }
  }
}
