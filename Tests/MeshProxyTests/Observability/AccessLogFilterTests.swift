import MeshHTTP
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

/// What filters of access logs hold for. The verdicts on real requests are Envoy's.
@Suite struct AccessLogFilterTests {
  /// A filter as a configuration has it, and a stream to judge.
  final class Bench {
    let fixture: WorkerFixture
    let stream: MeshProxy.Stream
    let filter: AccessLogFilter

    init(_ filter: String) throws {
      fixture = try WorkerFixture(
        routes: "[]",
        manager: """
          access_log: [{name: a, filter: \(filter), typed_config: {"@type": \
          type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}}]
          """)
      self.filter = try #require(fixture.manager.configuration.logging.accessLogs.first?.filter)
      stream = MeshProxy.Stream(worker: fixture.worker)
      stream.requestHeaders = HeaderMap()
      stream.info.startedAt = MonotonicTime(nanoseconds: 1_000_000_000)
      stream.info.endedAt = stream.info.startedAt + .milliseconds(50)
      stream.info.responseCode = 200
    }

    var verdict: Bool { filter.includes(stream) }

    func header(_ name: String, _ value: String) {
      stream.requestHeaders.remove(HeaderName(name))
      Array(value.utf8).withUnsafeBufferPointer { stream.requestHeaders.add(HeaderName(name), $0) }
    }
  }

  static func comparison(_ operation: String, _ value: Int, key: String = "") -> String {
    "{comparison: {op: \(operation), value: {default_value: \(value), runtime_key: \"\(key)\"}}}"
  }

  @Test(arguments: [
    ("EQ", [false, true, false]), ("GE", [false, true, true]), ("LE", [true, true, false]),
    ("NE", [true, false, true]),
  ])
  func statusesAndDurations(_ operation: String, _ verdicts: [Bool]) throws {
    let code = try Bench("{status_code_filter: \(Self.comparison(operation, 404))}")
    for (status, verdict) in zip([200, 404, 503], verdicts) {
      code.stream.info.responseCode = status
      #expect(code.verdict == verdict, "\(operation) \(status)")
    }
    let duration = try Bench("{duration_filter: \(Self.comparison(operation, 50))}")
    for (milliseconds, verdict) in zip([UInt64(49), 50, 51], verdicts) {
      duration.stream.info.endedAt = duration.stream.info.startedAt + .milliseconds(milliseconds)
      #expect(duration.verdict == verdict, "\(operation) \(milliseconds) ms")
    }
  }

  @Test func aStreamThatGoesOnHasLastedUntilNow() throws {
    let bench = try Bench("{duration_filter: \(Self.comparison("GE", 10))}")
    bench.stream.info.endedAt = nil
    #expect(!bench.verdict)
    bench.stream.info.loggedAt = bench.stream.info.startedAt + .milliseconds(10)
    #expect(bench.verdict)
  }

  @Test func theRuntimeReplacesNumbersAndShares() throws {
    let code = try Bench("{status_code_filter: \(Self.comparison("GE", 500, key: "log.from"))}")
    let share = try Bench("{runtime_filter: {runtime_key: log.share, percent_sampled: {numerator: 100}}}")
    code.stream.info.responseCode = 404
    #expect(!code.verdict)
    #expect(share.verdict)
    let layer = { (key: String, text: String) in
      Runtime.Layer(name: "test", entries: [key: RuntimeEntry(text)])
    }
    code.fixture.runtime.update([layer("log.from", "400")])
    share.fixture.runtime.update([layer("log.share", "0")])
    #expect(code.verdict)
    #expect(!share.verdict)
    code.fixture.runtime.update([])
    #expect(!code.verdict)
  }

  /// The same requests everywhere: Envoy 1.40 was asked about these.
  @Test func sharesFollowTheRequestsIdentifier() throws {
    let bench = try Bench("{runtime_filter: {runtime_key: a.b, percent_sampled: {numerator: 50}}}")
    for (identifier, verdict) in [
      ("ad055f86-337c-4764-a560-9fe7b4f934ed", true), ("0379b4f1-1c96-41da-87a0-86034b9af348", true),
      ("d9e7ecf9-e68d-4932-a59d-52c3a52c40b7", false), ("5bccb385-0e29-4eb7-9e81-f727d701b8f2", false),
      ("1d60dca7-d76b-47cc-a276-88c05cad6ecb", true), ("ba32a1c5-b5d9-469c-a514-d5443dfc7a1b", false),
      ("01E47CC7-757b-4850-9c8e-a42afa41f484", false), ("30330299-c412-41d6-bbb3-1a93ad17de7b", false),
    ] {
      bench.header("x-request-id", identifier)
      for _ in 0..<5 { #expect(bench.verdict == verdict, "\(identifier)") }
    }
    bench.header("x-request-id", "mine")
    #expect((0..<1000).count { _ in bench.verdict } > 350)
    #expect((0..<1000).count { _ in bench.verdict } < 650)
    let afresh = try Bench(
      "{runtime_filter: {runtime_key: a.b, percent_sampled: {numerator: 500000, denominator: MILLION}, "
        + "use_independent_randomness: true}}")
    afresh.header("x-request-id", "ad055f86-337c-4764-a560-9fe7b4f934ed")
    #expect((350..<650).contains((0..<1000).count { _ in afresh.verdict }))
  }

  @Test func headersFlagsTracesAndHealthChecks() throws {
    let header = try Bench("{header_filter: {header: {name: x-log, string_match: {exact: 'yes'}}}}")
    #expect(!header.verdict)
    header.header("x-log", "yes")
    #expect(header.verdict)
    let flags = try Bench("{response_flag_filter: {flags: [NR, UF]}}")
    #expect(!flags.verdict)
    flags.stream.info.flags = [.upstreamConnectionFailure, .delayInjected]
    #expect(flags.verdict)
    flags.stream.info.flags = .delayInjected
    #expect(!flags.verdict)
    let any = try Bench("{response_flag_filter: {}}")
    #expect(!any.verdict)
    any.stream.info.flags = .delayInjected
    #expect(any.verdict)
    let traced = try Bench("{traceable_filter: {}}")
    #expect(!traced.verdict)
    traced.stream.info.trace.sampled = true
    #expect(traced.verdict)
    #expect(try Bench("{not_health_check_filter: {}}").verdict)
  }

  @Test func statusesOfGRPC() throws {
    let bench = try Bench("{grpc_status_filter: {statuses: [UNIMPLEMENTED, OK]}}")
    #expect(!bench.verdict, "200 without a status is UNKNOWN")
    bench.stream.info.responseCode = 404
    #expect(bench.verdict)
    bench.stream.responseHeaders = HeaderMap()
    bench.stream.responseHeaders?.add(lowercased: Bytes("grpc-status"), Bytes("0"))
    #expect(bench.verdict)
    bench.stream.responseHeaders?.set(HeaderName("grpc-status"), Bytes("14"))
    #expect(!bench.verdict)
    bench.stream.responseHeaders?.set(HeaderName("grpc-status"), Bytes("4294967308"))
    #expect(!bench.verdict)
    let others = try Bench("{grpc_status_filter: {statuses: [UNIMPLEMENTED], exclude: true}}")
    #expect(others.verdict)
    others.stream.info.responseCode = 404
    #expect(!others.verdict)
  }

  @Test func whatFiltersNoted() throws {
    func bench(_ value: String, _ more: String = "", otherwise: String = "") throws -> Bench {
      try Bench(
        "{metadata_filter: {matcher: {filter: ns, path: [{key: k}], value: \(value)\(more)}\(otherwise)}}")
    }
    let exact = try bench("{string_match: {exact: v}}")
    #expect(exact.verdict, "nothing is noted")
    exact.stream.info.metadata = ["ns.k": "w"]
    #expect(!exact.verdict)
    exact.stream.info.metadata = ["ns.k": "v"]
    #expect(exact.verdict)
    let strict = try bench("{string_match: {exact: v}}", otherwise: ", match_if_key_not_found: false")
    #expect(!strict.verdict)
    let inverted = try bench("{string_match: {prefix: AB, ignore_case: true}}", ", invert: true")
    inverted.stream.info.metadata = ["ns.k": "abc"]
    #expect(!inverted.verdict)
    inverted.stream.info.metadata = ["ns.k": "xabc"]
    #expect(inverted.verdict)
    let contains = try bench("{string_match: {contains: bc}}")
    contains.stream.info.metadata = ["ns.k": "abcd"]
    #expect(contains.verdict)
    let suffix = try bench("{string_match: {suffix: bc}}")
    suffix.stream.info.metadata = ["ns.k": "abcd"]
    #expect(!suffix.verdict)
    let present = try bench("{present_match: true}")
    #expect(!present.verdict)
    present.stream.info.metadata = ["ns.k": ""]
    #expect(present.verdict)
    #expect(try bench("{present_match: false}").verdict)
    #expect(try Bench("{metadata_filter: {}}").verdict)
  }

  @Test func occasions() throws {
    let end = try Bench("{log_type_filter: {types: [DownstreamEnd, TcpPeriodic]}}")
    #expect(!end.verdict)
    end.stream.info.logType = .downstreamEnd
    #expect(end.verdict)
    let others = try Bench("{log_type_filter: {types: [DownstreamEnd], exclude: true}}")
    others.stream.info.logType = .downstreamStart
    #expect(others.verdict)
    others.stream.info.logType = .downstreamEnd
    #expect(!others.verdict)
  }

  @Test func severalTogether() throws {
    let both = try Bench(
      "{and_filter: {filters: [{status_code_filter: \(Self.comparison("GE", 400))}, {response_flag_filter: {}}]}}")
    let either = try Bench(
      "{or_filter: {filters: [{status_code_filter: \(Self.comparison("GE", 400))}, {response_flag_filter: {}}]}}")
    for (status, flags, and, or) in [
      (200, ResponseFlags(), false, false), (404, [], false, true), (200, .delayInjected, false, true),
      (404, .delayInjected, true, true),
    ] {
      for (bench, verdict) in [(both, and), (either, or)] {
        bench.stream.info.responseCode = status
        bench.stream.info.flags = flags
        #expect(bench.verdict == verdict)
      }
    }
  }

  @Test(arguments: [
    ("{}", "filter"), ("{status_code_filter: {}}", "comparison"),
    ("{status_code_filter: {comparison: {op: EQ}}}", "value"),
    ("{and_filter: {filters: [{traceable_filter: {}}]}}", "at least 2"), ("{runtime_filter: {}}", "runtime_key"),
    ("{response_flag_filter: {flags: [UX]}}", "is no response flag (did you mean U"),
    ("{header_filter: {}}", "header"), ("{extension_filter: {name: a}}", "extension_filter"),
    ("{or_filter: {filters: [{traceable_filter: {}}, {}]}}", "filters[1]"),
    ("{metadata_filter: {matcher: {filter: a, path: [{key: b}], value: {}}}}", "value"),
    ("{metadata_filter: {matcher: {filter: a, path: [{key: b}], value: {double_match: {exact: 1}}}}}", "double_match"),
    ("{log_type_filter: {types: [Nope]}}", "types"),
  ])
  func problems(filter: String, words: String) {
    do {
      _ = try Bench(filter)
      Issue.record("\(filter) is accepted")
    } catch { #expect("\(error)".contains(words), "\(error)") }
  }
}
