internal import CCAres
import MeshPrimitives

/// Which addresses of a name are wanted (Envoy: `DnsLookupFamily`).
public enum LookupFamily: String, Hashable, Sendable {
  /// IPv6 if the name has such addresses, IPv4 otherwise (AUTO). `localhost` is IPv4 first: most local services listen
  /// there only.
  case auto
  case v4Only
  case v6Only
  /// IPv4 if the name has such addresses, IPv6 otherwise (V4_PREFERRED).
  case v4Preferred
  /// Both (ALL), IPv4 first.
  case all
}

/// The addresses of a name.
public struct ResolvedAddresses: Equatable, Sendable {
  /// Without duplicates, in the server's order; at least one, at most `Resolver.maximumAddresses`.
  public var addresses: [IPAddress]
  /// How long the answer may be kept: the smallest of its records; zero from a hosts file or a literal, which have none.
  public var timeToLive: Nanoseconds
}

/// Why a name has no addresses.
public struct ResolveError: Error, Equatable, CustomStringConvertible {
  public enum Kind: Equatable, Sendable {
    /// The name does not exist, or has no address of the family: a definite answer.
    case notFound
    /// No server has answered in time.
    case timeout
    /// The servers failed, refused, or talked nonsense, or there are none.
    case serverFailure
    /// No name at all.
    case badName
    /// Too many names are being resolved.
    case overloaded
  }

  public let kind: Kind
  public let name: String
  let detail: String

  init(_ kind: Kind, _ name: String, _ detail: String) {
    self.kind = kind
    self.name = name
    self.detail = detail
  }

  init(status: Int32, _ name: String) {
    self.name = name
    detail = String(cString: ares_strerror(status))
    switch status {
    case ARES_ENODATA, ARES_ENOTFOUND: kind = .notFound
    case ARES_ETIMEOUT: kind = .timeout
    case ARES_EBADNAME: kind = .badName
    default: kind = .serverFailure
    }
  }

  /// `example.test: Domain name not found`
  public var description: String { "\(name): \(detail)" }
}
