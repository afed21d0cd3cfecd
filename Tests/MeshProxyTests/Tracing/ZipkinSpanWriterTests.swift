import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

@Suite("Spans as Zipkin has them")
struct ZipkinSpanWriterTests {
  private let format = ZipkinSpanFormat(serviceName: "shop", address: IPAddress(v4: 0x0a00_0001))
  private let place = #""localEndpoint":{"serviceName":"shop","ipv4":"10.0.0.1","port":0}"#

  private func head(_ change: (inout SpanHead) -> Void = { _ in }) -> SpanHead {
    var trace = TraceContext()
    trace.traceIDLow = 0x463a_c35c_9f64_13ad
    trace.spanID = 0xa2fb_4a1d_1a96_d312
    var head = SpanHead(trace: trace, kind: .client, startedAt: 1_700_000_000_123_456_789)
    change(&head)
    return head
  }

  private func written(_ body: (inout ZipkinSpanWriter) -> Void) -> String {
    let output = SpanOutput(capacity: 1)
    var writer = ZipkinSpanWriter(output, format)
    body(&writer)
    return String(decoding: output.bytes, as: UTF8.self)
  }

  /// What stands before the tags.
  private func beginning(_ kind: String) -> String {
    #"{"traceId":"463ac35c9f6413ad","id":"a2fb4a1d1a96d312","kind":"\#(kind)","timestamp":1700000000123456,\#(place),"#
  }

  @Test("a root without anything has the annotation of its end")
  func smallest() {
    let text = written { writer in
      writer.begin(head(), name: Bytes(""), tracestate: Bytes("ignored=1"))
      writer.end(at: 1_700_000_000_123_999_999, isError: false)
    }
    let annotation = #"{"timestamp":1700000000123999,"value":"cr"}"#
    #expect(text == beginning("CLIENT") + #""tags":{},"annotations":[\#(annotation)],"duration":543}"#)
  }

  @Test("a shared span of a server with everything, and a second one behind it")
  func largest() {
    let text = written { writer in
      let server = head {
        $0.trace.traceIDHigh = 0x0000_0000_0000_0001
        $0.trace.parentSpanID = 0x0fff_ffff_ffff_ffff
        $0.kind = .server
        $0.isShared = true
      }
      writer.begin(server, name: Bytes("get /"), tracestate: Bytes(""))
      writer.tag("http.method", Bytes("GET"))
      writer.tag("empty", Bytes(""))
      writer.tag("size", number: 0)
      writer.tags(ZipkinSpanWriter.encoded([(Array("zone".utf8), Array("\"z\"".utf8)), (Array("b".utf8), [])]))
      writer.tags([])
      writer.tag(Bytes("own\n"), Bytes("\u{1}"))
      writer.tag("most", number: .max)
      writer.event("ws", at: 1_700_000_000_125_000_999)
      writer.end(at: 1_700_000_001_123_456_000, isError: true)
      writer.begin(head(), name: Bytes(""), tracestate: Bytes(""))
      // A clock that went backwards, and one that did not move: Zipkin has no duration of 0.
      writer.end(at: 1_000, isError: false)
    }
    let first =
      #"{"traceId":"0000000000000001463ac35c9f6413ad","parentId":"0fffffffffffffff","id":"a2fb4a1d1a96d312","kind":"#
      + #""SERVER","name":"get /","shared":true,"timestamp":1700000000123456,\#(place),"tags":{"http.method":"GET","#
      + #""size":"0","zone":"\"z\"","own\n":"\u0001","most":"18446744073709551615"},"annotations":["#
      + #"{"timestamp":1700000000125000,"value":"ws"},{"timestamp":1700000001123456,"value":"ss"}],"duration":1000000}"#
    let second = beginning("CLIENT") + #""tags":{},"annotations":[{"timestamp":1,"value":"cr"}],"duration":1}"#
    #expect(text == first + "," + second)
  }

  @Test("the endpoint says what is known")
  func endpoint() {
    func text(_ format: ZipkinSpanFormat) -> String { String(decoding: format.localEndpoint, as: UTF8.self) }
    #expect(text(ZipkinSpanFormat(serviceName: "", address: nil)) == #""localEndpoint":{}"#)
    #expect(text(ZipkinSpanFormat(serviceName: "a\"b", address: nil)) == #""localEndpoint":{"serviceName":"a\"b"}"#)
    #expect(
      text(ZipkinSpanFormat(serviceName: "", address: IPAddress("2001:db8::1")))
        == #""localEndpoint":{"ipv6":"2001:db8::1","port":0}"#)
  }

  // MARK: Text

  private func json(_ bytes: [UInt8]) -> [UInt8] {
    let output = SpanOutput(capacity: 1)
    bytes.withUnsafeBufferPointer { output.append(jsonString: $0) }
    return Array(output.bytes)
  }

  private func json(_ text: String) -> String { String(decoding: json(Array(text.utf8)), as: UTF8.self) }

  @Test("what JSON does not take is escaped, wherever it stands")
  func escapes() {
    #expect(json("") == "\"\"")
    #expect(json("\u{8}\t\n\u{c}\r\u{0}\u{1f}\u{7f}\"\\/") == "\"\\b\\t\\n\\f\\r\\u0000\\u001f\u{7f}\\\"\\\\/\"")
    #expect(json("h\u{e9} 漢字 🙂") == "\"h\u{e9} 漢字 🙂\"")
    for length in 0..<40 {
      for place in 0..<length {
        for (byte, escaped) in [(UInt8(0x22), "\\\""), (0x5c, "\\\\"), (0x01, "\\u0001"), (0x1f, "\\u001f")] {
          var text = Array(repeating: UInt8(ascii: "x"), count: length)
          text[place] = byte
          let expected =
            "\"" + String(repeating: "x", count: place) + escaped + String(repeating: "x", count: length - place - 1)
            + "\""
          #expect(String(decoding: json(text), as: UTF8.self) == expected)
        }
      }
    }
  }

  @Test("what is no UTF-8 is replaced, so that a batch stays readable")
  func replacement() {
    #expect(json([0x61, 0xff, 0x62]) == Array("\"a\u{fffd}b\"".utf8))
    #expect(json([0xc3]) == Array("\"\u{fffd}\"".utf8))
    #expect(json([0xed, 0xa0, 0x80, 0x22]).suffix(3) == Array("\\\"\"".utf8))
    var random = SeededRandom(seed: 7)
    for _ in 0..<2_000 {
      let bytes = (0..<Int.random(in: 0...30, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      let text = json(bytes)
      #expect(text.withUnsafeBufferPointer { $0.isUTF8 })
      #expect(text.dropFirst().dropLast().allSatisfy { $0 >= 0x20 })
      #expect(unescapedQuotes(text) == 2)
    }
  }

  @Test("a text without end has one")
  func length() {
    let text = json(Array(repeating: UInt8(ascii: "a"), count: 1_000_000))
    #expect(text.count == 65_538)
    // Cut before a character that has no room.
    let cut = json(Array("a".utf8) + Array(Array(repeating: "é", count: 50_000).joined().utf8))
    #expect(cut.count == 65_537 && cut.suffix(3) == Array("é\"".utf8))
  }

  private func unescapedQuotes(_ text: [UInt8]) -> Int {
    var count = 0
    var at = 0
    while at < text.count {
      if text[at] == 0x5c { at += 1 } else if text[at] == 0x22 { count += 1 }
      at += 1
    }
    return count
  }
}
