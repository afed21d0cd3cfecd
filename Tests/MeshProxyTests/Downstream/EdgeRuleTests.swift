import Testing

@testable import MeshProxy

/// What the proxy adds to requests and makes of their targets; compared with Envoy 1.40.
@Suite("Edge rules")
struct EdgeRuleTests {
  private static let uuid = "4b5f1c76-a5a1-4e6c-b44f-05f6be3a0b9c"

  // MARK: x-request-id

  @Test(
    "an identifier is kept, made, or left alone",
    arguments: [
      ([], true), (["use_remote_address: true"], false),
      (["use_remote_address: true", "preserve_external_request_id: true"], true),
      (["use_remote_address: true", "generate_request_id: false"], true), (["generate_request_id: false"], true),
    ])
  func requestID(_ fields: [String], _ keeps: Bool) throws {
    let edge = try EdgeFixture(fields)
    let generates = !fields.contains("generate_request_id: false")
    let own = try edge.request([("x-request-id", "mine")])["x-request-id"]
    #expect(keeps ? own == "mine" : own?.utf8.count == 36)
    let made = try edge.request()["x-request-id"]
    #expect(generates ? made?.utf8.count == 36 : made == nil)
    #expect(try edge.request()["x-request-id"] != made || made == nil)
  }

  @Test("one of our own may bring an identifier to the edge")
  func internalRequestID() throws {
    let edge = try EdgeFixture("use_remote_address: true", "internal_address_config: {}")
    #expect(try edge.request([("x-request-id", "mine")])["x-request-id"] == "mine")
    #expect(try edge.request([("x-request-id", "mine")], from: "8.8.8.8:1")["x-request-id"]?.utf8.count == 36)
  }

  @Test("the identifier says whether the request is traced, unless it is not to")
  func traceReason() throws {
    let config = """
      request_id_extension: {typed_config: {"@type": \
      type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig, pack_trace_reason: false}}
      """
    let sampled = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    for (fields, kept, made) in [([], "9", "9"), ([config], "4", "4")] as [([String], Character, Character)] {
      let edge = try EdgeFixture(fields)
      let own = try #require(try edge.request([("x-request-id", Self.uuid), sampled])["x-request-id"])
      #expect(Array(own)[14] == kept)
      #expect(try Array(#require(try edge.request()["x-request-id"]))[14] == made)
    }
  }

  @Test("the identifier goes back always, or to one of our own who wants a trace")
  func returned() throws {
    let always = try EdgeFixture("always_set_request_id_in_response: true")
    #expect(try always.request([("x-request-id", "mine")]).response.headers["x-request-id"] == "mine")
    let edge = try EdgeFixture("use_remote_address: true", "internal_address_config: {}")
    let wish = [("x-envoy-force-trace", "1"), ("x-request-id", "mine")]
    #expect(try edge.request(wish).response.headers["x-request-id"] == "mine")
    #expect(try edge.request(wish, from: "8.8.8.8:1").response.headers["x-request-id"] == nil)
    #expect(try edge.request([wish[1]]).response.headers["x-request-id"] == nil)
  }

  // MARK: What is added

  @Test("via is appended both ways")
  func via() throws {
    let edge = try EdgeFixture("via: pxy")
    #expect(try edge.request()["via"] == "pxy")
    #expect(try edge.request([("via", "1.0 z")])["via"] == "1.0 z, pxy")
    #expect(try edge.request([("via", "1.0 z"), ("via", "1.1 y")])["via"] == "1.0 z, 1.1 y, pxy")
    #expect(try edge.request().response.headers["via"] == "pxy")
    #expect(try EdgeFixture().request().response.headers["via"] == nil)
  }

  @Test("requests say from which proxy they come")
  func userAgent() throws {
    for fields in [["add_user_agent: true"], ["add_user_agent: true", "use_remote_address: true"]] {
      let edge = try EdgeFixture(fields)
      let sent = [("x-envoy-downstream-service-cluster", "q"), ("user-agent", "z")]
      for (headers, agent) in [([], "test-cluster"), (sent, "z"), ([("user-agent", "")], "test-cluster")] {
        let result = try edge.request(headers)
        #expect(result["x-envoy-downstream-service-cluster"] == "test-cluster")
        #expect(result["x-envoy-downstream-service-node"] == "test-node")
        #expect(result["user-agent"] == agent)
      }
    }
  }

  @Test("the scheme is what is forwarded, or what is configured")
  func scheme() throws {
    let forwarded = [("x-forwarded-proto", "http")]
    let overwritten = try EdgeFixture("scheme_header_transformation: {scheme_to_overwrite: https}").request(forwarded)
    #expect(overwritten[":scheme"] == "https")
    #expect(overwritten["x-forwarded-proto"] == "https")
    let matching = try EdgeFixture("scheme_header_transformation: {match_upstream: true}")
      .request([("x-forwarded-proto", "https")])
    #expect(matching[":scheme"] == "http")
    #expect(matching["x-forwarded-proto"] == "https")
  }

  // MARK: Targets

  @Test("a path is normalised before anything else looks at it")
  func path() throws {
    let edge = try EdgeFixture("normalize_path: true", "merge_slashes: true")
    #expect(try edge.request(path: "/a//b/../c?d//e")[":path"] == "/a/c?d//e")
    #expect(try edge.request(path: "/a")[":path"] == "/a")
    let refused = try edge.request(path: "/%00")
    #expect(!refused.goesOn)
    #expect(refused.response.status == 400)
    #expect(refused.details == "path_normalization_failed")
    #expect(edge.count(.requestFailedPathNormalization) == 1)
    #expect(try EdgeFixture().request(path: "/a//../b%00")[":path"] == "/a//../b%00")
  }

  @Test("escaped slashes are refused, decoded, or sent back")
  func escapedSlashes() throws {
    let path = "/a%2fb/../c?d=%2f"
    let refusing = try EdgeFixture("path_with_escaped_slashes_action: REJECT_REQUEST")
    #expect(try refusing.request(path: path).response.status == 400)
    #expect(refusing.count(.requestFailedPathNormalization) == 1)
    let forwarding = try EdgeFixture("path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD", "normalize_path: true")
    #expect(try forwarding.request(path: path)[":path"] == "/a/c?d=%2f")
    let redirecting = try EdgeFixture("path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT", "normalize_path: true")
    let redirect = try redirecting.request(path: path)
    #expect(redirect.response.status == 307)
    #expect(redirect.response.headers["location"] == "/a/c?d=%2f")
    #expect(redirect.details == "path_normalization_failed")
    #expect(redirecting.count(.requestRedirectedPath) == 1)
    #expect(try redirecting.request(path: "/a/../c")[":path"] == "/c")
    for type in ["application/grpc", "application/grpc+proto"] {
      // A call of gRPC cannot be redirected: it is refused, which its client hears in `grpc-status`.
      let refused = try redirecting.request([("content-type", type)], path: path)
      #expect(refused.response.headers["grpc-status"] == "13")
    }
    #expect(try redirecting.request([("content-type", "application/grpcx")], path: path).response.status == 307)
    for action in ["KEEP_UNCHANGED", "IMPLEMENTATION_SPECIFIC_DEFAULT"] {
      #expect(try EdgeFixture("path_with_escaped_slashes_action: \(action)").request(path: path)[":path"] == path)
    }
  }

  @Test("a port or a dot goes from the host")
  func host() throws {
    let matching = try EdgeFixture("strip_matching_host_port: true")
    #expect(try matching.request(host: "h:8080")["host"] == "h")
    #expect(try matching.request(host: "h:80")["host"] == "h:80")
    let any = try EdgeFixture("strip_any_host_port: true", "strip_trailing_host_dot: true")
    #expect(try any.request(host: "h.:80")["host"] == "h")
  }

  @Test("a whole URL as target is refused where that is wanted")
  func absoluteTarget() throws {
    let edge = try EdgeFixture("http_protocol_options: {allow_absolute_url: false}")
    let refused = try edge.request(isAbsoluteTarget: true)
    #expect(refused.response.status == 404)
    #expect(refused.details == "absolute_path_rejected")
    #expect(edge.count(.requestNonRelativePath) == 1)
    #expect(try edge.request().goesOn)
    #expect(try EdgeFixture().request(isAbsoluteTarget: true).goesOn)
  }
}
