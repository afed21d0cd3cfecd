import MeshPrimitives

// Requests that show what a histogram's values were made of. Only of traces that are sampled: a trace that nobody keeps
// explains nothing.

extension ConnectionManager {
  /// A request that is over, and how long it took, if there is somebody who looks at the times of requests.
  @inline(never)
  func exemplar(of stream: Stream) -> Exemplar? {
    let trace = stream.info.trace
    guard identity.manager.store.keepsExemplars, trace.hasTrace, let ended = stream.info.endedAt else { return nil }
    return Exemplar(
      traceIDHigh: trace.traceIDHigh, traceIDLow: trace.traceIDLow, spanID: trace.spanID,
      value: ended.since(stream.info.startedAt).rawValue / 1000, time: worker.loop.wallClock)
  }

  /// Keeps a request that is over beside the times that it was counted in.
  @inline(never)
  func noteExemplars(_ stream: Stream) {
    guard var exemplar = exemplar(of: stream) else { return }
    identity.manager.requestTime.note(exemplar, lane: worker.index)
    // As the router has counted it.
    let complete = stream.info.upstreamTiming.responseCompleteAt
    guard let cluster = stream.info.cluster, complete != .never else { return }
    exemplar.value = complete.since(stream.router.attemptStartedAt).rawValue / 1000
    cluster.identity.requestTime.note(exemplar, lane: worker.index)
  }
}
