import Glibc
import MeshHTTP
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy
@testable import MeshRouting

@Suite struct SubstitutionFormatTests {
  @Test func defaultLine() {
    #expect(
      ExampleSource.example().line(.standard)
        == #"[2026-11-22T03:10:01.774Z] "GET /ptt/1 HTTP/1.1" 504 URX,UT 0 24 418 - "192.0.2.2" "curl/7.88.1" "#
        + #""1e5fb6bd-debf-992c-b0d9-cd3271ad7cf9" "127.0.0.1:18080" "127.0.0.1:19001""# + "\n")
  }

  @Test func defaultLineOfWhatTheCodecRefused() {
    let source = ExampleSource()
    source.info.responseCode = 431
    source.info.flags = .downstreamProtocolError
    source.info.endedAt = source.info.startedAt
    source.responseHeaders = HeaderMap()
    #expect(
      source.line(.standard)
        == #"[2026-11-22T03:10:01.774Z] "- - HTTP/1.1" 431 DPE 0 0 0 - "-" "-" "-" "-" "-""# + "\n")
  }

  @Test func defaultLineOfAClientThatLeft() {
    let source = ExampleSource.example()
    source.info.responseCode = 0
    source.info.flags = .downstreamConnectionTermination
    source.responseHeaders = nil
    #expect(source.line("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESP(server)%") == "0 DC -")
  }

  @Test func theOriginalPathWinsOverTheRewrittenOne() {
    let source = ExampleSource.example()
    #expect(source.line("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%") == "/ptt/1")
    source.request("x-envoy-original-path", "/before")
    #expect(source.line("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%") == "/before")
  }

  @Test func sixtyFourBitTracesAreShort() {
    let source = ExampleSource()
    source.info.trace.traceIDLow = 0xabc
    source.info.trace.is64Bit = true
    #expect(source.line("%TRACE_ID% %SPAN_ID%") == "0000000000000abc -")
  }

  @Test func unixSocketsAreTheirPathAndHaveNoPort() throws {
    let source = ExampleSource()
    let address = try #require(SocketAddress(unixPath: "/run/a \"b\".sock"))
    source.info.connection = ConnectionInfo(remoteAddress: address, localAddress: address, identifier: 1)
    #expect(
      source.line("%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_PORT%")
        == #"/run/a \x22b\x22.sock /run/a \x22b\x22.sock -"#)
  }

  @Test func theHostsNameAndTheEnvironmentAreReadOnce() throws {
    var asked: [String] = []
    let format = try SubstitutionFormat.compile(
      "%HOSTNAME%|%ENVIRONMENT(STAGE)%|%ENVIRONMENT(STAGE):3%|%ENVIRONMENT(NONE)%|%%",
      environment: {
        asked.append($0)
        return $0 == "STAGE" ? "prod\n\"1" : nil
      }, hostName: "box"
    ).get()
    let source = ExampleSource()
    #expect(source.line(format) == #"box|prod\x0A\x221|pro|-|%"#)
    #expect(source.line(format) == #"box|prod\x0A\x221|pro|-|%"#)
    #expect(asked == ["STAGE", "STAGE", "NONE"])
  }

  // MARK: Headers

  @Test func lengthsCutBytesBeforeTheyAreEscaped() {
    let source = ExampleSource()
    source.request("x-long", "ab\"cdefghijklmnop")
    #expect(source.line("%REQ(X-Long):3%") == #"ab\x22"#)
    #expect(source.line("%REQ(X-Long):2%") == "ab")
    #expect(source.line("%REQ(X-Long):0%") == "")
    #expect(source.line("%REQ(X-Long):17%") == #"ab\x22cdefghijklmnop"#)
    #expect(source.line("%REQ(X-Long):9999999%") == #"ab\x22cdefghijklmnop"#)
    source.info.metadata["a.b"] = "12345"
    #expect(source.line("%DYNAMIC_METADATA(a:b):2%") == "12")
  }

  @Test func anEmptyHeaderIsNotAMissingOne() {
    let source = ExampleSource()
    source.request("x-empty", "")
    source.request("user-agent", "")
    #expect(source.line("<%REQ(x-empty)%><%REQ(USER-AGENT)%><%REQ(x-none)%>") == "<><><->")
    #expect(source.line("<%REQ(x-empty?user-agent)%>") == "<>")
  }

  @Test func theFirstOfSeveralIsTaken() {
    let source = ExampleSource()
    source.request("x-two", "one")
    source.request("x-two", "two")
    #expect(source.line("%REQ(X-TWO)%") == "one")
  }

  @Test func alternativesMayBeOfAnyKind() {
    let source = ExampleSource()
    source.request("x-b", "b")
    source.request("host", "h")
    #expect(source.line("%REQ(x-a?x-b)%%REQ(x-b?x-a)%%REQ(x-a?:authority)%%REQ(server?x-b)%%REQ(x-a?x-c)%") == "bbhb-")
  }

  @Test func theStatusIsAPseudoHeader() {
    let source = ExampleSource()
    #expect(source.line("%RESP(:STATUS)%") == "-")
    source.info.responseCode = 404
    source.responseHeaders = HeaderMap()
    #expect(source.line("%RESP(:status)%") == "404")
    source.response(":status", "503")
    #expect(source.line("%RESP(:STATUS)%") == "503")
  }

  // MARK: Escaping

  /// Every byte at every place, in values of every length around the blocks that are looked at together.
  @Test func nothingAPeerSaysEndsAFieldOrALine() {
    var output = SubstitutionOutput()
    for length in [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40] {
      for place in 0..<length {
        for byte in UInt8.min...UInt8.max {
          var value = [UInt8](repeating: 0x61, count: length)
          value[place] = byte
          output.removeAll()
          value.withUnsafeBufferPointer { output.appendEscaped($0) }
          let line = Array(output.bytes)
          let isPlain = byte >= 0x20 && byte < 0x7f && byte != 0x22 && byte != 0x5c
          #expect(line == (isPlain ? value : Self.escaped(value)), "byte \(byte) at \(place) of \(length)")
        }
      }
    }
    let source = ExampleSource()
    source.info.metadata["a.b"] = "\" 200 -\n[2026] \"GET /\\"
    #expect(source.line("\"%DYNAMIC_METADATA(a:b)%\"") == #""\x22 200 -\x0A[2026] \x22GET /\x5C""#)
  }

  static func escaped(_ bytes: [UInt8]) -> [UInt8] {
    bytes.flatMap { byte -> [UInt8] in
      if byte >= 0x20 && byte < 0x7f && byte != 0x22 && byte != 0x5c { return [byte] }
      let digits = String(byte, radix: 16, uppercase: true)
      return Array("\\x\(digits.count == 1 ? "0" : "")\(digits)".utf8)
    }
  }

  /// What is copied in words stays within the value and within the room that was made for it.
  @Test func nothingBesideAValueIsTouched() throws {
    let page = 4096
    let memory = try #require(mmap(nil, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
    defer { munmap(memory, 2 * page) }
    try #require(mprotect(memory + page, page, PROT_NONE) == 0)
    for length in 0...70 {
      let value = (memory + page - length).assumingMemoryBound(to: UInt8.self)
      value.update(repeating: 0x76, count: length)
      var output = SubstitutionOutput()
      output.appendEscaped(Bytes(start: value, count: length))
      #expect(output.bytes.text == String(repeating: "v", count: length))
    }
  }

  @Test func randomValuesComeBackFromTheLine() {
    var random = SeededRandom(seed: 0x10c)
    for _ in 0..<2_000 {
      let length = Int.random(in: 0...200, using: &random)
      let alphabet: [UInt8] = [0x61, 0x20, 0x22, 0x5c, 0x0a, 0x0d, 0x00, 0x7f, 0xff, 0x78]
      let value = (0..<length).map { _ in
        Int.random(in: 0..<8, using: &random) == 0 ? alphabet.randomElement(using: &random)! : 0x62
      }
      var output = SubstitutionOutput()
      value.withUnsafeBufferPointer { output.appendEscaped($0) }
      #expect(Array(output.bytes) == Self.escaped(value))
    }
  }

  @Test func linesGrowAsTheyMust() {
    let source = ExampleSource()
    source.request("x-large", String(repeating: "é", count: 50_000))
    let value = String(repeating: #"\xC3\xA9"#, count: 50_000)
    #expect(source.line("%REQ(x-large)%%REQ(x-large)%\n") == "\(value)\(value)\n")
  }

  @Test func numbersAreWrittenInFull() {
    for value in [0, 1, 9, 10, 11, 99, 100, 999, 1_000, 12_345, UInt64(UInt32.max), UInt64.max - 1, .max] {
      var output = SubstitutionOutput()
      output.append(decimal: value)
      #expect(output.bytes.text == "\(value)")
    }
    var power: UInt64 = 1
    for _ in 0..<19 {
      power *= 10
      for value in [power - 1, power, power + 1] {
        var output = SubstitutionOutput()
        output.append(decimal: value)
        #expect(output.bytes.text == "\(value)")
      }
    }
  }
}
