import MeshAPI
import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshTesting
import SwiftProtobuf
import Testing

@testable import MeshProxy
@testable import MeshRouting

/// What each operator writes, as text and as JSON, of a stream of which everything is known and of one of which nothing
/// is. The forms are those of Envoy 1.40.
@Suite struct SubstitutionValueTests {
  struct Case {
    let format: String
    let text: String
    let json: String
    let unknownText: String
    let unknownJSON: String

    /// A string, or a number with `isNumber`; `-` and `null` where nothing is known.
    init(_ format: String, _ text: String, unknown: String? = nil, isNumber: Bool = false) {
      self.format = "%\(format)%"
      self.text = text
      json = isNumber ? text : "\"\(text)\""
      unknownText = unknown ?? "-"
      unknownJSON = unknown.map { isNumber ? $0 : "\"\($0)\"" } ?? "null"
    }

    init(_ format: String, text: String, json: String, unknownText: String = "-", unknownJSON: String = "null") {
      self.format = "%\(format)%"
      self.text = text
      self.json = json
      self.unknownText = unknownText
      self.unknownJSON = unknownJSON
    }
  }

  static let cases: [Case] = [
    Case("START_TIME", "2026-11-22T03:10:01.774Z", unknown: "2026-11-22T03:10:01.774Z"),
    Case("START_TIME(%s.%3f)", "1795317001.774", unknown: "1795317001.774"),
    Case("EMIT_TIME", "2026-11-22T03:10:02.193Z", unknown: "2026-11-22T03:10:01.774Z"),
    Case("DURATION", "418", isNumber: true),
    Case("REQUEST_DURATION", "7", isNumber: true),
    Case("REQUEST_TX_DURATION", "8", isNumber: true),
    Case("RESPONSE_DURATION", "400", isNumber: true),
    Case("RESPONSE_TX_DURATION", "18", isNumber: true),
    Case("UPSTREAM_CONNECTION_POOL_READY_DURATION", "5", isNumber: true),
    Case("COMMON_DURATION(DS_RX_BEG:DS_RX_END)", "7", isNumber: true),
    Case("COMMON_DURATION(DS_RX_BEG:DS_RX_END:us)", "7000", isNumber: true),
    Case("COMMON_DURATION(US_CX_BEG:US_CX_END:ns)", "3000000", isNumber: true),
    Case("COMMON_DURATION(DS_RX_BEG:US_TX_BEG:ms)", "6", isNumber: true),
    Case("COMMON_DURATION(DS_RX_BEG:US_TX_END:ms)", "8", isNumber: true),
    Case("COMMON_DURATION(DS_RX_BEG:US_RX_BEG:ms)", "400", isNumber: true),
    Case("COMMON_DURATION(US_RX_BEG:US_RX_BODY_BEG:ms)", "2", isNumber: true),
    Case("COMMON_DURATION(US_RX_BEG:US_RX_END:ms)", "4", isNumber: true),
    Case("COMMON_DURATION(DS_RX_BEG:DS_TX_BEG:ms)", "401", isNumber: true),
    Case("COMMON_DURATION(DS_RX_BEG:DS_TX_END:ms)", "418", isNumber: true),
    Case("COMMON_DURATION(DS_TX_END:DS_RX_BEG:ms)", "-", unknown: "-").unknown,
    Case("COMMON_DURATION(DS_RX_BEG:US_HS_END)", "-").unknown,
    Case("COMMON_DURATION(DS_CX_BEG:DS_CX_END)", "-").unknown,
    Case("COMMON_DURATION(DS_RX_BEG:DS_HS_END)", "-").unknown,
    Case("DOWNSTREAM_CX_RTT", "2", isNumber: true),

    Case("PROTOCOL", "HTTP/1.1", unknown: "HTTP/1.1"),
    Case("UPSTREAM_PROTOCOL", "HTTP/1.1"),
    Case("REQ(User-Agent)", "curl/7.88.1"),
    Case("REQUEST_HEADER(x-none?user-agent):4", "curl"),
    Case("STREAM_INFO_REQ(:METHOD)", "GET"),
    Case("RESP(Server)", "martlet"),
    Case("RESPONSE_HEADER(server):3", "mar"),
    Case("TRAILER(X-Sum)", "abc"),
    Case("RESPONSE_TRAILER(x-none?x-sum):1", "a"),
    Case("PATH", "/before?x=1"),
    Case("PATH(WQ)", "/before?x=1"),
    Case("PATH(NQ)", "/before"),
    Case("PATH(NQ):3", "/be"),
    Case("PATH(WQ:ORIG)", "/before?x=1"),
    Case("PATH(NQ:PATH)", "/ptt/1"),
    Case("PATH(WQ:PATH)", "/ptt/1?a=1&b=two%20x&a=3&c&=d"),
    Case("PATH(WQ:ORIG_OR_PATH)", "/before?x=1"),
    Case("QUERY_PARAM(a)", "1"),
    Case("QUERY_PARAM(b)", "two%20x"),
    Case("QUERY_PARAM(b):2", "tw"),
    Case("QUERY_PARAM(c)", text: "", json: #""""#),
    Case("QUERY_PARAM(none)", "-").unknown,
    Case("QUERY_PARAMS", "a=1&b=two%20x&a=3&c&=d"),
    Case("QUERY_PARAMS(ORIG):5", "a=1&b"),
    Case("QUERY_PARAMS(DECODED)", "a=1&b=two x&a=3&c&=d"),
    Case("REQUESTED_SERVER_NAME", "-").unknown,
    Case("REQUESTED_SERVER_NAME(SNI_ONLY)", "-").unknown,
    Case("REQUESTED_SERVER_NAME(SNI_FIRST)", "127.0.0.1:18080"),
    Case("REQUESTED_SERVER_NAME(HOST_FIRST:HOST)", "127.0.0.1:18080"),
    Case("REQUESTED_SERVER_NAME(HOST_FIRST:ORIG)", "-").unknown,
    Case("RESPONSE_CODE", "504", unknown: "0", isNumber: true),
    Case(
      "RESPONSE_CODE_DETAILS", "upstream_reset_before_response_started{connection_termination|http1.bad}"),
    Case(
      "RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)",
      "upstream_reset_before_response_started{connection_termination|http1.bad}"),
    Case("RESPONSE_FLAGS", "URX,UT", unknown: "-"),
    Case("RESPONSE_FLAGS_LONG", "UpstreamRetryLimitExceeded,UpstreamRequestTimeout", unknown: "-"),
    Case("GRPC_STATUS", "InvalidArgument"),
    Case("GRPC_STATUS(CAMEL_STRING)", "InvalidArgument"),
    Case("GRPC_STATUS(SNAKE_STRING)", "INVALID_ARGUMENT"),
    Case("GRPC_STATUS(NUMBER)", "3", isNumber: true),
    Case("GRPC_STATUS_NUMBER", "3", isNumber: true),
    Case("LOCAL_REPLY_BODY", "the body", unknown: ""),

    Case("BYTES_RECEIVED", "1234567890123", unknown: "0", isNumber: true),
    Case("BYTES_SENT", "24", unknown: "0", isNumber: true),
    Case("BYTES_RETRANSMITTED", "0", unknown: "0", isNumber: true),
    Case("PACKETS_RETRANSMITTED", "0", unknown: "0", isNumber: true),
    // Names and values: GET, the path, the authority, the scheme that HTTP/1.1 does not write, and seven fields.
    Case("REQUEST_HEADERS_BYTES", "\(Self.requestSize)", unknown: "0", isNumber: true),
    Case("RESPONSE_HEADERS_BYTES", "23", unknown: "0", isNumber: true),
    Case("RESPONSE_TRAILERS_BYTES", "20", unknown: "0", isNumber: true),
    Case("DOWNSTREAM_WIRE_BYTES_RECEIVED", "1001", unknown: "0", isNumber: true),
    Case("DOWNSTREAM_WIRE_BYTES_SENT", "1002", unknown: "0", isNumber: true),
    Case("DOWNSTREAM_HEADER_BYTES_RECEIVED", "1003", unknown: "0", isNumber: true),
    Case("DOWNSTREAM_HEADER_BYTES_SENT", "1004", unknown: "0", isNumber: true),
    Case("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", "1003", unknown: "0", isNumber: true),
    Case("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", "1004", unknown: "0", isNumber: true),
    Case("UPSTREAM_WIRE_BYTES_RECEIVED", "2001", unknown: "0", isNumber: true),
    Case("UPSTREAM_WIRE_BYTES_SENT", "2002", unknown: "0", isNumber: true),
    Case("UPSTREAM_HEADER_BYTES_RECEIVED", "2003", unknown: "0", isNumber: true),
    Case("UPSTREAM_HEADER_BYTES_SENT", "2004", unknown: "0", isNumber: true),
    Case("UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", "2003", unknown: "0", isNumber: true),
    Case("UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", "2004", unknown: "0", isNumber: true),

    Case("UPSTREAM_HOST", "127.0.0.1:19001"),
    Case("UPSTREAM_HOST_NAME", "upstream.test"),
    Case("UPSTREAM_HOST_NAME_WITHOUT_PORT", "upstream.test"),
    Case("UPSTREAM_HOSTS_ATTEMPTED", "10.0.0.9:80,127.0.0.1:19001"),
    Case("UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT", "10.0.0.9,127.0.0.1"),
    Case("UPSTREAM_HOST_NAMES_ATTEMPTED", "10.0.0.9:80,upstream.test"),
    Case("UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT", "10.0.0.9,upstream.test"),
    Case("UPSTREAM_CLUSTER", "stat1"),
    Case("UPSTREAM_CLUSTER_RAW", "service1"),
    Case("UPSTREAM_LOCAL_ADDRESS", "127.0.0.2:40000"),
    Case("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "127.0.0.2"),
    Case("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(8)", "127.0.0.0/8"),
    Case("UPSTREAM_LOCAL_PORT", "40000", isNumber: true),
    Case("UPSTREAM_REMOTE_ADDRESS", "127.0.0.1:19001"),
    Case("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "127.0.0.1"),
    Case("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(0)", "0.0.0.0/0"),
    Case("UPSTREAM_REMOTE_PORT", "19001", isNumber: true),
    Case("UPSTREAM_CONNECTION_ID", "77", unknown: "0", isNumber: true),
    Case("UPSTREAM_CONNECTION_IDS_ATTEMPTED", "76,77"),
    Case("UPSTREAM_REQUEST_ATTEMPT_COUNT", "2", unknown: "0", isNumber: true),

    Case("ROUTE_NAME", "front"),
    Case("VIRTUAL_CLUSTER_NAME", "virtual"),
    Case("LISTENER_NAME", "edge"),
    Case("FILTER_CHAIN_NAME", "plain"),
    Case("METADATA(ROUTE:ns:key)", text: #"va\x22lue"#, json: #""va\"lue""#),
    Case("METADATA(ROUTE:ns:key):2", text: "va", json: #""va\"lue""#),
    Case("METADATA(ROUTE:ns:number)", "7", isNumber: true),
    Case("METADATA(ROUTE:ns:object:flag)", text: "true", json: "true"),
    Case(
      "METADATA(ROUTE:ns:object)", text: #"{"flag":true,"list":[1,2.5,"a\"",null]}"#,
      json: #"{"flag":true,"list":[1,2.5,"a\"",null]}"#),
    Case("METADATA(ROUTE:ns:object:none)", "-").unknown,
    Case("METADATA(ROUTE:ns:null)", "-").unknown,
    Case("METADATA(ROUTE:none)", "-").unknown,
    Case("METADATA(CLUSTER:ns:key)", "cluster's"),
    Case("CLUSTER_METADATA(ns:key)", "cluster's"),
    Case("METADATA(UPSTREAM_HOST:ns:key)", "-").unknown,
    Case("UPSTREAM_METADATA(ns:key)", "-").unknown,
    Case("METADATA(LISTENER:ns:key)", "-").unknown,
    Case("METADATA(LISTENER_FILTER_CHAIN:ns:key)", "-").unknown,
    Case("METADATA(VIRTUAL_HOST:ns:key)", "-").unknown,
    Case("METADATA(DYNAMIC:my.filter:key)", text: #"va\x22lue"#, json: #""va\"lue""#),
    Case("DYNAMIC_METADATA(my.filter:key)", text: #"va\x22lue"#, json: #""va\"lue""#),
    Case(
      "DYNAMIC_METADATA(my.filter)", text: #"{"a.b":"c","key":"va\"lue"}"#,
      json: #"{"a.b":"c","key":"va\"lue"}"#),
    Case("HOSTNAME", CurrentProcess.hostName, unknown: CurrentProcess.hostName),
    Case("ENVIRONMENT(MARTLET_NOT_SET)", "-", unknown: "-"),

    Case("DOWNSTREAM_LOCAL_ADDRESS", "[::1]:8000"),
    Case("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "::1"),
    Case("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(64)", "::/64"),
    Case("DOWNSTREAM_LOCAL_PORT", "8000", isNumber: true),
    Case("DOWNSTREAM_DIRECT_LOCAL_ADDRESS", "[::1]:8000"),
    Case("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT", "::1"),
    Case("DOWNSTREAM_DIRECT_LOCAL_PORT", "8000", isNumber: true),
    Case("DOWNSTREAM_REMOTE_ADDRESS", "10.1.2.3:1234"),
    Case("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "10.1.2.3"),
    Case("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(16)", "10.1.0.0/16"),
    Case("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(33)", "10.1.2.3/32"),
    Case("DOWNSTREAM_REMOTE_PORT", "1234", isNumber: true),
    Case("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "10.1.2.3:1234"),
    Case("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", "10.1.2.3"),
    Case("DOWNSTREAM_DIRECT_REMOTE_PORT", "1234", isNumber: true),

    Case("CONNECTION_ID", "281474976710661", unknown: "0", isNumber: true),
    Case("STREAM_ID", "1e5fb6bd-debf-992c-b0d9-cd3271ad7cf9"),
    Case("UNIQUE_ID", "01234567-89ab-4def-bedc-ba9876543210", unknown: "01234567-89ab-4def-bedc-ba9876543210"),
    Case("TRACE_ID", "0af7651916cd43dd8448eb211c80319c"),
    Case("SPAN_ID", "b7ad6b7169203331"),
    Case("ACCESS_LOG_TYPE", "DownstreamEnd", unknown: "NotSet"),
    Case(
      #"COALESCE({"operators":["REQUESTED_SERVER_NAME",{"command":"REQ","param":":authority"}]})"#, "127.0.0.1:18080"),
    Case(
      #"COALESCE({"operators":[{"command":"REQ","param":":authority","max_length":5},"PROTOCOL"]}):3"#, text: "127",
      json: #""127.0""#, unknownText: "HTT", unknownJSON: #""HTTP/1.1""#),
    Case(#"COALESCE({"operators":["DURATION","ROUTE_NAME"]})"#, "418", isNumber: true),
    Case("DOWNSTREAM_DETECTED_CLOSE_TYPE", "Normal", unknown: "Normal"),
    Case("UPSTREAM_DETECTED_CLOSE_TYPE", "Normal"),
    Case("DOWNSTREAM_LOCAL_CLOSE_REASON", "tcp_session_idle_timeout"),
    Case("UPSTREAM_TRANSPORT_FAILURE_REASON", "connect_error"),
    Case("REQ(:scheme)", "http"),
    Case("CUSTOM_FLAGS", "", unknown: ""),
    Case("DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID", "", unknown: ""),
    Case("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID", "", unknown: ""),
    Case("UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", "", unknown: ""),
    Case("CONNECTION_TERMINATION_DETAILS", "-").unknown,
    Case("FILTER_STATE(key:PLAIN):5", "-").unknown,
    Case("DOWNSTREAM_PEER_CERT_V_START(%s)", "-").unknown,
  ]

  /// Besides those above, everything that is never known.
  @Test func everyOperator() throws {
    let source = try Self.complete()
    let empty = ExampleSource()
    for example in Self.cases {
      #expect(source.line("<\(example.format)>") == "<\(example.text)>", "\(example.format)")
      #expect(source.json(example.format) == "{\"v\":\(example.json)}\n", "\(example.format)")
      #expect(empty.line("<\(example.format)>") == "<\(example.unknownText)>", "\(example.format) of nothing")
      #expect(empty.json(example.format) == "{\"v\":\(example.unknownJSON)}\n", "\(example.format) of nothing")
    }
    for name in SubstitutionName.alwaysUnknown {
      let argument = name.argument == .ignoredRequired ? "(key)" : ""
      #expect(source.line("%\(name.name)\(argument)%") == "-")
      #expect(source.json("%\(name.name)\(argument)%") == "{\"v\":null}\n")
    }
    let tried = Set(Self.cases.map { String($0.format.dropFirst().prefix { $0 != "%" && $0 != "(" }) })
    let local = ["START_TIME_LOCAL", "EMIT_TIME_LOCAL"]
    #expect(Set(SubstitutionName.known.map(\.name)).subtracting(tried).subtracting(local) == [])
    #expect(
      Set(SubstitutionName.known.map(\.operation)).union([
        .unknown, .requestScheme, .pathWithoutQuery, .decodedQuery, .grpcStatusSnake, .upstreamTLS,
        .downstreamTLS,
      ])
        == Set(SubstitutionOperator.allCases))
  }

  static let requestSize = 7 + 3 + 5 + 29 + 10 + 15 + 7 + 4 + 10 + 11 + 15 + 9 + 12 + 36 + 12 + 16 + 21 + 11

  static func metadata(_ json: String) throws -> Metadata {
    var result = Metadata()
    result.filterMetadata["ns"] = try Google_Protobuf_Struct(jsonString: json)
    return result
  }

  /// A stream of which everything is known.
  static func complete() throws -> ExampleSource {
    let source = ExampleSource.example()
    let worker = try Worker(index: 0, seed: 1)
    let store = StatsStore(lanes: 1)
    source.requestHeaders.set(HeaderName(":path"), Bytes("/ptt/1?a=1&b=two%20x&a=3&c&=d"))
    source.request("x-envoy-original-path", "/before?x=1")
    source.request("content-type", "application/grpc")
    source.response("server", "martlet")
    let trailers = HeaderMap()
    ExampleSource.add(trailers, "x-sum", Array("abc".utf8))
    ExampleSource.add(trailers, "grpc-status", Array("3".utf8))
    source.responseTrailers = trailers
    source.info.details = .init("upstream_reset_before_response_started", "connection_termination", "http1.bad")
    source.info.bytesReceived = 1_234_567_890_123
    let start = source.info.startedAt
    source.info.requestCompleteAt = start + .milliseconds(7)
    source.info.upstreamRequestStartedAt = start + .milliseconds(1)
    source.info.upstreamResponseStartedAt = start + .milliseconds(400)
    source.info.responseStartedAt = start + .milliseconds(401)
    source.info.upstreamTiming.connectionReadyAt = start + .milliseconds(6)
    source.info.upstreamTiming.requestSentAt = start + .milliseconds(8)
    source.info.upstreamTiming.bodyStartedAt = start + .milliseconds(402)
    source.info.upstreamTiming.responseCompleteAt = start + .milliseconds(404)
    source.info.attempts = 2
    source.info.upstreamFailure = "connect_error"
    let earlier = EarlierAttempts()
    earlier.append(
      Endpoint(address: try #require(SocketAddress("10.0.0.9:80")), hostname: "", lanes: 1), connection: 76)
    source.info.earlierAttempts = earlier
    source.info.upstreamWire = WireBytes(received: 2001, sent: 2002, headerReceived: 2003, headerSent: 2004)
    source.downstreamWire = WireBytes(received: 1001, sent: 1002, headerReceived: 1003, headerSent: 1004)
    source.downstreamRoundTrip = Nanoseconds(rawValue: 2_999_999)
    source.localReplyBody = Array("the body".utf8)
    source.localCloseReason = "tcp_session_idle_timeout"
    source.listenerName = "edge"
    source.filterChainName = "plain"
    source.virtualClusterName = "virtual"
    source.info.logType = .downstreamEnd
    source.info.route = RouteEntry(
      name: "front", virtualHostName: "v", virtualHostIndex: 0, routeIndex: 0,
      action: .directResponse(DirectResponse(status: 200, body: [])), requestHeaders: HeaderMutations(),
      responseHeaders: HeaderMutations())
    source.info.cluster = ActiveCluster(
      worker: worker, identity: ClusterIdentity(name: "service1", statName: "stat1", store: store),
      configuration: cluster("service1", statName: "stat1"))
    source.info.upstreamConnection = UpstreamConnectionInfo(
      address: try #require(SocketAddress("127.0.0.1:40001")), localAddress: SocketAddress("127.0.0.2:40000"),
      identifier: 77, openedAt: start + .milliseconds(2), establishedAt: start + .milliseconds(5))
    source.info.connection = ConnectionInfo(
      remoteAddress: try #require(SocketAddress("10.1.2.3:1234")),
      localAddress: try #require(SocketAddress("[::1]:8000")), identifier: 1 << 48 | 5)
    source.info.trace.traceIDHigh = 0x0af7_6519_16cd_43dd
    source.info.trace.traceIDLow = 0x8448_eb21_1c80_319c
    source.info.trace.spanID = 0xb7ad_6b71_6920_3331
    source.info.metadata = ["my.filter.key": "va\"lue", "my.filter.a.b": "c"]
    source.configuredMetadata[.route] = try metadata(
      #"{"key": "va\"lue", "number": 7, "null": null, "object": {"flag": true, "list": [1, 2.5, "a\"", null]}}"#)
    source.configuredMetadata[.cluster] = try metadata(#"{"key": "cluster's"}"#)
    return source
  }

  static func cluster(_ name: String, statName: String) -> ClusterConfiguration {
    ClusterConfiguration(name: name, statName: statName)
  }

  @Test func gRPCStatusesComeFromTrailersHeadersOrTheStatus() {
    let source = ExampleSource()
    source.info.responseCode = 404
    #expect(source.line("%GRPC_STATUS%") == "-")
    source.request("content-type", "application/grpc+proto")
    #expect(
      source.line("%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%") == "Unimplemented UNIMPLEMENTED 12")
    source.response("grpc-status", "1")
    #expect(source.line("%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%") == "Canceled CANCELLED 1")
    let trailers = HeaderMap()
    ExampleSource.add(trailers, "grpc-status", Array("99".utf8))
    source.responseTrailers = trailers
    #expect(source.line("%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%") == "99 99 99")
    ExampleSource.add(trailers, "grpc-status", Array("1".utf8))
    trailers.remove(HeaderName("grpc-status"))
    ExampleSource.add(trailers, "grpc-status", Array("1x".utf8))
    #expect(source.line("%GRPC_STATUS% %GRPC_STATUS_NUMBER%") == "-1 -1")
    let words = (0...16).map { code -> String in
      let other = ExampleSource()
      other.request("content-type", "application/grpc")
      other.response("grpc-status", "\(code)")
      other.info.responseCode = 200
      return other.line("%GRPC_STATUS(SNAKE_STRING)%")
    }
    #expect(words.joined(separator: " ").hasSuffix("UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED"))
    #expect(words.first == "OK")
  }

  @Test func headerValuesKeepBytesAndLeaveOutWhatIsNotKnown() throws {
    let source = ExampleSource.example()
    source.request("x-raw", "a\"\u{e9}")
    let format = try SubstitutionFormat.compile("<%REQ(x-raw)%|%REQ(x-none)%|%RESPONSE_FLAGS%>", for: .headerValue)
      .get()
    #expect(source.line(format) == "<a\"\u{e9}||URX,UT>")
    #expect(format.literal == nil)
    #expect(try SubstitutionFormat.compile("100%% plain", for: .headerValue).get().literal == Array("100% plain".utf8))
    #expect(try SubstitutionFormat.compile("", for: .headerValue).get().literal == [])
  }

  @Test func localTimesAreInTheMachinesZone() {
    let source = ExampleSource.example()
    let zone = LocalTime.zone(at: 1_795_317_001)
    let sign = zone.offset < 0 ? "-" : "+"
    let hours = abs(zone.offset) / 3600
    let minutes = abs(zone.offset) / 60 % 60
    let offset = "\(sign)\(hours < 10 ? "0" : "")\(hours)\(minutes < 10 ? "0" : "")\(minutes)"
    #expect(source.line("%START_TIME_LOCAL(%z %Z %s)%") == "\(offset) \(zone.name) 1795317001")
    #expect(source.line("%START_TIME_LOCAL%").hasSuffix(".774\(offset)"))
    #expect(source.line("%EMIT_TIME_LOCAL(%s)%") == "1795317002")
    #expect(source.json("%EMIT_TIME_LOCAL%").hasSuffix(".193\(offset)\"}\n"))
    for (offset, text) in [(3600, "1970-01-01 01:00:00 +0100 X"), (-5400, "1969-12-31 22:30:00 -0130 X")] {
      var output = SubstitutionOutput()
      let format = try? SubstitutionTimeFormat(Array("%F %T %z %Z".utf8)[...])
      format?.write(86_400_000_000_000, offset: offset, zone: "X", into: &output)
      #expect(output.bytes.text.hasSuffix(String(text.dropFirst(10))))
    }
  }
}

extension SubstitutionValueTests.Case {
  /// Not known even of a stream of which everything is known.
  var unknown: Self { .init(String(format.dropFirst().dropLast()), text: "-", json: "null") }
}
