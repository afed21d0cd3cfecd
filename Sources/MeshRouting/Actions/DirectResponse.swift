/// An answer the proxy gives itself (Envoy's `DirectResponseAction`).
public final class DirectResponse: Sendable {
  /// 200 … 599.
  public let status: Int
  /// At most `max_direct_response_body_size_bytes`.
  public let body: [UInt8]

  init(status: Int, body: [UInt8]) {
    self.status = status
    self.body = body
  }
}
