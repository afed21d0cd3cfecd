import MeshPrimitives

/// Reads the fields of one header block, as HPACK hands them out, into a `HeaderMap`, and holds the rules of RFC 9113 §8.2
/// and §8.3. After the first breach it reads nothing more.
struct HTTP2HeadReader {
  enum Kind: UInt8 { case request, response, trailers }

  private(set) var kind = Kind.request
  /// The first rule that was broken.
  private(set) var error: HTTP2MessageError?
  /// Names and values and three bytes a field; see `WireBytes.headerReceived`.
  private(set) var fieldBytes: UInt32 = 0
  private(set) var status = 0
  private var fields: UInt32 = 0
  private var hasField = false
  private var hasAuthority = false
  private var maximumBytes: UInt32 = 0
  private var maximumFields: UInt32 = 0
  private var maximumPath: UInt32 = 0

  init() {}

  /// Begins a block. A map that is read into is empty.
  init(_ kind: Kind, limits: HTTP1Limits) {
    self.kind = kind
    maximumBytes = UInt32(
      clamping: kind == .request
        ? limits.maxHeadBytes : kind == .response ? limits.maxResponseHeadBytes : limits.maxTrailerBytes)
    maximumFields = UInt32(clamping: kind == .trailers ? limits.maxTrailerFields : limits.maxFields)
    maximumPath = UInt32(clamping: limits.maxTargetBytes)
  }

  /// Takes one field. `name` and `value` lie outside the map.
  @inline(__always)
  mutating func read(_ name: Bytes, _ value: Bytes, _ map: HeaderMap) {
    guard error == nil else { return }
    // What HPACK makes of few bytes counts as what it makes of them.
    let size = UInt32(clamping: name.count &+ value.count &+ 4)
    guard size <= maximumBytes, fieldBytes <= maximumBytes &- size else {
      error = .headTooLarge
      return
    }
    fieldBytes &+= size &- 1
    if name.count > 0, name[0] == 0x3a {
      readPseudo(name, value, map)
    } else {
      readField(name, value, map)
    }
  }

  // MARK: Fields

  @inline(__always)
  private mutating func readField(_ name: Bytes, _ value: Bytes, _ map: HeaderMap) {
    hasField = true
    let id = HeaderID.identify(name)
    // A cookie that came in parts is one field (§8.2.3).
    if id != .cookie || !map.has(.cookie) {
      guard fields < maximumFields else {
        error = .tooManyFields
        return
      }
      fields &+= 1
    }
    if id == .other {
      guard Self.isName(name) else {
        error = .invalidName
        return
      }
    } else if HeaderIDSet.http2Special.contains(id), !readSpecial(id, value, map) {
      return
    }
    if !map.addReceived(id, name, value) { error = .invalidValue }
    if kind == .trailers { map.dropForbiddenTrailers() }
  }

  /// A token without upper-case letters.
  @inline(__always)
  private static func isName(_ name: Bytes) -> Bool {
    guard name.count > 0 else { return false }
    for byte in name where !ByteScan.isToken(byte) || byte &- 0x41 < 26 { return false }
    return true
  }

  /// Fields with rules of their own. Returns whether the field is to be added.
  @inline(never)
  private mutating func readSpecial(_ id: HeaderID, _ value: Bytes, _ map: HeaderMap) -> Bool {
    switch id {
    case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade:
      error = .connectionSpecificField
    case .http2Settings: break
    case .te:
      if kind == .request, !value.equalsIgnoringCase("trailers") { error = .connectionSpecificField }
      return error == nil && kind == .request && !map.has(.te)
    case .contentLength:
      if kind == .trailers {
        error = .connectionSpecificField
        return false
      }
      var length: UInt64 = 0
      guard !map.has(.contentLength), value.count > 0, value.count <= 19 else {
        error = .invalidContentLength
        return false
      }
      for byte in value {
        guard ByteScan.isDigit(byte) else {
          error = .invalidContentLength
          return false
        }
        length = length &* 10 &+ UInt64(byte &- 0x30)
      }
      if length > UInt64(Int64.max) { error = .invalidContentLength }
      return error == nil
    case .host:
      if kind == .trailers { error = .connectionSpecificField }
      if kind != .request { return error == nil }
      guard hasAuthority, let authority = map.value(.host) else {
        if map.has(.host) { error = .differentAuthorities }
        return error == nil
      }
      // The same said twice is said once.
      if !Self.areSame(authority, value) { error = .differentAuthorities }
    default: return true
    }
    return false
  }

  private static func areSame(_ one: Bytes, _ other: Bytes) -> Bool {
    one.count == other.count && zip(one, other).allSatisfy { $0.asciiLowercased == $1.asciiLowercased }
  }

  // MARK: Pseudo headers

  @inline(__always)
  private mutating func readPseudo(_ name: Bytes, _ value: Bytes, _ map: HeaderMap) {
    if hasField || kind == .trailers {
      error = hasField ? .latePseudoHeader : .unknownPseudoHeader
      return
    }
    if kind == .response { return readStatus(name, value, map) }
    let id: HeaderID
    switch name.count {
    case 5 where name.equals(":path"):
      id = .path
      if value.count > Int(maximumPath) {
        error = .pathTooLong
      } else if value.count == 0 || !ByteScan.isTarget(value) {
        error = .invalidPath
      } else if value[0] != 0x2f, !value.equals("*") {
        error = .relativePath
      }
    case 7 where name.equals(":method"):
      id = .method
      if !ByteScan.isToken(value) { error = .invalidMethod }
    case 7 where name.equals(":scheme"):
      id = .scheme
      if !value.equals("https"), !value.equals("http") { error = .invalidScheme }
    case 9 where name.equals(":protocol"):
      id = .protocol
      if !ByteScan.isToken(value) { error = .invalidValue }
    case 10 where name.equals(":authority"): return readAuthority(value, map)
    default:
      error = .unknownPseudoHeader
      return
    }
    guard error == nil else { return }
    guard !map.has(id) else {
      error = .duplicatePseudoHeader
      return
    }
    map.addChecked(id, value)
  }

  private mutating func readAuthority(_ value: Bytes, _ map: HeaderMap) {
    guard !hasAuthority else {
      error = .duplicatePseudoHeader
      return
    }
    hasAuthority = true
    if !map.addReceived(.host, Bytes("host"), value) { error = .invalidAuthority }
  }

  @inline(never)
  private mutating func readStatus(_ name: Bytes, _ value: Bytes, _ map: HeaderMap) {
    guard name.equals(":status") else {
      error = .unknownPseudoHeader
      return
    }
    guard status == 0 else {
      error = .duplicatePseudoHeader
      return
    }
    guard value.count == 3, value.allSatisfy({ ByteScan.isDigit($0) }) else {
      error = .invalidStatus
      return
    }
    status = value.reduce(0) { $0 * 10 + Int($1 &- 0x30) }
    if status < 100 || status > 599 || status == 101 { error = .invalidStatus }
  }

  // MARK: The whole

  /// What the head of a request says once its block is complete; nil: `error` has the reason.
  mutating func finishRequest(_ map: HeaderMap, endStream: Bool, limits: HTTP1Limits) -> RequestStart? {
    guard error == nil else { return nil }
    guard let methodName = map.value(.method) else { return fail(.missingPseudoHeader) }
    let method = HTTPMethod(methodName)
    if methodName.count > limits.maxMethodBytes { return fail(.methodTooLong) }
    let hasPath = map.has(.path)
    if method == .connect, !map.has(.protocol) {
      // §8.5: a tunnel has neither.
      if hasPath || map.has(.scheme) || !hasAuthority { return fail(.missingPseudoHeader) }
    } else {
      if !hasPath || !map.has(.scheme) { return fail(.missingPseudoHeader) }
      if method != .connect, map.has(.protocol) { return fail(.missingPseudoHeader) }
      if method != .options, let path = map.value(.path), path[0] != 0x2f { return fail(.relativePath) }
    }
    guard let host = map.value(.host) else { return fail(.missingHost) }
    // Sixteen bytes beyond are the arena's.
    guard Authority.isValid(host, requiresPort: method == .connect && !map.has(.protocol)) else {
      return fail(.invalidAuthority)
    }
    if map.isRepeated(.cookie) { map.combine(.cookie, "; ") }
    var start = RequestStart(method: method, expectsContinue: false, endStream: endStream)
    start.version = .http2
    if method == .connect { return makeTunnel(map, start) }
    if let expectation = map.value(.expect) {
      guard !map.isRepeated(.expect), expectation.equalsIgnoringCase("100-continue") else {
        return fail(.unsupportedExpectation)
      }
      map.remove(.expect)
      start.expectsContinue = !endStream
    }
    return start
  }

  /// A tunnel, in the form that every codec gives it (`TunnelKind`).
  @inline(never)
  private func makeTunnel(_ map: HeaderMap, _ start: RequestStart) -> RequestStart {
    var start = start
    start.endStream = false
    map.remove(.contentLength)
    map.remove(.expect)
    start.tunnel = .connect
    guard let name = map.value(.protocol) else { return start }
    start.tunnel = .upgrade
    start.method = .get
    map.add(.upgrade, name)
    map.set(.method, "GET")
    return start
  }

  private mutating func fail(_ error: HTTP2MessageError) -> RequestStart? {
    self.error = error
    return nil
  }

  /// Refuses the block for a rule that is not the reader's.
  mutating func fail(_ error: HTTP2MessageError) {
    if self.error == nil { self.error = error }
  }

  /// Whether the head of a response is complete and sound; otherwise `error` has the reason.
  mutating func finishResponse() -> Bool {
    if error == nil, status == 0 { error = .missingPseudoHeader }
    return error == nil
  }
}

extension HeaderIDSet {
  /// Fields that a message by HTTP/2 must not have, or of which it may not have just any.
  @inline(__always)
  static var http2Special: HeaderIDSet {
    HeaderIDSet().adding(.connection).adding(.keepAlive).adding(.proxyConnection).adding(.transferEncoding)
      .adding(.upgrade).adding(.http2Settings).adding(.te).adding(.contentLength).adding(.host)
  }
}

extension HeaderMap {
  /// Adds a field from the wire, its name being sound already. False, and nothing added, if the value holds a control
  /// character or has white space at an end.
  @inline(__always)
  func addReceived(_ id: HeaderID, _ name: Bytes, _ value: Bytes) -> Bool {
    guard let nameStart = name.baseAddress else { return false }
    let size = name.count &+ value.count &+ 4
    if used &+ size > capacity { retire(grow(size)) }
    let line = arena + used
    Bytes.copyExactly(line, nameStart, name.count)
    UnsafeMutableRawPointer(line + name.count).storeBytes(of: 0x203a, as: UInt16.self)
    let start = line + name.count + 2
    if let source = value.baseAddress, value.count > 0 {
      Bytes.copyExactly(start, source, value.count)
      if ByteScan.isBlank(start[0]) || ByteScan.isBlank(start[value.count &- 1])
        || ByteScan.hasControl(start, value.count)
      {
        return false
      }
    }
    UnsafeMutableRawPointer(start + value.count).storeBytes(of: 0x0a0d, as: UInt16.self)
    let kind: Entry.Kind = HeaderIDSet.http1Unsent.contains(id) ? .unsent : .line
    record(id, offset: used, nameLength: name.count, valueLength: value.count, kind: kind)
    used &+= size
    return true
  }
}
