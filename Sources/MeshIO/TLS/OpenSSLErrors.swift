internal import COpenSSL

/// OpenSSL's queue of errors, which is each thread's own. Whoever calls OpenSSL and sees it fail empties the queue, so that
/// it is empty whenever a call begins: what is in it would be taken for that call's.
enum OpenSSLErrors {
  /// One entry.
  struct Entry: Equatable {
    let code: UInt
    let library: String
    /// In OpenSSL's words, `certificate verify failed`.
    let reason: String
    let reasonNumber: Int32
  }

  /// Empties the queue. - Returns: what was in it, oldest first.
  static func take() -> [Entry] {
    var entries: [Entry] = []
    while true {
      let code = ERR_get_error()
      if code == 0 { return entries }
      let library = ERR_lib_error_string(code).map { String(cString: $0) } ?? "unknown library"
      let number = copenssl_error_reason(code)
      // A system call's failure has its errno there.
      let reason =
        code & 0x8000_0000 != 0
        ? SystemError.text(Int32(truncatingIfNeeded: code & 0x7fff_ffff))
        : ERR_reason_error_string(code).map { String(cString: $0) } ?? "reason \(number)"
      entries.append(Entry(code: UInt(code), library: library, reason: reason, reasonNumber: number))
    }
  }

  /// Empties the queue. - Returns: the reasons, for a message.
  static func text() -> String {
    let entries = take()
    return entries.isEmpty ? "unknown error" : entries.map(\.reason).joined(separator: "; ")
  }
}
