import MeshPrimitives

// Requests that show what a histogram's values were made of. Only of traces that are sampled: a trace that nobody keeps
// explains nothing.

extension ConnectionManager {
  /// Keeps a request that is over for whoever looks at the times of requests, if there is somebody.
  @inline(never)
  func noteExemplars(_ stream: Stream) {
    let info = stream.info
    guard identity.manager.store.keepsExemplars, info.trace.hasTrace, let ended = info.endedAt else { return }
    var exemplar = Exemplar(
      traceIDHigh: info.trace.traceIDHigh, traceIDLow: info.trace.traceIDLow, spanID: info.trace.spanID,
      value: ended.since(info.startedAt).rawValue / 1000, time: worker.loop.wallClock)
    identity.manager.requestTime.note(exemplar, lane: worker.index)
    // As the router has counted it.
    guard let cluster = info.cluster, info.upstreamTiming.responseCompleteAt != .never else { return }
    exemplar.value = info.upstreamTiming.responseCompleteAt.since(stream.router.attemptStartedAt).rawValue / 1000
    cluster.identity.requestTime.note(exemplar, lane: worker.index)
  }
}
