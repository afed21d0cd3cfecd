import MeshHTTP

/// What has come of an attempt at an endpoint, as far as it tells something of the endpoint.
enum UpstreamResult {
  /// A response with this status began.
  case status(Int)
  /// There is a connection; what becomes of the request on it is still to come.
  case connected
  /// There is a connection, and no more will be known: it carries bytes.
  case session
  /// There was no connection, or it was lost, or the stream on it.
  case failed(StreamResetReason)
  /// The response did not come in time.
  case timedOut
}
