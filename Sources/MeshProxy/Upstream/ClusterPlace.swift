import MeshHTTP
import MeshPrimitives

/// What a request that the proxy makes of its own accord holds of its cluster: a place among its requests and an endpoint, and
/// being counted there. Confined to its worker.
struct ClusterPlace {
  enum Taken {
    case endpoint(ActiveEndpoint)
    /// In words, for the log.
    case refused(String)
  }

  private var cluster: ActiveCluster?
  private var endpoint: ActiveEndpoint?
  private var isCounted = false
  private var isInternal = false

  /// Asks a cluster for an endpoint. - Parameter headers: of the request, for the choice.
  mutating func take(in name: String, _ worker: Worker, _ headers: HeaderMap) -> Taken {
    guard let cluster = worker.clusters[name] else { return .refused("no cluster") }
    self.cluster = cluster
    isInternal = headers.has(.xEnvoyInternal)
    guard cluster.admitRequest(.normal) else {
      cluster.stats.add(.requestActiveOverflow)
      count(503)
      return .refused("overflow")
    }
    isCounted = true
    cluster.stats.add(.requestActive)
    guard let endpoint = cluster.pickEndpoint(EndpointChoice(headers: headers)) else {
      cluster.stats.add(.connectionNoneHealthy)
      count(503)
      return .refused("no healthy upstream")
    }
    self.endpoint = endpoint
    endpoint.stats.add(.requestActive)
    return .endpoint(endpoint)
  }

  /// The request has a connection.
  func connected() {
    cluster?.stats.add(.requestTotal)
    endpoint?.stats.add(.requestTotal)
    endpoint?.note(.connected)
  }

  /// A response has begun.
  func answered(_ status: Int) {
    count(status)
    endpoint?.stats.add(status >= 500 ? .requestError : .requestSuccess)
    endpoint?.note(.status(status))
  }

  /// What a client would have been answered.
  func count(_ status: Int) { cluster?.count(status, isInternal: isInternal) }

  /// There was no connection, or it was lost.
  func failed(_ reason: StreamResetReason) {
    endpoint?.stats.add(.requestError)
    endpoint?.note(.failed(reason))
  }

  func timedOut() {
    cluster?.stats.add(.requestTimeout)
    endpoint?.stats.add(.requestTimeout)
    endpoint?.note(.timedOut)
  }

  /// The request is over.
  mutating func leave() {
    endpoint?.stats.subtract(.requestActive)
    endpoint = nil
    guard isCounted else { return }
    isCounted = false
    cluster?.stats.subtract(.requestActive)
    cluster?.breakers.normal.requests.leave()
  }
}
