import MeshHTTP

/// What has come of an attempt at an endpoint, as far as it tells something of the endpoint.
enum UpstreamResult {
  /// A response with this status began.
  case status(Int)
  /// There is a connection.
  case connected
  /// There was no connection, or it was lost, or the stream on it.
  case failed(StreamResetReason)
  /// The response did not come in time.
  case timedOut
}
