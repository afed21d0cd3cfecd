import MeshPrimitives

internal import COpenSSL

/// TLS over one connection: OpenSSL's state, and the ciphertext that one side has and the other does not want yet. It
/// reads and writes memory only; the transport that owns it moves bytes. Confined to its event loop's thread.
public final class TLSSession {
  let ssl: OpaquePointer
  public let context: TLSContext
  let wire: UnsafeMutablePointer<TLSWire>
  let pool: BufferPool
  let startedAt: MonotonicTime
  /// Ciphertext that was received before anybody wanted what is in it.
  var input = ByteQueue()
  /// Ciphertext that the kernel has not taken.
  var output = ByteQueue()
  /// Names of which the peer's certificate must have one, if there are any.
  private let expectedNames: [String]
  /// What belongs together in the memory of sessions.
  private let sessionTarget: String
  /// What was wrong with the peer's certificate.
  private(set) var rejection: (kind: TLSFailure.Kind, text: String)?
  public private(set) var isEstablished = false
  /// Nothing can be read or written any more.
  private(set) var isBroken = false
  /// The peer has said that it will send no more.
  private(set) var isEnded = false
  private var isClosing = false
  /// It stands in the queue of `HandshakeTurns`.
  var waitsForTurn = false

  /// The server's end of a connection; nil if there is no memory for it.
  public convenience init?(server context: TLSContext, loop: EventLoop) {
    self.init(context, loop, TLSClientTarget())
    SSL_set_accept_state(ssl)
  }

  /// The client's end; nil if there is no memory for it, or the name cannot be asked for.
  public convenience init?(client context: TLSContext, target: TLSClientTarget, loop: EventLoop) {
    self.init(context, loop, target)
    SSL_set_connect_state(ssl)
    if !target.serverName.isEmpty, IPAddress(target.serverName) == nil,
      copenssl_set_host_name(ssl, target.serverName) != 1
    {
      _ = OpenSSLErrors.take()
      return nil
    }
    if !target.applicationProtocols.isEmpty, context.applicationProtocols.isEmpty || target.overridesProtocols,
      let protocols = try? TLSContext.wire(target.applicationProtocols)
    {
      SSL_set_alpn_protos(ssl, protocols, UInt32(protocols.count))
    }
    if !target.expectedNames.isEmpty { SSL_set_verify(ssl, SSL_VERIFY_PEER, nil) }
    context.sessions?.offer(ssl, for: sessionTarget)
  }

  private init?(_ context: TLSContext, _ loop: EventLoop, _ target: TLSClientTarget) {
    self.context = context
    expectedNames = target.expectedNames
    sessionTarget = ([target.serverName] + target.expectedNames).joined(separator: "\n")
    wire = loop.tlsWire
    pool = loop.bufferPool
    startedAt = loop.now
    guard let ssl = SSL_new(context.ctx) else {
      _ = OpenSSLErrors.take()
      return nil
    }
    self.ssl = ssl
    guard let bio = TLSWire.makeBIO(wire) else { return nil }
    SSL_set_bio(ssl, bio, bio)
    SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(self).toOpaque())
  }

  deinit { SSL_free(ssl) }

  /// The session that OpenSSL calls back for.
  static func of(_ ssl: OpaquePointer?) -> TLSSession? {
    guard let ssl, let data = SSL_get_ex_data(ssl, 0) else { return nil }
    return Unmanaged<TLSSession>.fromOpaque(data).takeUnretainedValue()
  }

  // MARK: The wire

  /// What happened to a read or a handshake's step.
  enum Outcome: Equatable {
    /// So many bytes, at least one; of a handshake: it is done.
    case progress(Int)
    /// Nothing can be done without more ciphertext.
    case needsInput
    /// The peer has ended its direction in good order.
    case ended
    case broken
  }

  /// Whether a read could give bytes without more ciphertext, or has to say how the connection ended.
  var hasReadable: Bool { wire.pointee.inputCount > 0 || isEnded || isBroken || SSL_pending(ssl) > 0 }

  /// Decrypts into `buffer`.
  @inline(__always)
  func read(_ buffer: UnsafeMutablePointer<UInt8>, _ capacity: Int) -> Outcome {
    if isBroken { return .broken }
    if isEnded { return .ended }
    let result = SSL_read(ssl, buffer, Int32(clamping: capacity))
    return result > 0 ? .progress(Int(result)) : explain(result)
  }

  /// Seals `bytes`; the ciphertext is in the wire's output then. False if the session is broken.
  @inline(__always)
  func seal(_ bytes: Bytes) -> Bool {
    guard !isBroken, !isClosing, let base = bytes.baseAddress else { return !isBroken && bytes.count == 0 }
    // The wire takes everything, so this is all or nothing.
    if SSL_write(ssl, base, Int32(clamping: bytes.count)) == Int32(clamping: bytes.count) { return true }
    markBroken()
    return false
  }

  /// One step of the handshake, as far as the ciphertext that is there goes.
  func step() -> Outcome {
    if isBroken { return .broken }
    let result = SSL_do_handshake(ssl)
    guard result == 1 else { return explain(result) }
    isEstablished = true
    return .progress(0)
  }

  /// Why the last step failed. Once.
  func failure() -> TLSFailure {
    TLSFailure.fromErrorQueue(rejection?.kind, rejection?.text ?? "")
  }

  /// What is said last: nothing more comes from this side. In the wire's output then.
  func sayGoodbye() {
    guard isEstablished, !isBroken, !isClosing else { return }
    isClosing = true
    if SSL_shutdown(ssl) < 0 { markBroken() }
  }

  @inline(never)
  private func explain(_ result: Int32) -> Outcome {
    switch SSL_get_error(ssl, result) {
    case SSL_ERROR_WANT_READ: return .needsInput
    case SSL_ERROR_ZERO_RETURN:
      isEnded = true
      return .ended
    default:
      // During a handshake the reason is still to be told.
      if isEstablished { _ = OpenSSLErrors.take() }
      isBroken = true
      return .broken
    }
  }

  private func markBroken() {
    _ = OpenSSLErrors.take()
    isBroken = true
  }

  // MARK: What OpenSSL asks

  /// A new session has come from the server. - Returns: whether it is ours to free now.
  func keep(_ session: OpaquePointer?) -> Bool {
    guard let session, let sessions = context.sessions, SSL_SESSION_is_resumable(session) == 1 else { return false }
    sessions.keep(session, for: sessionTarget)
    return true
  }

  /// Picks the first of our protocols that the client offers (RFC 7301 §3.2). Without any in common the handshake goes on
  /// without one, as in Envoy.
  func chooseProtocol(
    _ offered: Bytes, _ out: UnsafeMutablePointer<UnsafePointer<UInt8>?>, _ length: UnsafeMutablePointer<UInt8>
  ) -> Int32 {
    context.applicationProtocols.withUnsafeBufferPointer { ours in
      var mine = 0
      while mine < ours.count {
        let wanted = ours.slice(mine + 1, Int(ours[mine]))
        var theirs = 0
        while theirs < offered.count {
          let size = Int(offered[theirs])
          guard size > 0, theirs + 1 + size <= offered.count else { break }
          let name = offered.slice(theirs + 1, size)
          if name.equals(wanted) {
            // Into the client's hello, which OpenSSL copies from before it goes.
            out.pointee = name.baseAddress
            length.pointee = UInt8(size)
            return SSL_TLSEXT_ERR_OK
          }
          theirs += 1 + size
        }
        mine += 1 + wanted.count
      }
      return SSL_TLSEXT_ERR_NOACK
    }
  }

  /// OpenSSL has read the client's hello and wants to know which certificate it gets.
  static func chooseCertificate(_ ssl: OpaquePointer) -> Int32 {
    guard let session = of(ssl), let choice = session.context.choice else { return 0 }
    let name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) } ?? ""
    let index = choice.index(forName: name, takesECDSA: session.peerTakesECDSA)
    // The first is there already.
    guard index > 0 else { return 1 }
    let certificate = session.context.certificates[index]
    SSL_certs_clear(ssl)
    guard let chain = copenssl_new_chain() else { return 0 }
    defer { copenssl_free_chain(chain) }
    for issuer in certificate.issuers { copenssl_chain_push(chain, issuer) }
    return SSL_use_cert_and_key(ssl, certificate.leaf, certificate.key, chain, 1)
  }

  private var peerTakesECDSA: Bool {
    var signs = false
    var index: Int32 = 0
    var sign: Int32 = 0
    while SSL_get_sigalgs(ssl, index, &sign, nil, nil, nil, nil) > index {
      if sign == NID_X9_62_id_ecPublicKey {
        signs = true
        break
      }
      index += 1
    }
    guard signs, SSL_version(ssl) < TLS1_3_VERSION else { return signs }
    guard let ciphers = SSL_get_client_ciphers(ssl) else { return false }
    for index in 0..<copenssl_cipher_count(ciphers) {
      if let cipher = copenssl_cipher_at(ciphers, index), SSL_CIPHER_get_auth_nid(cipher) == NID_auth_ecdsa {
        return true
      }
    }
    return false
  }

  /// OpenSSL has the peer's certificate. - Returns: 1 if it is good enough.
  static func verifyPeer(_ store: OpaquePointer) -> Int32 {
    guard let ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()) else { return 0 }
    return of(OpaquePointer(ssl))?.verify(store) == true ? 1 : 0
  }

  private func verify(_ store: OpaquePointer) -> Bool {
    let verification = context.verification ?? PeerVerification()
    if verification.trustedCA != nil, X509_verify_cert(store) != 1 {
      let code = X509_STORE_CTX_get_error(store)
      let reason = X509_verify_cert_error_string(Int(code)).map { String(cString: $0) } ?? ""
      rejection = (
        .certificateInvalid,
        "verify cert failed: X509_verify_cert: certificate verification error at depth "
          + "\(X509_STORE_CTX_get_error_depth(store)): \(reason)"
      )
      return verification.acceptsUntrusted
    }
    if let limit = verification.maximumDepth, let chain = X509_STORE_CTX_get0_chain(store),
      copenssl_certificate_count(chain) - 1 > limit
    {
      rejection = (.certificateInvalid, "verify cert failed: certificate chain too long")
      X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_CHAIN_TOO_LONG)
      return verification.acceptsUntrusted
    }
    guard let certificate = X509_STORE_CTX_get0_cert(store) else { return false }
    guard let wrong = verification.judge(certificate, expected: expectedNames) else {
      X509_STORE_CTX_set_error(store, X509_V_OK)
      return true
    }
    rejection = wrong
    // The peer is told certificate_unknown, as by BoringSSL: OpenSSL has no alert of its own for this error.
    X509_STORE_CTX_set_error(store, X509_V_ERR_PERMITTED_VIOLATION)
    return verification.acceptsUntrusted
  }
}
