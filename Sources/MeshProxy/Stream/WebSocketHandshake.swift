import MeshHTTP
import MeshIO
import MeshPrimitives

/// What proves to a client of WebSocket over HTTP/1.1 that its server has understood it: `sec-websocket-key` and the
/// `sec-websocket-accept` made of it (RFC 6455 §1.3). HTTP/2 has no use for them (RFC 8441 §5). Where a WebSocket comes by
/// one and goes on by the other, the proxy plays the part that is missing.
enum WebSocketHandshake {
  static let key = HeaderName("sec-websocket-key")
  static let accept = HeaderName("sec-websocket-accept")

  /// The upstream has not proved what it grants.
  static var detail: StaticString { "websocket_handshake_unsuccessful" }

  /// Whether a request for a tunnel is one for WebSocket.
  static func isAsked(_ headers: HeaderMap) -> Bool {
    headers.value(.upgrade)?.equalsIgnoringCase("websocket") == true
  }

  /// What a server answers to a key.
  static func accept(_ key: Bytes) -> [UInt8] {
    text(Digest.sha1(Array(key) + Array("258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)))
  }

  /// A key: sixteen random bytes.
  static func makeKey(_ random: inout Random) -> [UInt8] {
    let numbers = [random.next(), random.next()]
    return text(numbers.flatMap { number in (0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(8 * $0)) } })
  }

  private static func text(_ bytes: [UInt8]) -> [UInt8] {
    var text: [UInt8] = []
    var encoder = Base64Stream.Encoder()
    bytes.withUnsafeBufferPointer { encoder.encode($0, into: &text) }
    encoder.finish(into: &text)
    return text
  }

  /// The answer is on its way to the client, which looks for the proof if it has asked for it.
  static func complete(_ response: HeaderMap, to request: HeaderMap) {
    guard response.value(accept) == nil, let key = request.value(key) else { return }
    accept(key).withUnsafeBufferPointer { response.set(accept, $0) }
  }
}
