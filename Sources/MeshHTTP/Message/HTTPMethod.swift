import MeshPrimitives

/// The request methods of RFC 9110 §9.3 and RFC 5789; every other token is `.other`, its text being the `:method` field.
public enum HTTPMethod: UInt8, Equatable, Sendable {
  case get, head, post, put, delete, options, trace, patch, connect, other

  /// Whether the client asks for no change of state (RFC 9110 §9.2.1).
  @inlinable @inline(__always)
  public var isSafe: Bool { self == .get || self == .head || self == .options || self == .trace }

  /// Whether sending the request twice means the same as sending it once (RFC 9110 §9.2.2).
  @inlinable @inline(__always)
  public var isIdempotent: Bool { isSafe || self == .put || self == .delete }

  /// Its name; `-` for any other method.
  public var name: StaticString {
    switch self {
    case .get: "GET"
    case .head: "HEAD"
    case .post: "POST"
    case .put: "PUT"
    case .delete: "DELETE"
    case .options: "OPTIONS"
    case .trace: "TRACE"
    case .patch: "PATCH"
    case .connect: "CONNECT"
    case .other: "-"
    }
  }

  /// The method of this name. Names are case-sensitive (RFC 9110 §9.1).
  public init(_ name: Bytes) {
    let known: StaticString
    switch name.count {
    case 3:
      if name.equals("GET") {
        self = .get
        return
      }
      (self, known) = (.put, "PUT")
    case 4:
      if name.equals("HEAD") {
        self = .head
        return
      }
      (self, known) = (.post, "POST")
    case 5:
      if name.equals("TRACE") {
        self = .trace
        return
      }
      (self, known) = (.patch, "PATCH")
    case 6: (self, known) = (.delete, "DELETE")
    case 7:
      if name.equals("OPTIONS") {
        self = .options
        return
      }
      (self, known) = (.connect, "CONNECT")
    default:
      self = .other
      return
    }
    if !name.equals(known) { self = .other }
  }
}
