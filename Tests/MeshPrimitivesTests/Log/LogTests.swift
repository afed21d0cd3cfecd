import MeshPrimitives
import Synchronization
import Testing

/// A log that keeps its lines, with a clock set by hand.
final class RecordedLog: Sendable {
  private let lines = Mutex<[String]>([])
  private let time = Atomic<Int64>(1_795_317_001_774)
  private let works = Atomic<Bool>(true)

  func makeLog(level: LogLevel = .info) -> ProcessLog {
    ProcessLog(
      processID: 42, level: level, clock: { self.time.load(ordering: .relaxed) },
      write: { bytes in
        guard self.works.load(ordering: .relaxed) else { return false }
        self.lines.withLock { $0.append(String(decoding: bytes, as: UTF8.self)) }
        return true
      })
  }

  func advance(milliseconds: Int64) { time.add(milliseconds, ordering: .relaxed) }
  func breakDown() { works.store(false, ordering: .relaxed) }
  var all: [String] { lines.withLock { $0 } }
}

@Suite struct LogTests {
  @Test func theLine() {
    let recorded = RecordedLog()
    recorded.makeLog().component("http").warning("a héader")
    #expect(recorded.all == ["[2026-11-22 03:10:01.774][42][warning][http] a héader\n"])
  }

  @Test func aDisabledMessageIsNotBuilt() {
    let recorded = RecordedLog()
    let process = recorded.makeLog()
    let log = process.component("http")
    nonisolated(unsafe) var built = 0
    func message() -> String {
      built += 1
      return "m"
    }
    log.debug(message())
    #expect(built == 0 && recorded.all.isEmpty)
    log.level = .debug
    log.debug(message())
    log.trace(message())
    #expect(built == 1 && recorded.all.count == 1)
    log.level = .off
    log.critical(message())
    log.log(.off, message())
    #expect(built == 1)
  }

  @Test func levelsByComponent() {
    let process = RecordedLog().makeLog()
    let http = process.component("http")
    let dns = process.component("dns")
    #expect(process.component("http") === http)
    let found = process.setLevel(.trace, component: "dns")
    #expect(found && dns.level == .trace && http.level == .info)
    let unknown = process.setLevel(.trace, component: "nothing")
    #expect(!unknown)
    process.setLevel(.error)
    #expect(process.component("later").level == .error)
    #expect(process.levels().map { "\($0.component)=\($0.level)" } == ["dns=error", "http=error", "later=error"])
  }

  @Test func levelNames() {
    for level in LogLevel.allCases { #expect(LogLevel(name: level.description) == level) }
    #expect(LogLevel(name: "warn") == .warning)
    #expect(LogLevel(name: "INFO") == nil)
    #expect(LogLevel(name: "") == nil)
    #expect(LogLevel.debug < .critical)
  }

  @Test func controlCharactersCannotForgeALine() {
    let recorded = RecordedLog()
    let log = recorded.makeLog().component("http")
    log.info("a\n[2026-11-22 03:10:01.774][42][info][http] b\r\t\u{0}\u{1b}[31m\u{7f}\u{9b}x\u{a0}é\u{85}")
    let line = recorded.all[0]
    #expect(line.utf8.filter { $0 == 0x0a }.count == 1)
    #expect(
      line == "[2026-11-22 03:10:01.774][42][info][http] a\\n[2026-11-22 03:10:01.774][42][info][http] "
        + "b\\r\\t\\x00\\x1b[31m\\x7f\\x9bx\u{a0}é\\x85\n")
  }

  @Test func longMessagesAreCutBetweenCharacters() {
    let recorded = RecordedLog()
    let log = recorded.makeLog().component("http")
    let message = "x" + String(repeating: "é", count: 10_000)
    log.info(message)
    let line = recorded.all[0]
    #expect(line.hasSuffix("é… (20001 bytes in all)\n"))
    #expect(line.utf8.count < ProcessLog.maximumMessageLength + 100)
    #expect(!line.contains("\u{fffd}"))
    let exact = String(repeating: "x", count: ProcessLog.maximumMessageLength)
    log.info(exact)
    #expect(recorded.all[1].hasSuffix("] \(exact)\n"))
  }

  @Test func lostLinesAreCounted() {
    let recorded = RecordedLog()
    let process = recorded.makeLog()
    recorded.breakDown()
    process.component("http").info("m")
    #expect(process.lostLines == 1)
  }

  @Test func rateLimit() {
    let recorded = RecordedLog()
    let limited = RateLimitedLog(recorded.makeLog().component("http"), perSecond: 2)
    for number in 0..<5 { limited.warning("m\(number)") }
    limited.debug("not enabled, not counted")
    #expect(recorded.all.count == 2)
    #expect(limited.leftOut == 3)
    recorded.advance(milliseconds: 1_000)
    limited.warning("m5")
    limited.warning("m6")
    limited.warning("m7")
    #expect(recorded.all.count == 4)
    #expect(recorded.all[2].hasSuffix("m5 (3 messages like this were left out)\n"))
    #expect(recorded.all[3].hasSuffix("m6\n"))
    recorded.advance(milliseconds: -5_000)
    limited.warning("m8")
    #expect(recorded.all[4].hasSuffix("m8 (1 messages like this were left out)\n"))
  }

  @Test func theStandardLogKnowsItsComponents() {
    let known = [
      Log.main, .admin, .config, .connection, .dns, .filter, .http, .io, .router, .tracing, .traffic, .upstream,
    ].map(\.component)
    #expect(ProcessLog.standard.levels().map(\.component) == known.sorted())
    #expect(Log.http.component == "http")
    #expect(ProcessLog.standard.component("upstream") === Log.upstream)
  }
}
