import MeshPrimitives

/// Lines of the access log before the end.
extension Stream {
  /// A request's head has arrived. Its route is known, no filter has seen it.
  func logStart() {
    _ = route
    logNow(.downstreamStart)
  }

  func logNow(_ occasion: AccessLogType) {
    info.loggedAt = worker.loop.now
    manager?.log(self, occasion)
    info.loggedAt = .never
    info.logType = .notSet
  }
}
