import MeshAPI
import MeshHTTP
import MeshPrimitives
import MeshRouting
import Synchronization
import Testing

@testable import MeshProxy

/// The words of lines about failures, and what they are made of.
@Suite("Words for failures")
struct FailureWordsTests {
  /// A process log that keeps its lines.
  private final class Kept: Sendable {
    let lines = Mutex<[String]>([])
    let takes = Atomic<Bool>(true)

    func log(_ level: LogLevel = .trace) -> Log {
      ProcessLog(
        processID: 1, level: level, clock: { 0 },
        write: { bytes in
          self.lines.withLock { $0.append(String(decoding: bytes.dropLast(), as: UTF8.self)) }
          return true
        },
        isWritable: { self.takes.load(ordering: .relaxed) }
      ).component("traffic")
    }

    var all: [String] { lines.withLock { $0 } }
  }

  private static let everything =
    FailureWords.details + FailureWords.resets + FailureWords.connectErrors + FailureWords.retryRefusals
    + FailureWords.connections + [FailureWords.brokenRule, FailureWords.unknown]

  @Test func phrasesCannotBeTakenForFields() {
    for entry in Self.everything {
      let phrase = entry.phrase.description
      #expect(!phrase.contains { "=\"|\\".contains($0) }, "\(phrase)")
      #expect(phrase.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f }, "\(phrase)")
      #expect(!phrase.isEmpty && !phrase.hasSuffix("."), "\(phrase)")
    }
  }

  @Test func everyRefusalOfARetryHasWords() {
    for refusal in [
      RetryState.Refusal.limitExceeded, .overflow, .notCovered, .requestNotRetriable, .bodyTooLarge, .responseStarted,
      .clientLeft, .switchedOff,
    ] { #expect(FailureWords.refusal(refusal.text) != nil, "\(refusal)") }
  }

  @Test func everyReasonOfAResetHasWords() {
    for value in UInt8(0)...20 {
      guard let reason = StreamResetReason(rawValue: value) else { continue }
      #expect(FailureWords.reset(reason.detail) != nil, "\(reason)")
    }
  }

  @Test(arguments: [2, 11, 13, 22, 24, 99, 101, 104, 110, 111, 113] as [Int32])
  func everyErrorOfTheKernelHasWords(_ errno: Int32) {
    for detail in [ConnectFailureDetail.detail(immediate: errno), ConnectFailureDetail.detail(delayed: errno)] {
      // Those without a word of their own are said to be another.
      let words = FailureWords.connectError(detail, isHandshake: false).description
      #expect(detail.description.hasSuffix("connect_error") == (words == FailureWords.otherConnectError.description))
    }
  }

  @Test func whatStandsInBracesIsFilledIn() {
    #expect(FailureWords.fill("a {b} c{d}", { "<\($0)>" }) == "a <b> c<d>")
    #expect(FailureWords.fill("nothing", { _ in "x" }) == "nothing")
    #expect(FailureWords.fill("{a}{b}", { _ in "{c}" }) == "{c}{c}")
    #expect(FailureWords.fill("an open { brace", { _ in "x" }) == "an open { brace")
  }

  @Test func times() {
    for (span, words) in [
      (Nanoseconds.zero, "0 ms"), (.milliseconds(250), "250 ms"), (.seconds(15), "15 s"),
      (.milliseconds(1500), "1.5 s"),
      (.milliseconds(1050), "1.05 s"), (.milliseconds(61_001), "61.001 s"), (.seconds(3600), "3600 s"),
    ] { #expect(span.words == words) }
  }

  @Test func fields() {
    var line = FailureLine("what happened")
    line.add("plain", "a-b/c|d")
    line.add("empty", "")
    line.add("blank", "a b")
    line.add("marks", "a=\"b\"\\")
    line.add("bytes", "\n\u{1b}\u{7f}\u{e9}")
    line.add("number", number: -3)
    #expect(
      line.text
        == #"what happened | plain=a-b/c|d blank="a b" marks="a=\"b\"\\" bytes="\x0a\x1b\x7f\xc3\xa9" number=-3"#)
  }

  @Test func linesAreBounded() {
    var line = FailureLine(String(repeating: "x", count: 5000))
    for _ in 0..<100 { line.add("path", String(repeating: "\u{1}", count: 10_000)) }
    #expect(line.text.utf8.count <= FailureLine.maximum)
    #expect(line.text.hasSuffix("\""))
    var short = FailureLine("x")
    short.add("path", "/abcdef", limit: 4)
    #expect(short.text == "x | path=/abc...")
  }

  @Test func aPhraseFromElsewhereStaysPrintable() {
    #expect(FailureLine("a\u{1b}[31m\nb").text == "a?[31m?b |")
    #expect(FailureLine.plain("outbound|80||a.b{c}=\"d\" e") == "outbound|80||a.b_c}__d__e")
  }

  // MARK: Of streams

  private static let cluster =
    "[{name: shop, load_assignment: {cluster_name: shop, endpoints: [{lb_endpoints: ["
    + "{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}},"
    + "{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 2}}}},"
    + "{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 3}}}},"
    + "{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 4}}}, health_status: DRAINING}"
    + "]}]}, common_lb_config: {healthy_panic_threshold: {value: 0}}}]"

  private func fixture(_ kept: Kept) throws -> WorkerFixture {
    try WorkerFixture(
      routes: "[{match: {prefix: /}, route: {cluster: shop}}]", clusters: Self.cluster, failures: FailureLog(kept.log())
    )
  }

  @Test func whyNoEndpointMayHaveARequest() throws {
    let kept = Kept()
    let fixture = try fixture(kept)
    let cluster = try #require(fixture.worker.clusters["shop"])
    let endpoints = cluster.hosts.hosts.map(\.endpoint)
    _ = endpoints[0].identity.set(.failedActiveHealthCheck, true)
    _ = endpoints[1].identity.set(.failedOutlierCheck, true)
    _ = endpoints[2].identity.set(.onProbation, true)
    #expect(
      EndpointsInWords.text(cluster, .normal)
        == "of 4, 1 fail their health checks, 1 are ejected, 1 are on probation, "
        + "1 are not to have any by their health_status")
    _ = endpoints[0].identity.set(.pendingActiveHealthCheck, true)
    #expect(EndpointsInWords.text(cluster, .normal).hasPrefix("of 4, 1 have not been checked yet, 1 are ejected"))
    cluster.update(HostSets(cluster.hosts.hosts, .roundRobin))
    #expect(EndpointsInWords.text(cluster, .normal).hasPrefix("of 4, "))
  }

  @Test func rateLimits() {
    let bucket = TokenBucket(
      TokenRate(maximum: 40, tokens: 25, interval: .milliseconds(100)), now: MonotonicTime(nanoseconds: 0))
    let descriptor = RateLimitDescriptor(
      entries: [.init(key: Array("user".utf8), value: Array("a=b".utf8)), .init(key: Array("k".utf8), value: [])])
    let local = RateLimitRefusal.bucket("edge", bucket, descriptor)
    #expect(local.words == "edge allows 25 in 100 ms and at most 40 at once")
    #expect(String(decoding: local.descriptor, as: UTF8.self) == "user=a=b,k=")
    var over = RateLimitServiceResponse.DescriptorStatus()
    over.code = .overLimit
    over.currentLimit.requestsPerUnit = 7
    over.currentLimit.unit = .minute
    let asked = RateLimitRefusal(domain: "shop x", [RateLimitDescriptor(entries: []), descriptor], [.init(), over])
    #expect(asked.words == "domain shop_x allows 7 requests by the minute")
    #expect(asked.descriptor == local.descriptor)
    // More is said than was asked about.
    let strange = RateLimitRefusal(domain: "d", [], [over])
    #expect(strange.descriptor.isEmpty)
    let silent = RateLimitRefusal(domain: "d", [descriptor], [])
    #expect(silent.words == "domain d" && silent.descriptor.isEmpty)
  }

  @Test func aReaderThatIsSlowKeepsNobody() throws {
    let kept = Kept()
    let fixture = try fixture(kept)
    for endpoint in try #require(fixture.worker.clusters["shop"]).hosts.hosts.map(\.endpoint) {
      _ = endpoint.identity.set(.failedActiveHealthCheck, true)
    }
    let cluster = try #require(fixture.worker.clusters["shop"])
    cluster.update(HostSets(cluster.hosts.hosts, cluster.configuration.balancing))
    kept.takes.store(false, ordering: .relaxed)
    fixture.open("GET", "/lost")
    #expect(kept.all.isEmpty)
    kept.takes.store(true, ordering: .relaxed)
    fixture.open("GET", "/kept")
    #expect(kept.all.count == 1 && kept.all[0].contains("path=/kept"), "\(kept.all)")
    #expect(
      kept.all[0].contains("no endpoint of cluster shop may have the request: of 4, 4 fail their health checks |"))
  }

  @Test func warningsAndTheRestDoNotTakeEachOthersPlace() throws {
    let kept = Kept()
    let fixture = try fixture(kept)
    let failures = FailureLog(kept.log(), perCause: 1, total: 2)
    func fail(_ word: StaticString, _ level: LogLevel) {
      failures.write(
        .init(
          level: level, cause: FailureCause(ResponseCodeDetails(word), status: 0, place: nil),
          common: { FailureLine(word.description) }, own: { $0.add("own", "1") }), fixture.worker)
    }
    for word in ["a", "b", "c", "d"] as [StaticString] { fail(word, .debug) }
    fail("warning", .warning)
    #expect(kept.all.filter { $0.contains("[debug]") }.count == 2)
    #expect(kept.all.last?.hasSuffix("[warning][traffic] warning | own=1") == true)
    failures.tellRemainder()
    let told = kept.all.filter { $0.contains("more like this") }
    #expect(told.count == 2 && told.allSatisfy { $0.contains("[debug]") && $0.hasSuffix(" | left_out=1") }, "\(told)")
    failures.tellRemainder()
    #expect(kept.all.count == 5)
  }
}
