import MeshHTTP
import MeshPrimitives

/// What a check found: nil if all is well.
public typealias Violation = String

/// A function that is given bytes and says what is wrong with how they were treated.
public struct Check: Sendable {
  /// The name of its fuzzer and of the directories of its inputs.
  public let name: String
  public let run: @Sendable ([UInt8]) -> Violation?

  /// Every check.
  public static let all = [
    Check(name: "request-parser", run: checkRequestParser),
    Check(name: "response-parser", run: checkResponseParser),
    Check(name: "body-decoder", run: checkBodyDecoder),
    Check(name: "http2-server", run: checkHTTP2Server),
  ]
}

/// One field of a map.
struct Field: Equatable {
  var id: HeaderID
  var name: [UInt8]
  var value: [UInt8]
}

extension HeaderMap {
  var fields: [Field] {
    var result: [Field] = []
    forEach { result.append(Field(id: $0, name: Array($1), value: Array($2))) }
    return result
  }

  /// What every map holds to that a parser has filled.
  /// - Parameter mayUpgrade: the message asks for another protocol, or answers that.
  func violation(mayUpgrade: Bool = false) -> Violation? {
    let fields = fields
    if fields.count != count { return "count is \(count), fields are \(fields.count)" }
    if fields.reduce(0, { $0 + $1.name.count + $1.value.count + 4 }) != byteCount { return "byteCount is \(byteCount)" }
    for field in fields {
      let id = field.name.withUnsafeBufferPointer { HeaderID.identify($0) }
      if id != field.id { return "\(field.id) is \(id)" }
      if field.id != .other {
        let name = field.id.name
        if field.name != Array(Bytes(name)) { return "\(field.id) is not \(name)" }
        if !has(field.id) { return "\(field.id) is not present" }
      }
      let isPseudo = [.method, .path, .scheme, .status].contains(field.id)
      let name = isPseudo ? field.name.dropFirst() : field.name[...]
      if name.isEmpty || !name.allSatisfy(isLowercaseToken) { return "a name is no token in lower case" }
      if field.value.contains(where: { ($0 < 0x20 && $0 != 0x09) || $0 == 0x7f }) { return "a value holds a control" }
      if let first = field.value.first, first == 0x20 || first == 0x09 { return "a value begins with white space" }
      if let last = field.value.last, last == 0x20 || last == 0x09 { return "a value ends with white space" }
    }
    // `te: trailers` stays for HTTP/2.
    if fields.contains(where: { $0.id == .te && String(decoding: $0.value, as: UTF8.self).lowercased() != "trailers" })
    {
      return "te was not removed"
    }
    for id in [HeaderID.connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade, .http2Settings]
    where (has(id) || fields.contains(where: { $0.id == id })) && !(id == .upgrade && mayUpgrade) {
      return "\(id) was not removed"
    }
    return nil
  }
}

func isLowercaseToken(_ byte: UInt8) -> Bool {
  switch byte {
  case 0x61...0x7a, 0x30...0x39: true
  default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
  }
}

/// Calls `body` with the bytes in memory of exactly their size, so that a sanitizer sees a read beyond.
func withExactBytes<Result>(_ bytes: some Collection<UInt8>, _ body: (Bytes) -> Result) -> Result {
  let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: bytes.count)
  defer { memory.deallocate() }
  _ = memory.initialize(from: bytes)
  return body(Bytes(memory))
}

/// What an encoder writes.
func encoded(_ body: (inout ByteQueue, BufferPool) -> Void) -> [UInt8] {
  let pool = BufferPool()
  var queue = ByteQueue()
  body(&queue, pool)
  let bytes = Array(queue.bytes)
  queue.clear(pool)
  return bytes
}

/// Limits small enough to be met by a fuzzer.
var tightLimits: HTTP1Limits {
  var limits = HTTP1Limits()
  limits.maxHeadBytes = 1024
  limits.maxResponseHeadBytes = 1024
  limits.maxFields = 16
  limits.maxTargetBytes = 200
  limits.maxMethodBytes = 20
  limits.maxChunkExtensionBytes = 16
  limits.maxMessageExtensionBytes = 40
  limits.maxTrailerBytes = 100
  limits.maxTrailerFields = 4
  return limits
}

/// Where to cut an input of `count` bytes: everywhere if it is short, else in a few places that depend on it alone.
func cuts(_ count: Int) -> [Int] {
  if count <= 192 { return Array(1..<max(count, 1)) }
  return (1...12).map { 1 + ($0 &* 2_654_435_761) % (count - 1) }.sorted()
}
