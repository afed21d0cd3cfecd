import MeshAPI
import MeshHTTP
import MeshPrimitives

/// What a listener's access log says of a connection of which it knows no more than that it was there. Confined to the
/// worker.
final class ConnectionRecord: SubstitutionSource {
  var info = StreamInfo()
  private let worker: Worker
  private let logging: LoggingConfiguration

  /// - Parameters:
  ///   - openedAt: when the connection was accepted; now it has ended.
  ///   - logging: the listener's.
  init(_ worker: Worker, _ connection: ConnectionInfo, openedAt: MonotonicTime, _ logging: LoggingConfiguration) {
    self.worker = worker
    self.logging = logging
    let now = worker.loop.now
    info.connection = connection
    if let findings = connection.findings, !findings.metadata.isEmpty { info.metadata = findings.metadata }
    info.startedAt = openedAt
    info.startedAtWallClock = worker.loop.wallClock &- now.since(openedAt).rawValue
    info.endedAt = now
  }

  /// The connection was not served.
  func note(_ refusal: ConnectionRefusal) {
    info.flags.formUnion(refusal.flags)
    localCloseReason = refusal.closeReason
  }

  private(set) var localCloseReason: StaticString?
  var requestHeaders: HeaderMap { worker.noHeaders }
  var responseHeaders: HeaderMap? { nil }
  var responseTrailers: HeaderMap? { nil }
  var downstreamWire: WireBytes { WireBytes() }
  var downstreamRoundTrip: Nanoseconds? { nil }
  var localReplyBody: [UInt8] { [] }
  var virtualClusterName: String { "" }
  var listenerName: String { logging.listenerName }
  var filterChainName: String { "" }
  var isConnection: Bool { true }

  func randomBits() -> (UInt64, UInt64) { (worker.random.next(), worker.random.next()) }
  func metadata(_ source: SubstitutionMetadataSource) -> Metadata? {
    source == .listener ? logging.listenerMetadata : nil
  }
}
