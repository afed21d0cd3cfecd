import MeshAPI
import MeshHTTP
import MeshPrimitives

/// `io.istio.http.peer_metadata.Config`: sidecars tell each other in headers which workload they stand beside. What comes is
/// read, kept for whoever reports it, and taken off; what goes is written over whatever stood there.
///
/// A header says what its sender likes: without mutual TLS nothing vouches for it. From clients at the edge it is not
/// believed at all (`ConnectionManager.identifyClientAtEdge`).
final class PeerMetadataFilter: StreamFilter {
  static let name = "envoy.filters.http.peer_metadata"

  private let rules: PeerMetadataRules
  private let callbacks: StreamFilterCallbacks

  fileprivate init(_ callbacks: StreamFilterCallbacks, _ rules: PeerMetadataRules) {
    self.callbacks = callbacks
    self.rules = rules
  }

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    rules.exchange(callbacks.stream, headers)
    return .proceed
  }

  final class Configuration: GateFilterConfiguration, ObserverConfiguration {
    fileprivate let rules: PeerMetadataRules

    init(_ rules: PeerMetadataRules) { self.rules = rules }

    func gate(_ routes: [any RouteFilterConfiguration]) -> (any RequestGate)? { rules }
    func makeFilter(_ callbacks: StreamFilterCallbacks, worker: Worker) -> any StreamFilter {
      PeerMetadataFilter(callbacks, rules)
    }
    func makeObserver(worker: Worker) -> any StreamObserver { ResponseSide(rules) }
    var onlyObserves: Bool { false }
  }

  /// What is done to responses.
  private final class ResponseSide: StreamObserver {
    private let rules: PeerMetadataRules

    init(_ rules: PeerMetadataRules) { self.rules = rules }

    func willSend(_ headers: HeaderMap, of stream: Stream) { rules.exchange(stream, response: headers) }
  }
}

/// What is read and written, compiled. Immutable; shared by all threads.
final class PeerMetadataRules: RequestGate {
  /// What is told.
  struct Told: Sendable {
    /// `x-envoy-peer-metadata-id`: the node's. Neither has a control character.
    var identifier: [UInt8]
    /// `x-envoy-peer-metadata`.
    var metadata: [UInt8]
    /// Nothing goes to clusters outside of the mesh.
    var skipsExternal: Bool
  }

  /// Whether requests are read, and responses.
  private let readsRequests: Bool
  private let readsResponses: Bool
  /// What requests are given, and responses; nil: nothing.
  private let toldUpstream: Told?
  private let toldDownstream: Told?
  private let stats: StatBlock<IstioStat>

  init(
    readsRequests: Bool, readsResponses: Bool, toldUpstream: Told?, toldDownstream: Told?, stats: StatBlock<IstioStat>
  ) {
    self.readsRequests = readsRequests
    self.readsResponses = readsResponses
    self.toldUpstream = toldUpstream
    self.toldDownstream = toldDownstream
    self.stats = stats
  }

  func admit(_ stream: Stream, _ headers: HeaderMap) -> Bool {
    exchange(stream, headers)
    return true
  }

  func admit(_ stream: Stream, _ headers: HeaderMap, _ route: any RouteFilterConfiguration) -> Bool {
    admit(stream, headers)
  }

  /// Reads what a request says of its client, and lets it say to the upstream who we are.
  func exchange(_ stream: Stream, _ headers: HeaderMap) {
    if readsRequests {
      stream.peers.hasMetadata = headers.has(.xEnvoyPeerMetadata)
      stream.peers.hasIdentifier = headers.has(.xEnvoyPeerMetadataID)
      if let workload = take(headers, stream.worker) { stream.peers.downstream = workload }
    }
    if let told = toldUpstream { tell(told, headers, stream.clusterOfRoute) }
  }

  /// The same of a response, the other way round.
  fileprivate func exchange(_ stream: Stream, response headers: HeaderMap) {
    if readsResponses, let workload = take(headers, stream.worker) { stream.peers.upstream = workload }
    guard let told = toldDownstream else { return }
    // What the service says of itself is not for it to say; who has not asked is told nothing.
    tell(told, headers, stream.info.cluster, metadata: stream.peers.hasMetadata, id: stream.peers.hasIdentifier)
  }

  /// What the headers say, which they do not go on saying.
  private func take(_ headers: HeaderMap, _ worker: Worker) -> WorkloadIdentity? {
    var workload: WorkloadIdentity?
    if let value = headers.value(.xEnvoyPeerMetadata), !value.isEmpty {
      workload = worker.peerMetadata.workload(value, id: headers.value(.xEnvoyPeerMetadataID)) {
        stats.lane(worker.index).add(.metadataRefused)
      }
    }
    headers.remove(.xEnvoyPeerMetadata)
    headers.remove(.xEnvoyPeerMetadataID)
    return workload
  }

  private func tell(
    _ told: Told, _ headers: HeaderMap, _ cluster: ActiveCluster?, metadata: Bool = true, id: Bool = true
  ) {
    headers.remove(.xEnvoyPeerMetadata)
    headers.remove(.xEnvoyPeerMetadataID)
    if let service = cluster?.configuration.service, service.refusesMetadata || service.isExternal && told.skipsExternal
    {
      return
    }
    if id { told.identifier.withUnsafeBufferPointer { headers.addChecked(.xEnvoyPeerMetadataID, $0) } }
    if metadata { told.metadata.withUnsafeBufferPointer { headers.addChecked(.xEnvoyPeerMetadata, $0) } }
  }
}
