import MeshPrimitives
import Testing

@testable import MeshHTTP

@Suite struct HeaderMapTests {
  /// The map under test beside the simplest thing that does the same.
  private struct Model {
    let map = HeaderMap()
    var fields: [Field] = []

    mutating func set(_ name: HeaderName, _ value: String) {
      wire(value).withUnsafeBufferPointer { map.set(name, $0) }
      if let index = fields.firstIndex(where: { $0.name == name.description }) {
        fields[index].value = value
        var kept = false
        fields.removeAll {
          guard $0.name == name.description else { return false }
          defer { kept = true }
          return kept
        }
      } else {
        fields.append(Field(name.description, value))
      }
    }

    mutating func add(_ name: HeaderName, _ value: String) {
      wire(value).withUnsafeBufferPointer { map.add(name, $0) }
      fields.append(Field(name.description, value))
    }

    mutating func remove(_ name: HeaderName) {
      map.remove(name)
      fields.removeAll { $0.name == name.description }
    }

    mutating func appendValue(_ id: HeaderID, _ value: String) {
      wire(value).withUnsafeBufferPointer { map.appendValue(id, separator: ", ", $0) }
      let name = id.name.description
      let old = fields.filter { $0.name == name }.map(\.value).joined(separator: ", ")
      if let index = fields.firstIndex(where: { $0.name == name }) {
        var kept = false
        fields[index].value = old.isEmpty ? value : "\(old), \(value)"
        fields.removeAll {
          guard $0.name == name else { return false }
          defer { kept = true }
          return kept
        }
      } else {
        fields.append(Field(name, value))
      }
    }

    mutating func addReserved(_ id: HeaderID, _ value: String) {
      let bytes = wire(value)
      let room = map.reserveTail(bytes.count + 3)
      for (index, byte) in bytes.enumerated() { room[index] = byte }
      map.addReserved(id, bytes.count)
      if !HeaderIDSet.http1Unsent.contains(id) { fields.append(Field(id.name.description, value)) }
    }

    func check() {
      #expect(map.fields == fields)
      for id in HeaderID.allCases where id != .other {
        let values = fields.filter { $0.name == id.name.description }.map(\.value)
        #expect(map.has(id) == !values.isEmpty)
        #expect(map.isRepeated(id) == (values.count > 1))
        #expect(map.text(id) == values.first)
        var seen: [String] = []
        map.values(HeaderName(id.name.description)) { seen.append(latin1($0)) }
        #expect(seen == values)
      }
      for name in ["x-a", "x-b", "x-c"] {
        let values = fields.filter { $0.name == name }.map(\.value)
        #expect(map.text(name) == values.first)
        var seen: [String] = []
        map.values(HeaderName(name)) { seen.append(latin1($0)) }
        #expect(seen == values)
      }
      let lines = fields.filter {
        !$0.name.hasPrefix(":") && $0.name != "content-length" && $0.name != "transfer-encoding"
      }
      let head = encoded {
        HTTP1Encoder.responseHead(status: 200, map, framing: .untilClose, close: false, into: &$0, pool: $1)
      }
      #expect(head == "HTTP/1.1 200 OK\r\n" + lines.map { "\($0)\r\n" }.joined() + "\r\n")
    }
  }

  @Test(arguments: 0..<40) func behavesLikeAList(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    var model = Model()
    let names = ["x-a", "x-b", "X-C", "host", "via", "cookie", "x-request-id", ":path", "content-length"].map(
      HeaderName.init)
    let ids: [HeaderID] = [.host, .via, .cookie, .xRequestID, .path, .contentLength]
    for step in 0..<200 {
      let lengths = [0, 1, 3, 7, 8, 15, 16, 31, 32, 33, 60, 200, 3000]
      let value = String(
        (0..<lengths.randomElement(using: &random)!).map { _ in "abcdefghijklmnop".randomElement(using: &random)! })
      let name = names.randomElement(using: &random)!
      let id = ids.randomElement(using: &random)!
      switch Int.random(in: 0..<10, using: &random) {
      case 0, 1, 2: model.add(name, value)
      case 3, 4: model.set(name, value)
      case 5, 6: model.remove(name)
      case 7: model.addReserved(id, value)
      case 8 where model.fields.reduce(0, { $0 + $1.value.utf8.count }) < 100_000: model.appendValue(id, value)
      default: break
      }
      if step % 10 == 0 { model.check() }
    }
    model.check()
    let copy = HeaderMap()
    copy.set(.via, "gone")
    copy.copy(from: model.map)
    #expect(copy.fields == model.fields)
    model.map.removeAll()
    model.fields = []
    model.check()
    #expect(copy.count > 0)
  }

  @Test func setKeepsThePosition() {
    let map = HeaderMap()
    map.add(.host, "a")
    map.add(.via, "1")
    map.add(.server, "s")
    map.add(.via, "2")
    map.set(.via, "longer than before")
    map.set(.host, "")
    #expect(map.fields == [Field("host", ""), Field("via", "longer than before"), Field("server", "s")])
    map.remove(.via)
    map.add(.via, "3")
    #expect(map.fields == [Field("host", ""), Field("server", "s"), Field("via", "3")])
    #expect(map.text(.via) == "3")
  }

  @Test func valuesMayComeFromTheMapItself() {
    let map = HeaderMap()
    map.add(.host, "0123456789")
    map.add(.via, "x")
    for _ in 0..<12 {
      // Each doubles, so that the arena is outgrown again and again.
      map.appendValue(.host, separator: "", map.value(.host)!)
      map.set(.via, map.value(.host)!)
      map.add(.cookie, map.value(.via)!)
    }
    #expect(map.text(.host) == String(repeating: "0123456789", count: 4096))
    #expect(map.text(.via) == map.text(.host))
    map.set(.via, map.value(.host)!.slice(5, 10))
    #expect(map.text(.via) == "5678901234")
    map.set(.host, map.value(.host)!.slice(3, 20))
    #expect(map.text(.host) == "34567890123456789012")
  }

  @Test func controlCharactersBecomeSpaces() {
    let map = HeaderMap()
    let evil = wire("a\r\nX: y\u{00}\tz\u{7f}\u{e9}")
    let clean = "a  X: y \tz \u{e9}"
    evil.withUnsafeBufferPointer {
      map.set(.host, $0)
      map.set(.host, $0)
      map.add(HeaderName("x-a"), $0)
      map.set(HeaderName("x-b"), $0)
      map.appendValue(.host, separator: ",", $0)
      map.add(lowercased: Bytes("x-c"), $0)
    }
    #expect(
      map.fields == [
        Field("host", clean + "," + clean), Field("x-a", clean), Field("x-b", clean), Field("x-c", clean),
      ])
  }

  @Test func startLinesStayWhole() {
    let map = HeaderMap()
    let evil = wire("/a b#\r\nX: \u{e9}\u{7f}\u{00}?c")
    let clean = "/a%20b%23%0d%0aX:%20%e9%7f%00?c"
    evil.withUnsafeBufferPointer { map.set(.path, $0) }
    #expect(map.text(.path) == clean)
    evil.withUnsafeBufferPointer { map.set(.path, $0) }
    #expect(map.text(.path) == clean)
    evil.withUnsafeBufferPointer { map.appendValue(.path, separator: "", $0) }
    #expect(map.text(.path) == clean + clean)
    map.removeAll()
    evil.withUnsafeBufferPointer { map.add(HeaderName(":path"), $0) }
    #expect(map.text(.path) == clean)
    map.removeAll()
    wire("GET / HTTP/1.1\r\n").withUnsafeBufferPointer { map.set(.method, $0) }
    #expect(map.text(.method) == "GET___HTTP_1.1__")
  }

  @Test func otherIsNoName() {
    let map = HeaderMap()
    map.set(.other, "a")
    map.add(.other, "a")
    map.appendValue(.other, separator: ",", Bytes("a"))
    map.remove(.other)
    #expect(map.value(.other) == nil)
    #expect(!map.has(.other))
    #expect(map.count == 0)
    #expect(map.byteCount == 0)
  }

  @Test func memoryIsGivenBack() {
    let map = HeaderMap()
    let value = [UInt8](repeating: 0x61, count: 40_000)
    value.withUnsafeBufferPointer { map.add(.via, $0) }
    for _ in 0..<200 { map.add(.via, "x") }
    #expect(map.capacity > HeaderMap.keptArena)
    #expect(map.entryCapacity > HeaderMap.keptEntries)
    map.removeAll()
    #expect(map.capacity <= HeaderMap.keptArena)
    #expect(map.entryCapacity <= HeaderMap.keptEntries)
    #expect(map.count == 0)
    map.add(.via, "y")
    #expect(map.fields == [Field("via", "y")])
  }

  @Test func pseudoHeadersAreNeverLines() {
    let map = HeaderMap()
    map.add(lowercased: Bytes(":authority"), Bytes("a"))
    map.add(lowercased: Bytes(":protocol"), Bytes("websocket"))
    map.add(lowercased: Bytes(":path"), Bytes("/"))
    map.add(lowercased: Bytes(""), Bytes("x"))
    map.add(HeaderName(":unknown"), Bytes("x"))
    map.set(HeaderName(":unknown"), Bytes("x"))
    #expect(map.fields == [Field("host", "a"), Field(":protocol", "websocket"), Field(":path", "/")])
    let head = encoded { HTTP1Encoder.requestHead(map, framing: .none, into: &$0, pool: $1) }
    #expect(head == "GET / HTTP/1.1\r\nhost: a\r\n\r\n")
  }

  @Test func combine() {
    let map = HeaderMap()
    map.add(.xForwardedFor, "")
    map.add(.host, "h")
    map.add(.xForwardedFor, "1")
    map.add(.xForwardedFor, "2")
    map.combine(.xForwardedFor, ",")
    map.combine(.host, ",")
    map.combine(.via, ",")
    #expect(map.fields == [Field("x-forwarded-for", ",1,2"), Field("host", "h")])
  }
}
