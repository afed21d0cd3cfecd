import MeshHTTP

/// What a choice among endpoints may depend on, of the request or connection that it is for.
struct EndpointChoice {
  /// Made by the route's hash policies; nil: they say nothing, or there are none.
  var hash: UInt64?
  /// The priorities of the endpoints that earlier attempts have had, in their order: others are preferred. Of an
  /// aggregate cluster as it counts them (`ActiveCluster.priority(of:)`).
  var triedPriorities: [UInt32] = []
  /// How often an endpoint has been refused for this attempt: with a hash, another one is chosen for each.
  var refusals = 0
  /// The client's connection.
  var connection: ConnectionInfo?
  /// The request's; nil for a connection of TCP.
  var headers: HeaderMap?
}
