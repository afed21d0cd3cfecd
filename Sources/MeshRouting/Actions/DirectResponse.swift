import MeshAPI

/// An answer the proxy gives itself (Envoy's `DirectResponseAction`).
public final class DirectResponse: Sendable {
  /// 200 … 599.
  public let status: Int
  /// At most `max_direct_response_body_size_bytes`.
  public let body: [UInt8]
  /// How the body is to be written; nil: as it is.
  public let bodyFormat: SubstitutionFormatString?

  init(status: Int, body: [UInt8], bodyFormat: SubstitutionFormatString? = nil) {
    self.status = status
    self.body = body
    self.bodyFormat = bodyFormat
  }
}
