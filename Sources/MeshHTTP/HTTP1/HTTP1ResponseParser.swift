import MeshPrimitives

/// Reads response heads by RFC 9112. Used as `HTTP1RequestParser`; one call reads one head, and a 1xx is a head of its own.
/// After `.complete` the map holds `:status` and the end-to-end fields.
public struct HTTP1ResponseParser {
  private let maxHeadBytes: UInt32
  private let maxFields: UInt32
  private var progress = HeadProgress()

  public init(limits: HTTP1Limits = HTTP1Limits()) {
    maxHeadBytes = UInt32(clamping: limits.maxResponseHeadBytes)
    maxFields = UInt32(clamping: limits.maxFields)
  }

  /// Forgets an incomplete head.
  public mutating func reset() { progress.reset() }

  /// Bytes looked at on behalf of incomplete heads.
  var bytesExamined: UInt64 { progress.bytesExamined }

  /// Reads one head from the start of `bytes` into `headers`, which is emptied first. `requestMethod` is what this response
  /// answers: it decides about the body. `headers` and `head` mean nothing unless the result is `.complete`.
  public mutating func parse(
    _ bytes: Bytes, requestMethod: HTTPMethod, into headers: HeaderMap, head: inout HTTP1ResponseHead
  ) -> HTTP1ParseResult {
    let n = bytes.count
    guard let p = bytes.baseAddress, n > 0 else { return .incomplete }
    let limit = Int(maxHeadBytes)
    guard progress.shouldParse(p, n, limit: limit) else { return .incomplete }
    headers.removeAll()
    head = HTTP1ResponseHead()
    let end = min(n, limit)
    switch read(p, end, requestMethod, headers, &head) {
    case .end(let length):
      head.headLength = length
      progress.reset()
      return .complete
    case .incomplete:
      if end < n { return fail(.headTooLarge) }
      progress.noteIncomplete(p, n)
      return .incomplete
    case .invalid(let error): return fail(error)
    }
  }

  @inline(never)
  private mutating func fail(_ error: HTTP1Error) -> HTTP1ParseResult {
    progress.reset()
    return .invalid(error)
  }

  @inline(__always)
  private func read(
    _ p: UnsafePointer<UInt8>, _ n: Int, _ requestMethod: HTTPMethod, _ headers: HeaderMap,
    _ head: inout HTTP1ResponseHead
  ) -> FieldSection {
    // `HTTP/1.1 200` and its line end are fourteen bytes.
    if n < 14 { return Self.readBeginning(p, n) }
    // "HTTP/1." and a digit
    guard ByteScan.load8(p, 0) & 0x00ff_ffff_ffff_ffff == 0x002e_312f_5054_5448, p[7] &- 0x30 <= 1, p[8] == 0x20,
      ByteScan.isDigit(p[9]), ByteScan.isDigit(p[10]), ByteScan.isDigit(p[11])
    else { return .invalid(.invalidStatusLine) }
    head.minorVersion = p[7] &- 0x30
    head.status = Int(p[9] &- 0x30) &* 100 &+ Int(p[10] &- 0x30) &* 10 &+ Int(p[11] &- 0x30)
    if head.status < 100 || head.status > 599 { return .invalid(.invalidStatus) }
    // The space before an absent reason is often left out, which is harmless.
    guard p[12] == 0x20 || p[12] == 0x0d else { return .invalid(.invalidStatusLine) }
    let lineEnd = ByteScan.valueEnd(p, 12, n)
    if lineEnd &+ 1 >= n || p[lineEnd] != 0x0d || p[lineEnd &+ 1] != 0x0a {
      return Self.unfinishedReason(p, lineEnd, n)
    }
    if n >= 25 {
      headers.addPseudo(.status, ":status", p + 9, 3)
    } else {
      headers.addChecked(.status, Bytes(start: p + 9, count: 3))
    }
    let section = headers.readFieldSection(p, lineEnd &+ 2, n, maxFields: Int(maxFields))
    guard case .end(let end) = section else { return section }
    // Besides the lines there is `:status` among the entries.
    head.fieldBytes = UInt32(truncatingIfNeeded: end &- lineEnd &- 4 &- (headers.entryCount &- 1))
    do throws(HTTP1Error) {
      try Self.interpret(headers, requestMethod, &head)
      return section
    } catch {
      return .invalid(error)
    }
  }

  /// Looks for what cannot be a response in fewer bytes than one has.
  @inline(never)
  private static func readBeginning(_ p: UnsafePointer<UInt8>, _ n: Int) -> FieldSection {
    let name = Bytes("HTTP/1.")
    for k in 0..<n {
      // In the order of `read`, so that a verdict does not depend on how much is there.
      if k == 11, ByteScan.isDigit(p[11]), p[9] == 0x30 || p[9] > 0x35 { return .invalid(.invalidStatus) }
      let isRight =
        switch k {
        case 0..<7: p[k] == name[k]
        case 7: p[k] == 0x30 || p[k] == 0x31
        case 8: p[k] == 0x20
        case 9..<12: ByteScan.isDigit(p[k])
        default: p[k] == 0x20 || p[k] == 0x0d
        }
      if !isRight { return .invalid(.invalidStatusLine) }
    }
    return .incomplete
  }

  @inline(never)
  private static func unfinishedReason(_ p: UnsafePointer<UInt8>, _ end: Int, _ n: Int) -> FieldSection {
    if end >= n { return .incomplete }
    switch p[end] {
    case 0x0d: return end + 1 == n ? .incomplete : .invalid(.bareCR)
    case 0x0a: return .invalid(.bareLF)
    default: return .invalid(.invalidStatusLine)
    }
  }

  // MARK: Fields

  @inline(__always)
  private static func interpret(
    _ headers: HeaderMap, _ requestMethod: HTTPMethod, _ head: inout HTTP1ResponseHead
  ) throws(HTTP1Error) {
    // The commonest response: a length and nothing else of note.
    var framing: BodyFraming?
    var options = ConnectionOptions()
    if headers.presence.intersects(.http1Special) {
      framing = try headers.takeFraming(minorVersion: head.minorVersion)
      if headers.presence.intersects(.http1HopByHop) {
        if let value = headers.value(.keepAlive) { head.keepAliveTimeout = keepAliveTimeout(value) }
        options = try headers.takeConnection(.response)
        if options.upgrade {
          head.upgrade = head.status == 101
          if !head.upgrade { headers.remove(.upgrade) }
        }
      }
    }
    head.keepAlive = head.minorVersion == 1 ? !options.close : options.keepAlive && !options.close
    if requestMethod == .head || head.status < 200 || head.status == 204 || head.status == 304
      || requestMethod == .connect
    {
      if try interpretBodiless(headers, requestMethod, framing, &head) { return }
    }
    if let framing {
      head.framing = framing
    } else {
      head.framing = .untilClose
      head.keepAlive = false
    }
  }

  /// RFC 9112 §6.3, rules 1 and 2: responses that have no body whatever their fields say. Whether this is one.
  @inline(never)
  private static func interpretBodiless(
    _ headers: HeaderMap, _ requestMethod: HTTPMethod, _ framing: BodyFraming?, _ head: inout HTTP1ResponseHead
  ) throws(HTTP1Error) -> Bool {
    let hasBody = framing != nil && framing != .length(0)
    if head.status < 200 {
      if hasBody { throw .informationalWithBody }
      headers.remove(.contentLength)
    } else if head.status == 204 {
      // Such a server may send the body it speaks of: the connection is not used again.
      if hasBody { head.keepAlive = false }
      headers.remove(.contentLength)
    } else if requestMethod == .connect, head.status != 304 {
      guard head.status < 300 else { return false }
      headers.remove(.contentLength)
    }
    // To HEAD, and in a 304, Content-Length is what a GET would have had (RFC 9110 §8.6): it stays.
    head.framing = .none
    return true
  }

  /// `timeout=` of a Keep-Alive field (RFC 2068 §19.7.1.1).
  @inline(never)
  private static func keepAliveTimeout(_ value: Bytes) -> Int? {
    var start = 0
    while start < value.count {
      var end = start
      while end < value.count, value[end] != 0x2c { end += 1 }
      let parameter = HeaderMap.trimmed(value.slice(start, end - start))
      start = end + 1
      guard parameter.count > 8, parameter.slice(0, 8).equalsIgnoringCase("timeout=") else { continue }
      var seconds = 0
      for byte in parameter.slice(8, parameter.count - 8) {
        guard ByteScan.isDigit(byte) else { return nil }
        seconds = min(seconds * 10 + Int(byte - 0x30), Int(Int32.max))
      }
      return seconds
    }
    return nil
  }
}
