import MeshAPI
import MeshPrimitives
import SwiftProtobuf

/// How proxies tell each other who stands beside them: a structure, deterministically serialised, in base64
/// (`x-envoy-peer-metadata`, Istio's `metadata_object`).
extension WorkloadIdentity {
  enum Field {
    static let name = "NAME"
    static let namespace = "NAMESPACE"
    static let workload = "WORKLOAD_NAME"
    static let cluster = "CLUSTER_ID"
    static let owner = "OWNER"
    static let labels = "LABELS"
    static let canonicalName = "service.istio.io/canonical-name"
    static let canonicalRevision = "service.istio.io/canonical-revision"
    static let app = "app"
    static let version = "version"
  }

  /// The longest header that is looked into, in bytes of base64.
  static let maximumHeader = 4096
  /// How deep a structure may lie in others: labels are one level below.
  private static let maximumDepth = 8

  /// The workload of a node's metadata.
  convenience init(node metadata: StructValue) { self.init(Self.names(metadata)) }

  /// The workload that a peer has named.
  /// - Parameter header: whatever it has sent.
  /// - Returns: nil if that is no structure in base64, or larger than anything that is believed.
  convenience init?(header: Bytes) {
    guard header.count <= Self.maximumHeader, let bytes = Self.decode(header) else { return nil }
    var options = BinaryDecodingOptions()
    options.messageDepthLimit = Self.maximumDepth
    guard let metadata = try? StructValue(serializedBytes: bytes, options: options) else { return nil }
    self.init(Self.names(metadata))
  }

  /// Base64 with or without its padding.
  private static func decode(_ text: Bytes) -> [UInt8]? {
    var decoder = Base64Stream.Decoder()
    var bytes: [UInt8] = []
    guard decoder.decode(text, into: &bytes) else { return nil }
    for _ in 0..<2 where !decoder.isComplete {
      guard decoder.decode(Bytes("="), into: &bytes) else { return nil }
    }
    return decoder.isComplete ? bytes : nil
  }

  private static func names(_ metadata: StructValue) -> Names {
    var names = Names()
    names.workload = text(metadata, Field.workload)
    names.namespace = text(metadata, Field.namespace)
    names.cluster = text(metadata, Field.cluster)
    guard case .structValue(let labels)? = metadata.fields[Field.labels]?.kind else { return names }
    names.canonicalName = text(labels, Field.canonicalName)
    names.canonicalRevision = text(labels, Field.canonicalRevision)
    names.app = text(labels, Field.app)
    names.version = text(labels, Field.version)
    return names
  }

  private static func text(_ structure: StructValue, _ field: String) -> [UInt8] {
    guard case .stringValue(let text)? = structure.fields[field]?.kind else { return [] }
    return Array(text.utf8.prefix(LabelSet.maximumValue))
  }

  // MARK: Telling others

  /// What others are told of a node: no more than metrics have labels for, and what the configuration adds.
  /// - Parameter labels: further labels that are passed on.
  /// - Returns: base64; empty if it cannot be serialised.
  static func header(of metadata: StructValue, adding labels: [String]) -> [UInt8] {
    var told = StructValue()
    for field in [Field.name, Field.namespace, Field.workload, Field.cluster] {
      if let value = string(metadata, field) { told.fields[field] = value }
    }
    var toldLabels = StructValue()
    if case .structValue(let known)? = metadata.fields[Field.labels]?.kind {
      for label in [Field.canonicalName, Field.canonicalRevision, Field.app, Field.version] + labels {
        if let value = string(known, label) { toldLabels.fields[label] = value }
      }
    }
    told.fields[Field.labels] = Google_Protobuf_Value(structValue: toldLabels)
    if let owner = owner(metadata) { told.fields[Field.owner] = Google_Protobuf_Value(stringValue: owner) }
    var options = BinaryEncodingOptions()
    options.useDeterministicOrdering = true
    guard let bytes: [UInt8] = try? told.serializedBytes(options: options) else { return [] }
    var text: [UInt8] = []
    var encoder = Base64Stream.Encoder()
    bytes.withUnsafeBufferPointer { encoder.encode($0, into: &text) }
    encoder.finish(into: &text)
    return text
  }

  private static func string(_ structure: StructValue, _ field: String) -> Google_Protobuf_Value? {
    guard let value = structure.fields[field], case .stringValue(let text)? = value.kind, !text.isEmpty else {
      return nil
    }
    return value
  }

  /// What kind of thing the workload is, in the one form that Istio's proxies pass on; nil if the node does not say.
  private static func owner(_ metadata: StructValue) -> String? {
    guard case .stringValue(let owner)? = metadata.fields[Field.owner]?.kind else { return nil }
    let parts = owner.split(separator: "/")
    let namespace = String(decoding: text(metadata, Field.namespace), as: UTF8.self)
    let workload = String(decoding: text(metadata, Field.workload), as: UTF8.self)
    guard parts.count >= 2, ["pods", "deployments", "jobs", "cronjobs"].contains(parts[parts.count - 2]) else {
      return nil
    }
    return "kubernetes://apis/apps/v1/namespaces/\(namespace)/\(parts[parts.count - 2])/\(workload)"
  }
}
