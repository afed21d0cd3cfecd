internal import COpenSSL

/// Sessions that servers have offered to resume, the newest first, for the next connections of all workers (Envoy's
/// `max_session_keys`). A session is used once: its ticket would tell who watches that two connections are one client's
/// (RFC 8446 §C.4), and TLS 1.3 servers send new ones. Any thread.
final class TLSClientSessions: Sendable {
  /// Holds an `SSL_SESSION`.
  private final class Kept: @unchecked Sendable {
    // SAFETY: OpenSSL counts a session's references with atomics; the session is not changed once it is here.
    let session: OpaquePointer
    let target: String
    init(_ session: OpaquePointer, _ target: String) {
      self.session = session
      self.target = target
    }
    deinit { SSL_SESSION_free(session) }
  }

  private let limit: Int
  private let kept = Locked<[Kept]>([])

  init(limit: Int) { self.limit = limit }

  /// Takes over a session that was made with a server of this name (and what else was expected of it).
  func keep(_ session: OpaquePointer, for target: String) {
    let new = Kept(session, target)
    kept.withLock { kept in
      kept.insert(new, at: 0)
      if kept.count > limit { kept.removeLast() }
    }
  }

  /// Makes a connection offer the newest session for this name.
  func offer(_ ssl: OpaquePointer, for target: String) {
    let found = kept.withLock { kept -> Kept? in
      guard let index = kept.firstIndex(where: { $0.target == target }) else { return nil }
      // TLS 1.2 sessions may be used again and again.
      return SSL_SESSION_get_protocol_version(kept[index].session) == TLS1_3_VERSION
        ? kept.remove(at: index) : kept[index]
    }
    if let found { SSL_set_session(ssl, found.session) }
  }
}
