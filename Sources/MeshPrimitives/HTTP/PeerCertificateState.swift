/// What is known of the certificate of whoever sent a request.
public struct PeerCertificateState: OptionSet, Sendable {
  public let rawValue: UInt8

  @inlinable @inline(__always)
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// There is one.
  public static let presented = PeerCertificateState(rawValue: 1)
  /// It was verified, and found good.
  public static let validated = PeerCertificateState(rawValue: 2)
}
