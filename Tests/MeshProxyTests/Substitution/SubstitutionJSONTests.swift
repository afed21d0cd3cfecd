import MeshHTTP
import MeshPrimitives
import MeshTesting
import SwiftProtobuf
import Testing

@testable import MeshProxy

@Suite struct SubstitutionJSONTests {
  static func format(_ json: String) throws -> Google_Protobuf_Struct { try Google_Protobuf_Struct(jsonString: json) }

  static func line(_ json: String, _ source: ExampleSource, omitsEmpty: Bool = false) throws -> String {
    source.json(try format(json), omitsEmpty: omitsEmpty)
  }

  @Test func membersAreSortedAndKeepTheirTypes() throws {
    let source = ExampleSource.example()
    let format = #"""
      {"z": "%PROTOCOL%", "a": "x %REQ(x-none)% %REQ(user-agent)%", "num": 12, "fl": 2.5, "neg": -3, "big": 1e20,
       "t": true, "n": null, "list": ["%RESPONSE_CODE%", "lit", 5, false, null, ["%REQ(:method)%"]],
       "obj": {"b": "%BYTES_SENT%", "a": "%REQ(x-none)%"}, "empty": {}, "emptys": "", "pct": "100%%",
       "two": "%RESPONSE_CODE%%RESPONSE_CODE%", "lit": "plain \"q\" \n é", "flags": "%RESPONSE_FLAGS%",
       "gone": "%REQ(x-none)%%REQ(x-none)%", "B": 1, "k\"q": 1, "é": 1, "dur": "%DURATION%ms"}
      """#
    #expect(
      try Self.line(format, source)
        == #"{"B":1,"a":"x - curl/7.88.1","big":1e+20,"dur":"418ms","empty":{},"emptys":"","fl":2.5,"flags":"URX,UT","#
        + #""gone":"--","k\"q":1,"list":[504,"lit",5,false,null,["GET"]],"lit":"plain \"q\" \n é","n":null,"neg":-3,"#
        + #""num":12,"obj":{"a":null,"b":24},"pct":"100%","t":true,"two":"504504","z":"HTTP/1.1","é":1}"# + "\n")
  }

  @Test func whatIsNotKnownCanBeLeftOut() throws {
    let source = ExampleSource.example()
    source.request("x-empty", "")
    let cases: [(format: String, line: String)] = [
      (#"{"a": "%REQ(x-none)%", "b": 1}"#, #"{"b":1}"#),
      (#"{"a": "%REQ(x-none)%"}"#, "{}"),
      (#"{"a": "%REQ(:method)%", "b": "%REQ(x-none)%", "c": 2}"#, #"{"a":"GET","c":2}"#),
      (#"{"o": {"p": {"q": "%REQ(x-none)%"}}}"#, "{}"),
      (#"{"o": {"p": {"q": "%REQ(x-none)%"}, "r": 1}, "z": 2}"#, #"{"o":{"r":1},"z":2}"#),
      (#"{"o": {}, "n": null, "e": "", "l": []}"#, #"{"e":"","l":[]}"#),
      (
        #"{"l": [{"a": "%REQ(x-none)%"}, {"b": 1}, null, [null], "%REQ(x-none)%", "%PROTOCOL%"]}"#,
        #"{"l":[{"b":1},[],"HTTP/1.1"]}"#
      ),
      (
        #"{"a": "<%REQ(x-none)%>", "b": "%REQ(x-empty)%", "f": "%RESPONSE_FLAGS%"}"#, #"{"a":"<>","b":"","f":"URX,UT"}"#
      ),
      (#"{"a": "{", "b": 1, "c": "["}"#, #"{"a":"{","b":1,"c":"["}"#),
      (#"{"a": "%ENVIRONMENT(MARTLET_NOT_SET)%"}"#, #"{"a":"-"}"#),
    ]
    for (format, line) in cases { #expect(try Self.line(format, source, omitsEmpty: true) == line + "\n") }
    let text = try SubstitutionFormat.compile("<%REQ(x-none)%|%RESPONSE_FLAGS%|%ROUTE_NAME%>", omitsEmpty: true).get()
    #expect(source.line(text) == "<|URX,UT|>")
  }

  @Test func hostileBytesAreEscaped() throws {
    let cases: [(value: [UInt8], json: String)] = [
      (Array(#"q"x\/<"#.utf8), #"q\"x\\/<"#),
      (Array("é€😀\u{2028}".utf8), "é€😀\u{2028}"),
      ([0x61, 0xff, 0x62, 0x22], #"a\u00ffb\""#),
      ([0xed, 0xa0, 0x80], #"\u00ed\u00a0\u0080"#),
      ([0xc0, 0xaf], #"\u00c0\u00af"#),
      ([0xf4, 0x90, 0x80, 0x80], #"\u00f4\u0090\u0080\u0080"#),
      ([0xe2, 0x82], #"\u00e2\u0082"#),
      ([0x78, 0x09, 0x79], #"x\ty"#),
    ]
    for (value, json) in cases {
      let source = ExampleSource()
      ExampleSource.add(source.requestHeaders, "x-value", value)
      #expect(source.json("%REQ(x-value)%") == "{\"v\":\"\(json)\"}\n")
      #expect(source.json("<%REQ(x-value)%>") == "{\"v\":\"<\(json)>\"}\n")
    }
    let source = ExampleSource()
    source.info.metadata["a.b"] = "\u{0}\u{1f}\u{8}\u{c}\n\r"
    #expect(source.json("%DYNAMIC_METADATA(a:b)%") == #"{"v":"\u0000\u001f\b\f\n\r"}"# + "\n")
    // A cut that takes a character apart.
    source.request("x-accent", "é")
    #expect(source.json("%REQ(x-accent):1%") == #"{"v":"\u00c3"}"# + "\n")
  }

  /// Whatever is configured and whatever peers send, a line is JSON that says what was sent.
  @Test func everyLineIsJSON() throws {
    var random = SeededRandom(seed: 0x150a)
    let operators = [
      "%REQ(x-value)%", "%REQ(x-none)%", "%RESPONSE_CODE%", "%DURATION%", "%RESPONSE_FLAGS%", "%REQ(x-value):3%",
      "a%REQ(x-value)%b", "%%", "\"%UPSTREAM_HOST%\\", "%DYNAMIC_METADATA(m)%", "%DYNAMIC_METADATA(m:k)%", "é\u{0}\n",
      #"%COALESCE({"operators":["ROUTE_NAME",{"command":"REQ","param":"x-value"}]})%"#, "%UPSTREAM_LOCAL_PORT%", "",
    ]
    func value(_ depth: Int) -> Google_Protobuf_Value {
      switch Int.random(in: 0..<(depth > 3 ? 5 : 8), using: &random) {
      case 0: return Google_Protobuf_Value(numberValue: [0, -1, 2.5, 1e300, 7].randomElement(using: &random)!)
      case 1: return Google_Protobuf_Value(boolValue: Bool.random(using: &random))
      case 2:
        var null = Google_Protobuf_Value()
        null.nullValue = .nullValue
        return null
      case 3, 4: return Google_Protobuf_Value(stringValue: operators.randomElement(using: &random)!)
      case 5:
        let values = (0..<Int.random(in: 0...3, using: &random)).map { _ in value(depth + 1) }
        return Google_Protobuf_Value(listValue: Google_Protobuf_ListValue(values: values))
      default: return Google_Protobuf_Value(structValue: structure(depth + 1))
      }
    }
    func structure(_ depth: Int) -> Google_Protobuf_Struct {
      var result = Google_Protobuf_Struct()
      for _ in 0..<Int.random(in: 0...4, using: &random) {
        result.fields[["a", "b\"", "c\\", "é", "{", ""].randomElement(using: &random)!] = value(depth)
      }
      return result
    }
    for _ in 0..<3_000 {
      let source = ExampleSource()
      let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in
        Bool.random(using: &random) ? UInt8.random(in: 0...255, using: &random) : UInt8(ascii: "x")
      }
      ExampleSource.add(source.requestHeaders, "x-value", bytes)
      source.info.metadata = ["m.k": String(decoding: bytes, as: UTF8.self)]
      source.info.responseCode = Int.random(in: 0...599, using: &random)
      let format = structure(0)
      for omitsEmpty in [false, true] {
        let line = source.json(format, omitsEmpty: omitsEmpty)
        #expect(line.hasSuffix("}\n"))
        #expect(line.utf8.dropLast().allSatisfy { $0 >= 0x20 })
        let read = try? Google_Protobuf_Struct(jsonString: line)
        #expect(read != nil, "\(line)")
        if !omitsEmpty { #expect(read?.fields.keys.sorted() == format.fields.keys.sorted(), "\(line)") }
      }
      let read = try Google_Protobuf_Struct(jsonString: source.json("%REQ(x-value)%"))
      let sent = source.requestHeaders.value(HeaderName("x-value")).map { Array($0) } ?? []
      let expected =
        sent.withUnsafeBufferPointer { $0.isUTF8 }
        ? String(decoding: sent, as: UTF8.self) : String(sent.map { Character(Unicode.Scalar($0)) })
      #expect(read.fields["v"]?.stringValue == expected)
    }
  }

  @Test func problemsSayWhichString() throws {
    let cases: [(format: String, path: String, message: String)] = [
      (#"{"a": {"b": ["x", "%NOPE%"]}}"#, ".a.b[1]", "at byte 0: there is no operator %NOPE%"),
      (#"{"a": "ok %"}"#, ".a", "at byte 3: '%' begins no operator"),
      (#"{"a": "%REQ(x)%:%"}"#, ".a", "at byte 9: '%' begins no operator"),
    ]
    for (format, path, message) in cases {
      guard case .failure(let problem) = SubstitutionFormat.compile(json: try Self.format(format)) else {
        Issue.record("\(format) compiles")
        continue
      }
      #expect(problem.path == path)
      #expect(problem.description.contains(message), "\(problem)")
    }
    var deep = Google_Protobuf_Struct()
    for _ in 0..<40 {
      var outer = Google_Protobuf_Struct()
      outer.fields["o"] = Google_Protobuf_Value(structValue: deep)
      deep = outer
    }
    guard case .failure(let problem) = SubstitutionFormat.compile(json: deep) else {
      Issue.record("too deep")
      return
    }
    #expect(problem.message.contains("32 levels"))
  }

  @Test func utf8() {
    let sound: [[UInt8]] = [
      [], [0x7f], [0xc2, 0x80], [0xdf, 0xbf], [0xe0, 0xa0, 0x80], [0xed, 0x9f, 0xbf], [0xf4, 0x8f, 0xbf, 0xbf],
    ]
    let broken: [[UInt8]] = [
      [0x80], [0xc1, 0xbf], [0xe0, 0x9f, 0xbf], [0xed, 0xa0, 0x80], [0xf0, 0x8f, 0x80, 0x80], [0xf4, 0x90, 0x80, 0x80],
      [0xf5, 0x80, 0x80, 0x80], [0xc2], [0xe1, 0x80], [0xf1, 0x80, 0x80], [0xe1, 0x80, 0x41], [0xff],
    ]
    for bytes in sound { #expect(bytes.withUnsafeBufferPointer { $0.isUTF8 }, "\(bytes)") }
    for bytes in broken { #expect(!bytes.withUnsafeBufferPointer { $0.isUTF8 }, "\(bytes)") }
    var random = SeededRandom(seed: 9)
    for _ in 0..<20_000 {
      let bytes = (0..<Int.random(in: 0...5, using: &random)).map { _ in UInt8.random(in: 0x70...255, using: &random) }
      #expect(
        bytes.withUnsafeBufferPointer { $0.isUTF8 } == (String(validating: bytes, as: UTF8.self) != nil), "\(bytes)")
    }
  }
}
