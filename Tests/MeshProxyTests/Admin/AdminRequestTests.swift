import MeshHTTP
import MeshPrimitives
import MeshTesting
import SwiftProtobuf
import Testing

@testable import MeshProxy

@Suite("Admin requests")
struct AdminRequestTests {
  @Test("percent-encoding: what is no such sequence stays")
  func percent() {
    #expect(AdminRequest.percentDecoded("a%20b%2Bc+d") == "a b+c+d")
    #expect(AdminRequest.percentDecoded("%") == "%")
    #expect(AdminRequest.percentDecoded("%4") == "%4")
    #expect(AdminRequest.percentDecoded("%41") == "A")
    #expect(AdminRequest.percentDecoded("%zz%e2%82%ac%C3") == "%zz€\u{fffd}")
    #expect(AdminRequest.percentDecoded("%00") == "\0")
  }

  @Test("parameters: in order, with and without a value")
  func parameters() {
    let parameters = AdminRequest.parameters(in: "a=1&&b&c=&d=x=y&a=2&%66=%26")
    #expect(parameters.map(\.name) == ["a", "b", "c", "d", "a", "f"])
    #expect(parameters.map(\.value) == ["1", "", "", "x=y", "2", "&"])
  }

  private static let sameSite: [(host: String, headers: [String])] = [
    ("127.0.0.1:9901", []), ("127.0.0.1:9901", ["origin: http://127.0.0.1:9901"]),
    ("localhost:9901", ["origin: http://localhost:9901", "sec-fetch-site: same-origin"]),
    ("[::1]:9901", ["Origin: HTTP://[::1]:9901"]), ("10.0.0.1", ["origin: https://10.0.0.1"]),
    ("proxy.example:9901", []), ("127.0.0.1:9901", ["sec-fetch-site: none"]),
    ("admin.localhost:9901", ["origin: http://admin.localhost:9901"]),
  ]
  private static let crossSite: [(host: String, headers: [String])] = [
    ("127.0.0.1:9901", ["origin: http://evil.example"]), ("127.0.0.1:9901", ["origin: null"]),
    ("127.0.0.1:9901", ["origin: http://127.0.0.1:8000"]), ("127.0.0.1:9901", ["origin: http://localhost:9901"]),
    ("127.0.0.1:9901", ["sec-fetch-site: cross-site"]), ("127.0.0.1:9901", ["sec-fetch-site: same-site"]),
    // A name that someone else owns and has made to resolve to this machine.
    ("evil.example:9901", ["origin: http://evil.example:9901", "sec-fetch-site: same-origin"]),
    ("127.0.0.1.evil.example:9901", ["origin: http://127.0.0.1.evil.example:9901"]),
    ("127.0.0.1:9901", ["origin: "]),
  ]

  @Test("state changes asked for by pages of other sites are refused")
  func crossSiteRequests() async throws {
    try await withAdmin { admin in
      func send(_ host: String, _ headers: [String], _ method: String = "POST") throws -> RawResponse {
        let connection = try admin.connect()
        let lines = ["\(method) /healthcheck/fail HTTP/1.1", "host: \(host)", "content-length: 0"] + headers
        try connection.send(lines.joined(separator: "\r\n") + "\r\n\r\n")
        return try connection.receiveResponse()
      }
      for (host, headers) in Self.crossSite {
        let response = try send(host, headers)
        #expect(response.status == 403, "\(host) \(headers)")
        #expect(response.text == "cross-site request refused\n")
      }
      try #expect(admin.calls == [])
      for (host, headers) in Self.sameSite {
        try #expect(send(host, headers).status == 200, "\(host) \(headers)")
      }
      try #expect(admin.calls.count == Self.sameSite.count)
      // Looking is allowed: a page of another site may ask, but does not get to read the answer.
      try #expect(admin.request("GET", "/help", headers: ["origin: http://evil.example"]).status == 200)
    }
  }

  @Test("messages are laid out anew: strings as they are, whole numbers without a fraction")
  func messages() throws {
    var writer = JSONWriter()
    let text = #"{"a":1.0,"b":[10.0,1.5,-2.0,"1.0","x\"}],:\\",null,true],"c":{},"d":[],"e":1e30}"#
    writer.message(try Google_Protobuf_Struct(jsonString: text))
    let value = try Google_Protobuf_Struct(jsonString: String(decoding: writer.output, as: UTF8.self))
    #expect(try value == Google_Protobuf_Struct(jsonString: text))
    // The members of a free structure come in any order.
    let lines = String(decoding: writer.output, as: UTF8.self).split(separator: "\n").map { line in
      line.drop { $0 == " " }.dropLast(line.hasSuffix(",") ? 1 : 0)
    }
    for line in ["\"a\": 1", "10", "1.5", "-2", "\"1.0\"", #""x\"}],:\\""#, "null", "true"] {
      #expect(lines.contains { $0 == line }, "\(line)")
    }
  }

  @Test("JSON is laid out anew, whatever its strings hold")
  func layout() {
    var writer = JSONWriter()
    writer.beginObject()
    writer.name("a\"\\\n\u{1}/é")
    writer.beginArray()
    writer.beginObject()
    writer.endObject()
    writer.beginArray()
    writer.endArray()
    writer.integer(-1)
    writer.bool(false)
    writer.endArray()
    writer.endObject()
    #expect(
      String(decoding: writer.output, as: UTF8.self)
        == "{\n \"a\\\"\\\\\\n\\u0001/é\": [\n  {},\n  [],\n  -1,\n  false\n ]\n}\n")
  }
}
