/// What filters have found out about the two ends of a request, for those that report it. Touched only where there is an
/// observer, which is also who sees that it is empty for the next request. Confined to the worker.
struct StreamPeers {
  /// Who the client is.
  var downstream: WorkloadIdentity?
  /// Who has answered.
  var upstream: WorkloadIdentity?
  /// The request has said who the client is, and by what number it is known: it gets to know the same of us.
  var hasMetadata = false
  var hasIdentifier = false
  /// Messages of a call of gRPC, where they are counted.
  var messages: MessageCounts?

  struct MessageCounts {
    var requests: UInt64 = 0
    var responses: UInt64 = 0
    /// Those that have been reported.
    var reportedRequests: UInt64 = 0
    var reportedResponses: UInt64 = 0
  }
}
