/// A value of metadata, with the types that JSON has.
public indirect enum MetadataValue: Sendable, Equatable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case list([MetadataValue])
  case object([String: MetadataValue])
}

/// What a configuration says of a route, a cluster or another of its things for others to read
/// (`envoy.config.core.v3.Metadata`): by namespace, usually the name of a filter. Immutable; shared by all threads.
public final class ConfiguredMetadata: Sendable, Equatable {
  public let namespaces: [String: MetadataValue]

  /// - Parameter namespaces: an object for each namespace.
  public init(_ namespaces: [String: MetadataValue]) { self.namespaces = namespaces }

  /// The value at the end of a path: a namespace and the names of members in it. Nil if there is none.
  public func value(_ path: [String]) -> MetadataValue? {
    guard let namespace = path.first, var value = namespaces[namespace] else { return nil }
    for name in path.dropFirst() {
      guard case .object(let members) = value, let member = members[name] else { return nil }
      value = member
    }
    return value
  }

  public static func == (a: ConfiguredMetadata, b: ConfiguredMetadata) -> Bool { a.namespaces == b.namespaces }
}
