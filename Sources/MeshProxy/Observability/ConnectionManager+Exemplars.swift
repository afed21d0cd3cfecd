import MeshPrimitives

// Requests that show what a histogram's values were made of. Only of traces that are sampled: a trace that nobody keeps
// explains nothing.

extension ConnectionManager {
  /// Keeps a request that is over for whoever looks at the times of requests, if there is somebody.
  @inline(never)
  func noteExemplars(_ stream: Stream) {
    // The stream's information is large: parts of it are read where it is.
    let trace = stream.info.trace
    guard trace.hasTrace, let ended = stream.info.endedAt else { return }
    var exemplar = Exemplar(
      traceIDHigh: trace.traceIDHigh, traceIDLow: trace.traceIDLow, spanID: trace.spanID,
      value: ended.since(stream.info.startedAt).rawValue / 1000, time: worker.loop.wallClock)
    identity.manager.requestTime.note(exemplar, lane: worker.index)
    // As the router has counted it.
    let completeAt = stream.info.upstreamTiming.responseCompleteAt
    guard completeAt != .never, let cluster = stream.info.cluster else { return }
    exemplar.value = completeAt.since(stream.router.attemptStartedAt).rawValue / 1000
    cluster.identity.requestTime.note(exemplar, lane: worker.index)
  }
}
