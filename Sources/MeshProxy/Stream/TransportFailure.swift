import MeshIO

/// What the transport of a connection says of its failure: `TLS_error:|…:TLS_error_end`. Immutable.
final class TransportFailure: Sendable {
  /// Without blanks, as in response code details.
  let text: String

  /// nil if it says nothing.
  init?(_ failure: TLSFailure) {
    if failure.text.isEmpty { return nil }
    text = String(failure.text.map { $0 == " " ? "_" : $0 })
  }
}
