import MeshTesting
import Testing

@testable import MeshProxy

/// The answers that the proxy makes itself, as `local_reply_config` wants them. Statuses, headers and bodies are those
/// that Envoy 1.40 sends with the same configuration.
@Suite struct LocalReplyMappingTests {
  static let routes = """
    [{match: {path: /dr}, direct_response: {status: 200, body: {inline_string: direct}}}, \
    {match: {path: /forbidden}, direct_response: {status: 403}}, {match: {path: /down}, route: {cluster: empty}}]
    """

  static func fixture(_ config: String) throws -> WorkerFixture {
    try WorkerFixture(
      routes: routes, clusters: "[{name: empty, type: STATIC}]", manager: "local_reply_config: \(config)")
  }

  static func status(_ code: Int) -> String {
    "filter: {status_code_filter: {comparison: {op: EQ, value: {default_value: \(code)}}}}"
  }

  @Test func bodiesAreFormattedAsText() throws {
    let fixture = try Self.fixture(
      """
      {body_format: {text_format_source: {inline_string: "<%RESPONSE_CODE%|%LOCAL_REPLY_BODY%|%REQ(x-a)%|\
      %RESP(content-type)%|%RESPONSE_CODE_DETAILS%|%ACCESS_LOG_TYPE%|%RESP(:status)%|%DURATION%>"}}}
      """)
    let none = fixture.open("GET", "/none", [("x-a", "\"é")])
    #expect(none.status == 404)
    #expect(none.text == "<404||\"é|-|route_not_found|NotSet|404|0>")
    #expect(none.headers["content-type"] == "text/plain")
    #expect(none.headers["content-length"] == "\(none.body.count)")
    #expect(fixture.open("GET", "/dr").text == "<200|direct|-|-|direct_response|NotSet|200|0>")
    #expect(fixture.open("GET", "/down").text == "<503|no healthy upstream|-|-|no_healthy_upstream|NotSet|503|0>")
  }

  @Test func bodiesAreFormattedAsJSON() throws {
    let fixture = try Self.fixture(
      #"{body_format: {json_format: {code: "%RESPONSE_CODE%", msg: "%LOCAL_REPLY_BODY%", up: "%UPSTREAM_HOST%"}}}"#)
    let none = fixture.open("GET", "/none")
    #expect(none.text == #"{"code":404,"msg":"","up":null}"# + "\n")
    #expect(none.headers["content-type"] == "application/json")
    let typed = try Self.fixture(
      #"{body_format: {json_format: {code: "%RESPONSE_CODE%"}, content_type: "application/problem+json"}}"#)
    #expect(typed.open("GET", "/none").headers["content-type"] == "application/problem+json")
  }

  @Test func withoutAFormatTheBodyStays() throws {
    let fixture = try Self.fixture("{}")
    #expect(fixture.open("GET", "/dr").text == "direct")
    let none = fixture.open("GET", "/none")
    #expect(none.body.isEmpty)
    #expect(none.headers["content-type"] == nil)
    let same = try Self.fixture(#"{body_format: {text_format: "%LOCAL_REPLY_BODY%"}}"#)
    #expect(same.open("GET", "/none").headers["content-type"] == nil)
    #expect(same.open("GET", "/dr").text == "direct")
  }

  @Test func theFirstMapperWhoseFilterHoldsIsApplied() throws {
    let fixture = try Self.fixture(
      """
      {mappers: [\
      {\(Self.status(404)), status_code: 418, body: {inline_string: mapped}, headers_to_add: [\
      {header: {key: x-m, value: "%RESPONSE_CODE%-%REQ(x-a)%"}}, {header: {key: x-e, value: "%REQ(x-none)%"}}, \
      {header: {key: x-k, value: "%REQ(x-none)%"}, keep_empty_value: true}, \
      {header: {key: content-type, value: text/foo}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}, \
      {header: {key: x-o, value: "no"}, append_action: OVERWRITE_IF_EXISTS}]}, \
      {\(Self.status(404)), status_code: 500}, \
      {filter: {response_flag_filter: {flags: [UH]}}, body_format_override: {text_format: "%LOCAL_REPLY_BODY%! %RESPONSE_CODE%", \
      content_type: text/x}}, \
      {\(Self.status(403)), status_code: 204}, \
      {\(Self.status(200)), status_code: 500, body: {inline_string: never}}], \
      body_format: {text_format: "F:%LOCAL_REPLY_BODY%"}}
      """)
    let none = fixture.open("GET", "/none", [("x-a", "y")])
    #expect(none.status == 418)
    #expect(none.text == "F:mapped")
    #expect(none.headers["x-m"] == "404-y")
    #expect(none.headers["x-e"] == nil)
    #expect(none.headers["x-k"] == "")
    #expect(none.headers["x-o"] == nil)
    #expect(none.headers["content-type"] == "text/foo")
    let down = fixture.open("GET", "/down")
    #expect(down.status == 503)
    #expect(down.text == "no healthy upstream! 503")
    #expect(down.headers["content-type"] == "text/x")
    let forbidden = fixture.open("GET", "/forbidden")
    #expect(forbidden.status == 204)
    #expect(forbidden.text == "F:")
    let direct = fixture.open("GET", "/dr")
    #expect(direct.status == 500)
    #expect(direct.text == "F:never")
    #expect(fixture.count(.requestActive) == 0)
  }

  @Test func aMapperCanTakeTheBodyAway() throws {
    let fixture = try Self.fixture("{mappers: [{\(Self.status(200)), status_code: 503, body: {inline_string: ''}}]}")
    let direct = fixture.open("GET", "/dr")
    #expect(direct.status == 503)
    #expect(direct.body.isEmpty)
    #expect(direct.headers["content-type"] == nil)
    #expect(direct.isEnded)
  }

  @Test func callersOfGRPCGetAStatus() throws {
    let call = [("content-type", "application/grpc+proto")]
    let plain = try WorkerFixture(routes: Self.routes, clusters: "[{name: empty, type: STATIC}]")
    let none = plain.open("GET", "/none", call)
    #expect(none.status == 200)
    #expect(none.headers["grpc-status"] == "12")
    #expect(none.headers["grpc-message"] == nil)
    #expect(none.headers["content-type"] == "application/grpc")
    #expect(none.headers["content-length"] == nil)
    #expect(none.body.isEmpty)
    let down = plain.open("GET", "/down", call)
    #expect(down.headers["grpc-status"] == "14")
    #expect(down.headers["grpc-message"] == "no healthy upstream")
    let mapped = try Self.fixture(
      #"{mappers: [{\#(Self.status(404)), status_code: 401, body: {inline_string: "50%\n"}}]}"#
    ).open("GET", "/none", call)
    #expect(mapped.status == 200)
    #expect(mapped.headers["grpc-status"] == "16")
    #expect(mapped.headers["grpc-message"] == "50%25%0A")
    for type in ["application/grpcx", "application/grp", "text/application/grpc"] {
      #expect(plain.open("GET", "/none", [("content-type", type)]).status == 404)
    }
  }

  @Test(arguments: [
    ("{mappers: [{}]}", "filter"), ("{mappers: [{\(status(404)), status_code: 199}]}", "200"),
    ("{mappers: [{\(status(404)), status_code: 600}]}", "600"),
    ("{mappers: [{\(status(404)), headers_to_add: [{header: {key: x, value: '%NOPE%'}}]}]}", "no operator %NOPE%"),
    ("{mappers: [{\(status(404)), headers_to_add: [{header: {key: connection, value: x}}]}]}", "cannot be added"),
    ("{mappers: [{\(status(404)), headers_to_add: [{header: {key: content-length, value: x}}]}]}", "cannot be added"),
    ("{mappers: [{\(status(404)), body_format_override: {text_format: '%'}}]}", "body_format_override.text_format"),
    ("{body_format: {}}", "body_format"), ("{body_format: {json_format: {a: {b: '%X%'}}}}", "json_format.a.b"),
    ("{body_format: {text_format: x, content_type: \"a\\nb\"}}", "content_type"),
    ("{body_format: {text_format: x, formatters: [{name: a}]}}", "formatters"),
  ])
  func problems(config: String, words: String) {
    do {
      _ = try Self.fixture(config)
      Issue.record("\(config) is accepted")
    } catch { #expect("\(error)".contains(words), "\(error)") }
  }
}
