import MeshPrimitives

/// What a TLS client says of itself in its first message (RFC 8446 §4.1.2), as far as it is of use before anybody has a key.
struct ClientHello: Equatable {
  enum Reading: Equatable {
    /// More bytes are needed.
    case incomplete
    /// Something else than TLS, or a hello that breaks the rules.
    case notTLS, malformed
    /// It is longer than it may be.
    case tooLarge
    case complete(ClientHello)
  }

  /// The name that the client asks for (SNI, RFC 6066 §3), in lower case; empty if there is none.
  var serverName = ""
  /// ALPN (RFC 7301), in the client's order.
  var applicationProtocols: [String] = []

  /// Reads the bytes with which a connection begins. They may end anywhere: what does not depend on the rest is told at
  /// once, and nothing is looked at that cannot be complete yet, so that a hello that comes byte by byte costs little.
  /// - Parameter limit: the most bytes that the hello and its records may have, 5…
  static func read(_ bytes: Bytes, limit: Int) -> Reading {
    // Content type and the version's first byte tell TLS from anything else.
    if bytes.count > 0, bytes[0] != 22 { return .notTLS }
    if bytes.count > 1, bytes[1] != 3 { return .notTLS }
    guard bytes.count >= 6 else { return .incomplete }
    guard bytes[5] == 1 else { return .notTLS }
    let size = recordSize(bytes, at: 0)
    guard size >= 4 else { return readRecords(bytes, limit: limit) }
    guard bytes.count >= 9 else { return .incomplete }
    let length = messageLength(bytes.slice(5, 4))
    guard length <= limit else { return .tooLarge }
    // All of it in one record, which is usual.
    if size >= length { return bytes.count < 5 + length ? .incomplete : read(bytes.slice(9, length - 4)) }
    return readRecords(bytes, limit: limit)
  }

  private static func recordSize(_ bytes: Bytes, at offset: Int) -> Int {
    Int(bytes[offset + 3]) << 8 | Int(bytes[offset + 4])
  }

  /// Of the handshake message, with its header.
  private static func messageLength(_ header: Bytes) -> Int {
    4 + (Int(header[1]) << 16 | Int(header[2]) << 8 | Int(header[3]))
  }

  /// Puts a hello together that is spread over several records (RFC 8446 §5.1).
  private static func readRecords(_ bytes: Bytes, limit: Int) -> Reading {
    var message: [UInt8] = []
    var offset = 0
    // The header says how much it is.
    var length = 4
    while message.count < length {
      guard offset < limit else { return .tooLarge }
      guard offset + 5 <= bytes.count else { return .incomplete }
      let size = recordSize(bytes, at: offset)
      guard bytes[offset] == 22, bytes[offset + 1] == 3, size > 0, size <= 16 * 1024 else { return .malformed }
      guard offset + 5 + size <= bytes.count else { return offset + 5 + size > limit ? .tooLarge : .incomplete }
      message += bytes.slice(offset + 5, size)
      offset += 5 + size
      if length == 4, message.count >= 4 { length = message.withUnsafeBufferPointer { messageLength($0) } }
      guard length <= limit else { return .tooLarge }
    }
    return message.withUnsafeBufferPointer { read($0.slice(4, length - 4)) }
  }

  /// Reads the message itself.
  private static func read(_ body: Bytes) -> Reading {
    var fields = Fields(body)
    // Version and random; session identifier; cipher suites; compression methods.
    guard fields.take(34) != nil, fields.takeSized(1) != nil, let suites = fields.takeSized(2), suites.count >= 2,
      let methods = fields.takeSized(1), methods.count >= 1
    else { return .malformed }
    var hello = ClientHello()
    // A client of old has no extensions.
    if fields.count == 0 { return .complete(hello) }
    guard let list = fields.takeSized(2), fields.count == 0 else { return .malformed }
    var extensions = Fields(list)
    while extensions.count > 0 {
      guard let type = extensions.take(2), let content = extensions.takeSized(2) else { return .malformed }
      switch Int(type[0]) << 8 | Int(type[1]) {
      case 0: guard hello.readServerName(content) else { return .malformed }
      case 16: guard hello.readProtocols(content) else { return .malformed }
      default: break
      }
    }
    return .complete(hello)
  }

  private mutating func readServerName(_ content: Bytes) -> Bool {
    var fields = Fields(content)
    guard let list = fields.takeSized(2), fields.count == 0 else { return false }
    var names = Fields(list)
    // One name of the only type that there is.
    guard let type = names.take(1), type[0] == 0, let name = names.takeSized(2), names.count == 0, name.count > 0,
      name.count <= 255, name.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
    else { return false }
    serverName = String(decoding: name, as: UTF8.self).lowercased()
    return true
  }

  private mutating func readProtocols(_ content: Bytes) -> Bool {
    var fields = Fields(content)
    guard let list = fields.takeSized(2), fields.count == 0, list.count > 0 else { return false }
    var names = Fields(list)
    applicationProtocols = []
    while names.count > 0 {
      guard let name = names.takeSized(1), name.count > 0 else { return false }
      applicationProtocols.append(String(decoding: name, as: UTF8.self))
    }
    return true
  }

  /// Takes fields from the front of bytes.
  private struct Fields {
    private var rest: Bytes

    init(_ bytes: Bytes) { rest = bytes }

    var count: Int { rest.count }

    mutating func take(_ count: Int) -> Bytes? {
      guard count <= rest.count else { return nil }
      let taken = rest.slice(0, count)
      rest = rest.slice(count, rest.count - count)
      return taken
    }

    /// A field behind its length, which has so many bytes.
    mutating func takeSized(_ size: Int) -> Bytes? {
      guard let length = take(size) else { return nil }
      return take(length.reduce(0) { $0 << 8 | Int($1) })
    }
  }
}
