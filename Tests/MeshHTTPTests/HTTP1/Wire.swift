import MeshPrimitives
import Testing

@testable import MeshHTTP

/// A field as text.
struct Field: Equatable, CustomStringConvertible {
  var name: String
  var value: String

  init(_ name: String, _ value: String) {
    self.name = name
    self.value = value
  }

  var description: String { "\(name): \(value)" }
}

extension HeaderMap {
  /// Every field as text, in order.
  var fields: [Field] {
    var result: [Field] = []
    forEach { id, name, value in
      #expect(HeaderID.identify(name) == id)
      result.append(Field(latin1(name), latin1(value)))
    }
    #expect(result.count == count)
    #expect(byteCount == result.reduce(0) { $0 + $1.name.unicodeScalars.count + $1.value.unicodeScalars.count + 4 })
    return result
  }

  func text(_ id: HeaderID) -> String? { value(id).map(latin1) }
  func text(_ name: String) -> String? { value(HeaderName(name)).map(latin1) }
}

/// What a head's field lines count: all of them, less one byte each, which is how Envoy counts.
func fieldBytes(_ head: [UInt8]) -> UInt32 {
  var lines = latin1(head).unicodeScalars.split(separator: "\n").map { $0.count + 1 }
  // Empty lines before the start line, the start line, the empty line at the end.
  while lines.first == 2 { lines.removeFirst() }
  return UInt32(lines.dropFirst().dropLast().reduce(0) { $0 + $1 - 1 })
}

func latin1(_ bytes: [UInt8]) -> String { bytes.withUnsafeBufferPointer { latin1($0) } }

/// Bytes as text, one scalar each: nothing is lost.
func latin1(_ bytes: Bytes) -> String {
  var text = String.UnicodeScalarView()
  for byte in bytes { text.append(Unicode.Scalar(byte)) }
  return String(text)
}

/// The bytes of a text in which each scalar stands for one.
func wire(_ text: String) -> [UInt8] { text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) } }

/// Calls `body` with the bytes in memory of exactly their size, so that a sanitizer sees a read beyond.
func withExactBytes<Result>(_ bytes: some Collection<UInt8>, _ body: (Bytes) throws -> Result) rethrows -> Result {
  let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: bytes.count)
  defer { memory.deallocate() }
  _ = memory.initialize(from: bytes)
  return try body(Bytes(memory))
}

/// What a parser said about a head.
enum Outcome<Head: Equatable>: Equatable {
  case complete(Head, [Field])
  case incomplete
  case invalid(HTTP1Error)

  var error: HTTP1Error? {
    if case .invalid(let error) = self { error } else { nil }
  }
}

typealias RequestOutcome = Outcome<HTTP1RequestHead>
typealias ResponseOutcome = Outcome<HTTP1ResponseHead>

/// Parses `bytes` in one piece.
func parseRequest(_ bytes: [UInt8], limits: HTTP1Limits = HTTP1Limits()) -> RequestOutcome {
  var parser = HTTP1RequestParser(limits: limits)
  let map = HeaderMap()
  return parseRequest(bytes, &parser, map)
}

func parseRequest(_ text: String, limits: HTTP1Limits = HTTP1Limits()) -> RequestOutcome {
  parseRequest(wire(text), limits: limits)
}

func parseRequest(
  _ bytes: some Collection<UInt8>, _ parser: inout HTTP1RequestParser, _ map: HeaderMap
) -> RequestOutcome {
  var head = HTTP1RequestHead()
  switch withExactBytes(bytes, { parser.parse($0, into: map, head: &head) }) {
  case .complete: return .complete(head, map.fields)
  case .incomplete: return .incomplete
  case .invalid(let error): return .invalid(error)
  }
}

func parseResponse(
  _ bytes: [UInt8], to method: HTTPMethod = .get, limits: HTTP1Limits = HTTP1Limits()
) -> ResponseOutcome {
  var parser = HTTP1ResponseParser(limits: limits)
  let map = HeaderMap()
  return parseResponse(bytes, to: method, &parser, map)
}

func parseResponse(
  _ text: String, to method: HTTPMethod = .get, limits: HTTP1Limits = HTTP1Limits()
) -> ResponseOutcome {
  parseResponse(wire(text), to: method, limits: limits)
}

func parseResponse(
  _ bytes: some Collection<UInt8>, to method: HTTPMethod, _ parser: inout HTTP1ResponseParser, _ map: HeaderMap
) -> ResponseOutcome {
  var head = HTTP1ResponseHead()
  switch withExactBytes(bytes, { parser.parse($0, requestMethod: method, into: map, head: &head) }) {
  case .complete: return .complete(head, map.fields)
  case .incomplete: return .incomplete
  case .invalid(let error): return .invalid(error)
  }
}

/// Feeds `bytes` one more at a time until there is a verdict, and checks that it is the one of the whole. What is refused
/// may be refused later than at the first byte that is wrong, but at the end of the head at the latest.
func checkSplits<Head>(_ bytes: [UInt8], whole: Outcome<Head>, _ parse: (ArraySlice<UInt8>) -> Outcome<Head>) {
  let fed = whole.error == nil ? bytes : bytes + wire("\r\n\r\n")
  for count in 1...max(fed.count, 1) where count <= fed.count {
    let outcome = parse(fed[..<count])
    if outcome == .incomplete { continue }
    #expect(outcome == whole, "after \(count) of \(bytes.count) bytes")
    return
  }
  #expect(whole == .incomplete)
}

/// A generator with a fixed seed (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
