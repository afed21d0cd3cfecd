import MeshAPI
import MeshPrimitives
import Synchronization

/// A workload as Istio's metrics name it: this proxy's own, or one that it talks to. What is not known is empty. Immutable;
/// any thread.
final class WorkloadIdentity: Sendable {
  /// Names of workloads, and what else they are told apart by.
  struct Names: Equatable, Sendable {
    /// `WORKLOAD_NAME`: what the instances have in common, a deployment's name.
    var workload: [UInt8] = []
    var namespace: [UInt8] = []
    /// Label `service.istio.io/canonical-name`.
    var canonicalName: [UInt8] = []
    /// Label `service.istio.io/canonical-revision`.
    var canonicalRevision: [UInt8] = []
    /// Label `app`.
    var app: [UInt8] = []
    /// Label `version`.
    var version: [UInt8] = []
    /// `CLUSTER_ID`: which Kubernetes cluster, or its like.
    var cluster: [UInt8] = []
  }

  /// Tells it from every other object there ever was in this process; never 0.
  let number: UInt64
  let names: Names

  private static let lastNumber = Atomic<UInt64>(0)

  /// A number that no other caller gets.
  static func nextNumber() -> UInt64 { lastNumber.add(1, ordering: .relaxed).newValue }

  init(_ names: Names) {
    number = Self.nextNumber()
    self.names = names
  }
}

/// What endpoints say of the workload behind them.
extension WorkloadIdentity {
  /// The field of an endpoint's metadata that names its workload: `filter_metadata: {istio: {workload: …}}`.
  static let metadataNamespace = "istio"

  /// - Returns: nil if the metadata names none.
  convenience init?(endpoint metadata: Metadata?) {
    guard let value = metadata?.filterMetadata[Self.metadataNamespace]?.fields["workload"],
      case .stringValue(let text)? = value.kind
    else { return nil }
    self.init(endpoint: text)
  }

  /// - Parameter text: `name;namespace;canonical-name;canonical-revision;cluster`, as istiod writes it.
  convenience init?(endpoint text: String) {
    let parts = text.utf8.split(separator: UInt8(ascii: ";"), omittingEmptySubsequences: false).map { Array($0) }
    guard parts.count >= 5 else { return nil }
    var names = Names()
    names.workload = parts[0]
    names.namespace = parts[1]
    names.canonicalName = parts[2]
    names.canonicalRevision = parts[3]
    names.cluster = parts[4]
    self.init(names)
  }
}
