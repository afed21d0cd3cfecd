import MeshPrimitives

/// Reads request heads by RFC 9112, and refuses everything that two implementations could read differently.
///
/// Call `parse` with what has arrived, from the first byte not consumed; while it is `.incomplete`, with the same bytes and
/// more behind them. After `.complete` consume `headLength` bytes; the map then holds `:method`, `:path` (and `:scheme` for an
/// absolute target), `host` as the authority, and the end-to-end fields. After `.invalid` nothing is known about what
/// follows. A value type of a few words, one per connection, which holds no bytes itself.
public struct HTTP1RequestParser {
  private let maxHeadBytes: UInt32
  private let maxFields: UInt32
  private let maxTargetBytes: UInt32
  private let maxMethodBytes: UInt32
  private let maxEmptyLines: UInt32
  private let acceptsHTTP10: Bool
  private var progress = HeadProgress()

  /// - Parameter acceptsHTTP10: requests by HTTP/1.0 are read, too; of these one may come without `host`.
  public init(limits: HTTP1Limits = HTTP1Limits(), acceptsHTTP10: Bool = false) {
    self.acceptsHTTP10 = acceptsHTTP10
    maxHeadBytes = UInt32(clamping: limits.maxHeadBytes)
    maxFields = UInt32(clamping: limits.maxFields)
    maxTargetBytes = UInt32(clamping: limits.maxTargetBytes)
    maxMethodBytes = UInt32(clamping: limits.maxMethodBytes)
    maxEmptyLines = UInt32(clamping: limits.maxEmptyLines)
  }

  /// Forgets an incomplete head.
  public mutating func reset() { progress.reset() }

  /// Bytes looked at on behalf of incomplete heads.
  var bytesExamined: UInt64 { progress.bytesExamined }

  /// Reads one head from the start of `bytes` into `headers`, which is emptied first. `headers` and `head` mean nothing
  /// unless the result is `.complete`.
  public mutating func parse(
    _ bytes: Bytes, into headers: HeaderMap, head: inout HTTP1RequestHead
  ) -> HTTP1ParseResult {
    let n = bytes.count
    guard let p = bytes.baseAddress, n > 0 else { return .incomplete }
    guard progress.shouldParse(p, n, limit: Int(maxHeadBytes)) else { return .incomplete }
    headers.removeAll()
    head = HTTP1RequestHead()
    // A head begins where the empty lines end (RFC 9112 §2.2).
    var start = 0
    if p[0] == 0x0d || p[0] == 0x0a {
      switch skipEmptyLines(p, n) {
      case .end(let next): start = next
      case .incomplete:
        progress.noteIncomplete(p, n)
        return .incomplete
      case .invalid(let error): return fail(error)
      }
    }
    let limit = Int(maxHeadBytes)
    let end = n &- start > limit ? start &+ limit : n
    switch read(p, start, end, headers, &head) {
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

  /// `.end` is the index of the request line's first byte.
  @inline(never)
  private func skipEmptyLines(_ p: UnsafePointer<UInt8>, _ n: Int) -> FieldSection {
    var i = 0
    var lines = 0
    while i < n {
      if p[i] == 0x0a { return .invalid(.bareLF) }
      if p[i] != 0x0d { return .end(i) }
      if lines == Int(maxEmptyLines) { return .invalid(.tooManyEmptyLines) }
      if i + 1 == n { break }
      if p[i + 1] != 0x0a { return .invalid(.bareCR) }
      lines += 1
      i += 2
    }
    return .incomplete
  }

  // MARK: Request line

  @inline(__always)
  private func read(
    _ p: UnsafePointer<UInt8>, _ start: Int, _ n: Int, _ headers: HeaderMap, _ head: inout HTTP1RequestHead
  ) -> FieldSection {
    // `GET / HTTP/1.1` and its line end are sixteen bytes.
    if n &- start < 16 { return readBeginning(p, start, n) }
    let methodLength: Int
    let word = ByteScan.load8(p, start)
    if word & 0xffff_ffff == 0x2054_4547 {  // "GET "
      head.method = .get
      methodLength = 3
    } else if word & 0xff_ffff_ffff == 0x20_5453_4f50 {  // "POST "
      head.method = .post
      methodLength = 4
    } else {
      switch readMethod(p, start, n) {
      case .end(let end): methodLength = end &- start
      case let other: return other
      }
      head.method = HTTPMethod(Bytes(start: p + start, count: methodLength))
    }
    if methodLength <= 16 {
      headers.addPseudo(.method, ":method", p + start, methodLength)
    } else {
      headers.addChecked(.method, Bytes(start: p + start, count: methodLength))
    }

    let target = start &+ methodLength &+ 1
    let targetEnd = ByteScan.targetEnd(p, target, n)
    if targetEnd &- target > Int(maxTargetBytes) { return .invalid(.targetTooLong) }
    if targetEnd >= n { return .incomplete }
    if p[targetEnd] != 0x20 || targetEnd == target { return .invalid(Self.targetError(p[targetEnd])) }
    let version = targetEnd &+ 1
    // "HTTP/1.1"
    if version &+ 10 > n || ByteScan.load8(p, version) != 0x312e_312f_5054_5448 || p[version &+ 8] != 0x0d
      || p[version &+ 9] != 0x0a
    {
      let line = readVersion(p, version, n)
      guard case .end = line else { return line }
      head.minorVersion = 0
    }

    var authority: Bytes?
    if p[target] == 0x2f, head.method != .connect {
      if version &+ 16 <= n {
        headers.addPseudo(.path, ":path", p + target, targetEnd &- target)
      } else {
        headers.addChecked(.path, Bytes(start: p + target, count: targetEnd &- target))
      }
    } else {
      do throws(HTTP1Error) {
        authority = try readTarget(Bytes(start: p + target, count: targetEnd &- target), headers, &head)
      } catch {
        return .invalid(error)
      }
    }
    let pseudo = headers.entryCount
    let section = headers.readFieldSection(p, version &+ 10, n, maxFields: Int(maxFields))
    guard case .end(let end) = section else { return section }
    head.fieldBytes = UInt32(truncatingIfNeeded: end &- version &- 12 &- (headers.entryCount &- pseudo))
    do throws(HTTP1Error) {
      try Self.interpret(headers, authority, &head)
      return section
    } catch {
      return .invalid(error)
    }
  }

  /// Looks for what cannot be a request in fewer bytes than one has.
  @inline(never)
  private func readBeginning(_ p: UnsafePointer<UInt8>, _ start: Int, _ n: Int) -> FieldSection {
    guard case .end(let space) = readMethod(p, start, n) else { return readMethod(p, start, n) }
    let target = space + 1
    var i = target
    while i < n, ByteScan.isTarget(p[i]) { i += 1 }
    if i - target > Int(maxTargetBytes) { return .invalid(.targetTooLong) }
    if i >= n { return .incomplete }
    if p[i] != 0x20 || i == target { return .invalid(Self.targetError(p[i])) }
    if case .invalid(let error) = readVersion(p, i + 1, n) { return .invalid(error) }
    return .incomplete
  }

  /// `.end` is the index of the space behind the method.
  @inline(never)
  private func readMethod(_ p: UnsafePointer<UInt8>, _ start: Int, _ n: Int) -> FieldSection {
    var i = start
    while i < n, ByteScan.isToken(p[i]) {
      if i - start == Int(maxMethodBytes) { return .invalid(.methodTooLong) }
      i += 1
    }
    if i >= n { return .incomplete }
    return p[i] == 0x20 && i > start ? .end(i) : .invalid(.invalidMethod)
  }

  /// Why a target cannot end with this byte. A line end there: the version is missing.
  private static func targetError(_ byte: UInt8) -> HTTP1Error {
    byte == 0x0d || byte == 0x0a ? .malformedVersion : .invalidTarget
  }

  /// What a version means that is not `HTTP/1.1` CR LF, or not whole. `.end` if it is HTTP/1.0, and that is accepted.
  @inline(never)
  private func readVersion(_ p: UnsafePointer<UInt8>, _ start: Int, _ n: Int) -> FieldSection {
    let name = Bytes("HTTP/")
    for k in 0..<10 {
      if start + k >= n { return .incomplete }
      let byte = p[start + k]
      switch k {
      case 0..<5: if byte != name[k] { return .invalid(.malformedVersion) }
      case 6: if byte != 0x2e { return .invalid(.malformedVersion) }
      case 5, 7: if !ByteScan.isDigit(byte) { return .invalid(.malformedVersion) }
      case 8:
        if byte == 0x0a { return .invalid(.bareLF) }
        if byte != 0x0d { return .invalid(.malformedVersion) }
      default: if byte != 0x0a { return .invalid(.bareCR) }
      }
    }
    switch (p[start + 5], p[start + 7]) {
    case (0x31, 0x31): return .incomplete
    case (0x31, 0x30): return acceptsHTTP10 ? .end(start + 10) : .invalid(.http10NotAccepted)
    default: return .invalid(.unsupportedVersion)
    }
  }

  // MARK: Target

  /// Reads a target that is not in origin-form (RFC 9112 §3.2). Returns the authority it names.
  @inline(never)
  private func readTarget(
    _ target: Bytes, _ headers: HeaderMap, _ head: inout HTTP1RequestHead
  ) throws(HTTP1Error) -> Bytes? {
    if head.method == .connect {
      if target[0] == 0x2f || target[0] == 0x2a { throw .invalidTargetForm }
      head.targetForm = .authority
      head.tunnel = .connect
      return target
    }
    if target.equals("*") {
      guard head.method == .options else { throw .invalidTargetForm }
      head.targetForm = .asterisk
      headers.addChecked(.path, target)
      return nil
    }
    var colon = 0
    while colon < target.count, Self.isSchemeByte(target[colon]) { colon += 1 }
    guard colon > 0, target.slice(colon, target.count - colon).starts(with: Bytes("://")) else {
      throw .invalidTargetForm
    }
    let scheme = target.slice(0, colon)
    if scheme.equalsIgnoringCase("http") {
      headers.addChecked(.scheme, Bytes("http"))
    } else if scheme.equalsIgnoringCase("https") {
      headers.addChecked(.scheme, Bytes("https"))
    } else {
      throw .unsupportedScheme
    }
    head.targetForm = .absolute
    let start = colon + 3
    var end = start
    while end < target.count, target[end] != 0x2f, target[end] != 0x3f { end += 1 }
    let rest = target.slice(end, target.count - end)
    if rest.count == 0 {
      // RFC 9112 §3.2.4: an OPTIONS without path and query is about the server itself.
      headers.addChecked(.path, head.method == .options ? Bytes("*") : Bytes("/"))
    } else if rest[0] == 0x2f {
      headers.addChecked(.path, rest)
    } else {
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: rest.count + 1) { path in
        path[0] = 0x2f
        for (index, byte) in rest.enumerated() { path[index + 1] = byte }
        headers.addChecked(.path, Bytes(start: path.baseAddress, count: rest.count + 1))
      }
    }
    return target.slice(start, end - start)
  }

  /// RFC 3986 §3.1.
  private static func isSchemeByte(_ byte: UInt8) -> Bool {
    (byte | 0x20) &- 0x61 < 26 || ByteScan.isDigit(byte) || byte == 0x2b || byte == 0x2d || byte == 0x2e
  }

  // MARK: Fields

  @inline(__always)
  private static func interpret(
    _ headers: HeaderMap, _ authority: Bytes?, _ head: inout HTTP1RequestHead
  ) throws(HTTP1Error) {
    if let host = headers.value(.host) {
      if headers.isRepeated(.host) { throw .duplicateHost }
      if !Authority.isValid(host) { throw .invalidHost }
    } else if head.minorVersion == 1 {
      throw .missingHost
    }
    if let authority { try useAuthority(authority, headers, head.targetForm) }
    // RFC 9112 §9.3: an HTTP/1.0 client that wants the connection to go on says so.
    if head.minorVersion == 0 { head.keepAlive = false }
    if headers.presence.intersects(.http1Special) { try interpretSpecial(headers, &head) }
  }

  /// RFC 9112 §3.2.2: the target's authority replaces Host.
  @inline(never)
  private static func useAuthority(
    _ authority: Bytes, _ headers: HeaderMap, _ form: HTTP1TargetForm
  ) throws(HTTP1Error) {
    headers.set(.host, authority)
    guard let host = headers.value(.host), Authority.isValid(host, requiresPort: form == .authority) else {
      throw .invalidAuthority
    }
  }

  @inline(never)
  private static func interpretSpecial(_ headers: HeaderMap, _ head: inout HTTP1RequestHead) throws(HTTP1Error) {
    head.framing = try headers.takeFraming(minorVersion: head.minorVersion) ?? .none
    let options = try headers.takeConnection(.request)
    let isHTTP10 = head.minorVersion == 0
    head.keepAlive = !options.close && (options.keepAlive || !isHTTP10)
    // RFC 9110 §7.8, §10.1.1: HTTP/1.0 has neither upgrades nor expectations. A CONNECT is a tunnel already.
    if options.upgrade {
      if isHTTP10 || head.tunnel == .connect { headers.remove(.upgrade) } else { head.tunnel = .upgrade }
    }
    if head.tunnel != .none {
      // What follows belongs to the tunnel. A body before it would be one party's body and another's tunnel.
      guard head.framing == .none || head.framing == .length(0) else { throw .tunnelWithBody }
      head.framing = .none
      headers.remove(.contentLength)
    }
    if let expectation = headers.value(.expect) {
      guard !headers.isRepeated(.expect), expectation.equalsIgnoringCase("100-continue") else {
        throw .unsupportedExpectation
      }
      headers.remove(.expect)
      // RFC 9110 §10.1.1: without content there is nothing to continue with.
      head.expectsContinue = !isHTTP10 && head.framing != .none && head.framing != .length(0)
    }
  }
}
