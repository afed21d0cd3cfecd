extension ActiveCluster {
  /// Counts what a request got for an answer: a response's status, or that of what was answered in its place.
  /// - Parameter isInternal: of requests that are from inside (`x-envoy-internal`).
  func count(_ status: Int, isInternal: Bool) {
    stats.add(.requestCompleted)
    responseCodes.add(status)
    parts.add(status, isInternal: isInternal, self)
  }
}
