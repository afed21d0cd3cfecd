import MeshPrimitives

/// What the Connection field of a message asked for.
struct ConnectionOptions {
  var close = false
  var keepAlive = false
  var upgrade = false
}

/// Whose message is read: their rules differ in what a peer may be trusted with.
enum HTTP1Direction {
  case request, response
}

extension HeaderIDSet {
  /// Fields that `HeaderMap.takeConnection` reads or removes.
  @inline(__always)
  static var http1HopByHop: HeaderIDSet {
    HeaderIDSet().adding(.connection).adding(.keepAlive).adding(.proxyConnection).adding(.te).adding(.upgrade)
      .adding(.http2Settings)
  }

  /// Fields that a message must not be forwarded with, or that decide its framing.
  @inline(__always)
  static var http1Special: HeaderIDSet {
    http1HopByHop.adding(.transferEncoding).adding(.contentLength).adding(.expect)
  }
}

extension HeaderMap {
  // MARK: Framing

  /// What Transfer-Encoding and Content-Length say (RFC 9112 §6.3); nil if there is neither. Transfer-Encoding is removed,
  /// Content-Length loses leading zeros.
  func takeFraming(minorVersion: UInt8) throws(HTTP1Error) -> BodyFraming? {
    if let coding = value(.transferEncoding) {
      if has(.contentLength) { throw .contentLengthAndTransferEncoding }
      if minorVersion == 0 { throw .transferEncodingInHTTP10 }
      if isRepeated(.transferEncoding) { throw .duplicateTransferEncoding }
      if !ByteScan.equalsFolded(coding, "chunked") { throw Self.transferEncodingError(coding) }
      remove(.transferEncoding)
      return .chunked
    }
    guard let digits = value(.contentLength) else { return nil }
    if isRepeated(.contentLength) { throw .duplicateContentLength }
    if digits.count == 0 { throw .invalidContentLength }
    var length: UInt64 = 0
    for (index, byte) in digits.enumerated() {
      guard ByteScan.isDigit(byte) else { throw .invalidContentLength }
      // Nineteen digits cannot overflow 64 bits.
      if index < 19 { length = length &* 10 &+ UInt64(byte &- 0x30) }
    }
    if digits.count > 19 || length > UInt64(Int64.max) { throw .contentLengthTooLarge }
    if digits[0] == 0x30, digits.count > 1 { setContentLength(length) }
    return .length(length)
  }

  /// Writes `length` as the only Content-Length.
  func setContentLength(_ length: UInt64) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
      guard let start = digits.baseAddress else { return }
      let end = HTTP1Encoder.writeDecimal(length, start)
      set(.contentLength, Bytes(start: start, count: end - start))
    }
  }

  /// Why a Transfer-Encoding other than `chunked` is refused. RFC 9112 §6.3: where `chunked` is not the last coding, no
  /// length can be found (400); where others precede it, they are not understood (501).
  private static func transferEncodingError(_ value: Bytes) -> HTTP1Error {
    var isLastChunked = false
    var chunkedCount = 0
    var start = 0
    while start <= value.count {
      var end = start
      while end < value.count, value[end] != 0x2c { end += 1 }
      let coding = trimmed(value.slice(start, end - start))
      if !ByteScan.isToken(coding) { return .invalidTransferEncoding }
      isLastChunked = ByteScan.equalsFolded(coding, "chunked")
      if isLastChunked { chunkedCount += 1 }
      start = end + 1
    }
    return isLastChunked && chunkedCount == 1 ? .unsupportedTransferEncoding : .invalidTransferEncoding
  }

  // MARK: Hop-by-hop fields

  /// Reads Connection and removes the fields it names, then every hop-by-hop field (RFC 9110 §7.6.1).
  ///
  /// A request must not strip what routing, framing, credentials or trust depend on by naming it here: `host`,
  /// `content-length`, `authorization`, `cookie`, `forwarded`, `x-forwarded-*` and `x-envoy-*` are refused, and so are ten
  /// options or more. (Envoy refuses `x-forwarded-*` and ten or more, and removes all else.) From a response they are
  /// removed like any other, `content-length` excepted: framing is not the server's to hide.
  ///
  /// Trailer is an end-to-end field (RFC 9110 §6.6.2) and stays. So does Upgrade where Connection names it: whoever reads
  /// the message decides whether it may. `te: trailers` of a request stays for an upstream of HTTP/2 (RFC 9113 §8.2.2), for
  /// which it is no field of a connection; by HTTP/1.1 it is not sent. An upgrade to `h2c`, which servers may ignore and RFC 9113 has withdrawn, is none.
  func takeConnection(_ direction: HTTP1Direction) throws(HTTP1Error) -> ConnectionOptions {
    var options = ConnectionOptions()
    if let value = value(.connection) {
      if !isRepeated(.connection), ByteScan.equalsFolded(value, "keep-alive") {
        options.keepAlive = true
      } else if !isRepeated(.connection), ByteScan.equalsFolded(value, "close") {
        options.close = true
      } else {
        try readConnection(direction, &options)
      }
      remove(.connection)
    }
    if let name = value(.upgrade) {
      if !options.upgrade || ByteScan.equalsFolded(name, "h2c") {
        remove(.upgrade)
        options.upgrade = false
      }
    } else {
      options.upgrade = false
    }
    remove(.keepAlive)
    remove(.proxyConnection)
    if direction == .request, takesTrailers { holdBack(.te) } else { remove(.te) }
    remove(.http2Settings)
    return options
  }

  /// TE says `trailers` and nothing else.
  private var takesTrailers: Bool {
    guard let value = value(.te), !isRepeated(.te) else { return false }
    return ByteScan.equalsFolded(value, "trailers")
  }

  private func readConnection(_ direction: HTTP1Direction, _ options: inout ConnectionOptions) throws(HTTP1Error) {
    var count = 0
    for index in 0..<entryCount where entries[index].id == .connection && entries[index].isLive {
      let value = value(entries[index])
      var start = 0
      while start < value.count {
        var end = start
        while end < value.count, value[end] != 0x2c { end += 1 }
        let option = Self.trimmed(value.slice(start, end - start))
        start = end + 1
        // RFC 9110 §5.6.1.2: empty list elements are ignored.
        if option.count == 0 { continue }
        count += 1
        if count >= 10 { throw .tooManyConnectionOptions }
        if !ByteScan.isToken(option) { throw .invalidConnection }
        if ByteScan.equalsFolded(option, "close") {
          options.close = true
        } else if ByteScan.equalsFolded(option, "keep-alive") {
          options.keepAlive = true
        } else if ByteScan.equalsFolded(option, "upgrade") {
          options.upgrade = true
        } else {
          try removeNominated(option, direction)
        }
      }
    }
  }

  private func removeNominated(_ option: Bytes, _ direction: HTTP1Direction) throws(HTTP1Error) {
    // Names in the map are lower-case; the option is brought to lower case where it lies: the field is removed next.
    if let start = UnsafeMutablePointer(mutating: option.baseAddress) {
      for i in 0..<option.count { start[i] = start[i].asciiLowercased }
    }
    let id = HeaderID.identify(option)
    switch id {
    case .connection, .transferEncoding, .te: return
    case .contentLength where direction == .response: return
    default: break
    }
    if direction == .request, Self.isProtected(option, id) { throw .protectedConnectionOption }
    if id == .other { removeUninterned(option) } else { remove(id) }
  }

  private static func isProtected(_ name: Bytes, _ id: HeaderID) -> Bool {
    switch id {
    case .host, .contentLength, .authorization, .cookie: true
    default:
      name.starts(with: Bytes("x-forwarded-")) || name.starts(with: Bytes("x-envoy-")) || name.equals("forwarded")
    }
  }

  /// Without the blanks around.
  static func trimmed(_ bytes: Bytes) -> Bytes {
    var start = 0
    var end = bytes.count
    while start < end, ByteScan.isBlank(bytes[start]) { start += 1 }
    while end > start, ByteScan.isBlank(bytes[end - 1]) { end -= 1 }
    return bytes.slice(start, end - start)
  }
}
