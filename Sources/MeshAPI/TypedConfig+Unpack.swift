import SwiftProtobuf

/// Why the content of a `TypedConfig` could not be had as the type that was asked for.
public enum TypedConfigError: Error, Equatable, CustomStringConvertible {
  /// It holds a message of another type.
  case holds(type: String, wanted: String)
  /// The bytes are no message of the type that it names.
  case malformed(type: String)

  public var description: String {
    switch self {
    case .holds(let type, let wanted): "holds \(type), not \(wanted)"
    case .malformed(let type): "holds bytes that are no \(type)"
    }
  }
}

extension Google_Protobuf_Any {
  /// The full name of the message inside, without the host part of the type URL; for example
  /// `envoy.extensions.filters.http.router.v3.Router`.
  public var messageName: String {
    guard let slash = typeURL.utf8.lastIndex(of: UInt8(ascii: "/")) else { return typeURL }
    return String(typeURL[typeURL.index(after: slash)...])
  }

  /// Whether the message inside says that it is an `M`.
  public func holds<M: Message>(_ type: M.Type) -> Bool { messageName == M.protoMessageName }

  /// The message inside, decoded as an `M`. Throws when it is of another type or its bytes are malformed.
  public func unpack<M: Message>(as type: M.Type = M.self) throws(TypedConfigError) -> M {
    guard holds(type) else { throw .holds(type: messageName, wanted: M.protoMessageName) }
    do { return try M(serializedBytes: value) } catch { throw .malformed(type: M.protoMessageName) }
  }
}
