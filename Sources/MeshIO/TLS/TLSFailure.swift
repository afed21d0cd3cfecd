internal import COpenSSL

/// Why a handshake, or a connection after it, failed.
public struct TLSFailure: Error, Equatable, Sendable {
  public enum Kind: Sendable, Equatable {
    /// What the peer sent is no TLS, or none that both ends speak; or the peer said (by an alert) that it does not like
    /// ours.
    case protocolError
    /// The peer showed no certificate where one is required.
    case certificateMissing
    /// The chain of the peer's certificate cannot be verified (authority, time, revocation, purpose).
    case certificateInvalid
    /// No name of the peer's certificate is one of those expected.
    case nameMismatch
    /// The peer's certificate is none of those pinned.
    case pinMismatch
    /// The connection ended in the middle.
    case closed
    /// OpenSSL could not make what it needed.
    case resources
  }

  public let kind: Kind
  /// As Envoy writes it: `TLS_error:|<code>:SSL routines:OPENSSL_internal:<REASON>:TLS_error_end`; empty where the
  /// connection ended.
  public let text: String

  init(_ kind: Kind, _ text: String = "") {
    self.kind = kind
    self.text = text
  }

  /// Takes what OpenSSL says.
  /// - Parameters:
  ///   - verification: what was wrong with the peer's certificate, if that was looked at.
  ///   - detail: in words, may be empty.
  static func fromErrorQueue(_ verification: Kind?, _ detail: String) -> TLSFailure {
    let entries = OpenSSLErrors.take()
    var kind = Kind.protocolError
    var text = "TLS_error:"
    for entry in entries {
      let reason = String(entry.reason.uppercased().map { $0 == " " ? "_" : $0 })
      text += "|\(code(entry)):\(entry.library):OPENSSL_internal:\(reason)"
      if entry.reasonNumber == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE { kind = .certificateMissing }
      if entry.reasonNumber == SSL_R_CERTIFICATE_VERIFY_FAILED { kind = verification ?? .certificateInvalid }
    }
    if !detail.isEmpty { text += ":\(detail)" }
    return TLSFailure(kind, "\(text):TLS_error_end")
  }

  /// BoringSSL's number of an error, which those who know Envoy's logs know. Its reasons are called as OpenSSL's, but some
  /// have other numbers; alerts have the same.
  private static func code(_ entry: OpenSSLErrors.Entry) -> UInt {
    let reason: Int32 =
      switch entry.reasonNumber {
      case SSL_R_CERTIFICATE_VERIFY_FAILED: 125
      case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC: 138
      case SSL_R_HTTP_REQUEST: 156
      case SSL_R_HTTPS_PROXY_REQUEST: 155
      case SSL_R_NO_SHARED_CIPHER: 184
      case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS: 253
      case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: 192
      case SSL_R_UNEXPECTED_MESSAGE: 223
      case SSL_R_UNSUPPORTED_PROTOCOL: 240
      case SSL_R_WRONG_VERSION_NUMBER: 247
      default: entry.reasonNumber
      }
    return 16 << 24 | UInt(UInt32(bitPattern: reason))
  }
}

/// How far a handshake has come.
public enum TLSHandshakeProgress: Equatable, Sendable {
  case done
  /// It goes on when the socket is ready.
  case wouldBlock
  case failed(TLSFailure)
}
