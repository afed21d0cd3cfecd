import MeshHTTP
import MeshIO
import MeshPrimitives

/// The labels of Istio's metrics for one stream, in the order of Istio's proxies. Made when a combination is met for the
/// first time.
struct IstioLabels {
  private var labels: [(name: StaticString, value: [UInt8])] = []

  /// All that there are.
  static let names: [StaticString] = [
    "reporter", "source_workload", "source_canonical_service", "source_canonical_revision",
    "source_workload_namespace", "source_principal", "source_app", "source_version", "source_cluster",
    "destination_workload", "destination_workload_namespace", "destination_principal", "destination_app",
    "destination_version", "destination_service", "destination_canonical_service", "destination_canonical_revision",
    "destination_service_name", "destination_service_namespace", "destination_cluster", "request_protocol",
    "response_code", "grpc_response_status", "response_flags", "connection_security_policy",
  ]

  static func isStandard(_ name: String) -> Bool { names.contains { $0.description == name } }

  /// Whether a configuration may call a label so: as Prometheus has it, and not what histograms and the series that stands
  /// in for others need themselves.
  static func isLabel(_ name: String) -> Bool {
    guard let first = name.utf8.first, first &- 0x30 >= 10, !name.hasPrefix("__") else { return false }
    let isWord = name.utf8.allSatisfy { $0 == UInt8(ascii: "_") || $0 &- 0x30 < 10 || $0.asciiLowercased &- 0x61 < 26 }
    return isWord && name != "le" && name != IstioMetrics.overflowLabel.description
  }

  private static let unknown: StaticString = "unknown"
  /// The revision of a workload that names none.
  private static let latest: StaticString = "latest"

  /// What is known of the service that a stream is for. Empty: nothing.
  struct Service {
    var host: [UInt8] = []
    var name: [UInt8] = []
    var namespace: [UInt8] = []
  }

  /// The labels that say who talks to whom.
  /// - Parameters:
  ///   - peer: the workload at the other end; nil: not known.
  init(
    _ reporter: IstioStatsConfiguration.Reporter, own: WorkloadIdentity.Names, peer: WorkloadIdentity.Names?,
    _ principals: Principals, _ service: Service
  ) {
    let peer = peer ?? WorkloadIdentity.Names()
    // A certificate is to be believed sooner than what its owner says.
    let peerNamespace = principals.peerNamespace ?? peer.namespace
    add("reporter", Array(Bytes(reporter.text)))
    if reporter == .source {
      add("source_workload", own.workload)
      add("source_canonical_service", own.canonicalName)
      add("source_canonical_revision", own.canonicalRevision)
      add("source_workload_namespace", own.namespace)
      add("source_principal", principals.own, or: Self.unknown)
      add("source_app", own.app)
      add("source_version", own.version)
      add("source_cluster", own.cluster)
      add("destination_workload", peer.workload, or: Self.unknown)
      add("destination_workload_namespace", peerNamespace, or: Self.unknown)
      add("destination_principal", principals.peer, or: Self.unknown)
      add("destination_app", peer.app, or: Self.unknown)
      add("destination_version", peer.version, or: Self.unknown)
      add("destination_service", service.host, or: Self.unknown)
      add("destination_canonical_service", peer.canonicalName, or: Self.unknown)
      add("destination_canonical_revision", peer.canonicalRevision, or: Self.latest)
      add("destination_service_name", service.name, or: Self.unknown)
      add(
        "destination_service_namespace", service.namespace.isEmpty ? peerNamespace : service.namespace,
        or: Self.unknown)
      add("destination_cluster", peer.cluster, or: Self.unknown)
    } else {
      add("source_workload", peer.workload, or: Self.unknown)
      add("source_canonical_service", peer.canonicalName, or: Self.unknown)
      add("source_canonical_revision", peer.canonicalRevision, or: Self.latest)
      add("source_workload_namespace", peerNamespace, or: Self.unknown)
      add("source_principal", principals.peer, or: Self.unknown)
      add("source_app", peer.app, or: Self.unknown)
      add("source_version", peer.version, or: Self.unknown)
      add("source_cluster", peer.cluster, or: Self.unknown)
      add("destination_workload", own.workload)
      add("destination_workload_namespace", own.namespace)
      add("destination_principal", principals.own, or: Self.unknown)
      add("destination_app", own.app)
      add("destination_version", own.version)
      add("destination_service", service.host.isEmpty ? own.canonicalName : service.host)
      add("destination_canonical_service", own.canonicalName)
      add("destination_canonical_revision", own.canonicalRevision)
      add("destination_service_name", service.name.isEmpty ? own.canonicalName : service.name)
      add("destination_service_namespace", own.namespace)
      add("destination_cluster", own.cluster)
    }
  }

  /// Adds what has come of a request.
  /// - Parameters:
  ///   - grpcStatus: nil: it was no call of gRPC, or had no answer.
  mutating func addRequest(isGRPC: Bool, code: Int, grpcStatus: Int?) {
    add("request_protocol", Array(Bytes(isGRPC ? "grpc" : "http")))
    add("response_code", Array("\(code)".utf8))
    add("grpc_response_status", grpcStatus.map { Array("\($0)".utf8) } ?? [])
  }

  mutating func addConnection() { add("request_protocol", Array(Bytes("tcp"))) }

  /// Adds what was unusual, and who vouches for the other end: what a client's sidecar cannot know of the server's.
  mutating func addEnd(_ flags: ResponseFlags, _ reporter: IstioStatsConfiguration.Reporter, isMutualTLS: Bool) {
    let names = ResponseFlags.names.filter { flags.contains($0.flag) }.map { $0.short.description }
    add("response_flags", Array((names.isEmpty ? "-" : names.joined(separator: ",")).utf8))
    let policy: StaticString = reporter == .source ? Self.unknown : isMutualTLS ? "mutual_tls" : "none"
    add("connection_security_policy", Array(Bytes(policy)))
  }

  private mutating func add(_ name: StaticString, _ value: [UInt8], or fallback: StaticString? = nil) {
    labels.append((name, value.isEmpty ? fallback.map { Array(Bytes($0)) } ?? [] : value))
  }

  /// The labels of one metric.
  /// - Parameter values: of the dimensions that the shape refers to.
  func set(_ shape: IstioStatsConfiguration.Shape, _ values: [[UInt8]]) -> LabelSet {
    var set = LabelSet()
    let isPlain = shape.removed.isEmpty && shape.replaced.isEmpty
    for (name, value) in labels {
      if isPlain {
        set.append(name, value)
        continue
      }
      let text = name.description
      if shape.removed.contains(text) { continue }
      set.append(name, shape.replaced[text].map { values[$0] } ?? value)
    }
    for (name, place) in shape.added.sorted(by: { $0.key < $1.key }) {
      let name = Array(name.utf8)
      name.withUnsafeBufferPointer { name in values[place].withUnsafeBufferPointer { set.append(name, $0) } }
    }
    return set
  }
}

/// Whom certificates name at the two ends of a connection: the first URI of each (SPIFFE). Empty: nobody.
struct Principals: Equatable {
  var peer: [UInt8] = []
  var own: [UInt8] = []

  init() {}

  /// - Parameter tls: nil: a connection in plaintext.
  init(_ tls: TLSDetails?) {
    guard let tls else { return }
    // A certificate that nobody has verified names nobody.
    if tls.isPeerValidated, let uri = tls.peer?.uris.first { peer = Array(uri.utf8) }
    if let uri = tls.own?.uris.first { own = Array(uri.utf8) }
  }

  /// Both ends are known.
  var areMutual: Bool { !peer.isEmpty && !own.isEmpty }

  /// The namespace in `spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT`; nil if there is none.
  var peerNamespace: [UInt8]? {
    let mark = Array("/ns/".utf8)
    guard peer.count > mark.count else { return nil }
    for start in 0...(peer.count - mark.count) where peer[start..<start + mark.count].elementsEqual(mark) {
      let namespace = peer[(start + mark.count)...].prefix { $0 != UInt8(ascii: "/") }
      return namespace.isEmpty ? nil : Array(namespace)
    }
    return nil
  }
}
