import Glibc
import MeshTesting

/// A `martlet-proxy` that serves. `MARTLET_PROXY` in the environment names another program than the one built here.
final class RunningProxy: Sendable {
  static let path = getenv("MARTLET_PROXY").map { String(cString: $0) } ?? RunningProgram.built("martlet-proxy")

  let program: RunningProgram
  /// Where its configuration is; kept until the proxy is let go of.
  let directory: TemporaryDirectory

  /// Starts a proxy whose configuration is `file` in `directory`.
  init(
    _ directory: TemporaryDirectory, file: String = "proxy.yaml", lameDuck: Int = 0, drain: Int = 20,
    arguments: [String] = [], environment: [String: String] = [:], listenSockets: [Int32] = [], wrapper: [String] = []
  ) throws {
    self.directory = directory
    let command =
      wrapper + [
        Self.path, "-c", directory.file(file), "--concurrency", "2", "--drain-time-s", "\(drain)", "--lame-duck-time-s",
        "\(lameDuck)", "--file-flush-interval-msec", "20",
      ] + arguments
    program = try RunningProgram(
      command[0], Array(command.dropFirst()), environment: environment, listenSockets: listenSockets)
  }

  /// Starts a proxy with a configuration of its own, and waits until it serves.
  static func start(
    _ configuration: ProxyConfiguration, lameDuck: Int = 0, drain: Int = 20, arguments: [String] = [],
    environment: [String: String] = [:], wrapper: [String] = []
  ) async throws -> RunningProxy {
    let directory = try TemporaryDirectory()
    try directory.write("proxy.yaml", configuration.yaml)
    let proxy = try RunningProxy(
      directory, lameDuck: lameDuck, drain: drain, arguments: arguments, environment: environment, wrapper: wrapper)
    try await proxy.waitUntilReady()
    return proxy
  }

  func waitUntilReady() async throws {
    try await program.waitForOutput("all workers are serving", within: Deadline(.seconds(30)))
  }

  /// How often the log has said `text`.
  func count(_ text: String) -> Int { occurrences(of: text, in: program.errorOutput) }

  /// Waits until the log has said `text` for the given number of times.
  func waitForLog(_ text: String, times: Int = 1, within deadline: Deadline = Deadline(.seconds(30))) async throws {
    try await program.waitForOutput("\(times) × \(text)", within: deadline) { output in
      occurrences(of: text, in: output) >= times ? () : nil
    }
  }

  /// The port on which a listener listens (the one it was given last), as the log tells.
  func port(_ listener: String = "main") throws -> UInt16 { try port(after: "listener \(listener) on 127.0.0.1:") }
  func adminPort() throws -> UInt16 { try port(after: "admin interface on 127.0.0.1:") }

  func port(after words: String) throws -> UInt16 {
    let lines = program.errorOutput.split(separator: "\n").reversed()
    for line in lines {
      guard let at = firstRange(of: Array(words.utf8), in: Array(line.utf8)) else { continue }
      let rest = String(
        decoding: Array(line.utf8)[(at + words.utf8.count)...].prefix { $0 >= 48 && $0 <= 57 }, as: UTF8.self)
      if let port = UInt16(rest) { return port }
    }
    throw TestFailure("no port after \(words.debugDescription)\n\(program.logs)")
  }

  // MARK: Asking

  /// One request on a connection of its own.
  func get(
    _ target: String = "/", listener: String = "main", headers: [(String, String)] = []
  ) async throws -> RawResponse {
    try await request(port(listener), "GET", target, headers)
  }

  func admin(_ target: String, method: String = "GET") async throws -> RawResponse {
    try await request(adminPort(), method, target)
  }

  private func request(
    _ port: UInt16, _ method: String, _ target: String, _ headers: [(String, String)] = []
  ) async throws -> RawResponse {
    try await blocking {
      let connection = try RawConnection(port: port)
      let fields = headers.map { "\($0.0): \($0.1)\r\n" }.joined()
      try connection.send("\(method) \(target) HTTP/1.1\r\nhost: test\r\n\(fields)connection: close\r\n\r\n")
      return try connection.receiveResponse(within: Deadline(.seconds(30)))
    }
  }

  /// A statistic's value; 0 where there is none.
  func stat(_ name: String) async throws -> Int {
    let text = try await admin("/stats?filter=^\(name)$").text
    return text.split(separator: "\n").lazy.compactMap { line -> Int? in
      guard line.hasPrefix(name + ": ") else { return nil }
      return Int(line.dropFirst(name.count + 2).filter { $0.isNumber })
    }.first ?? 0
  }

  // MARK: What the kernel says of it

  var openDescriptors: Int { TemporaryDirectory.names("/proc/\(program.id)/fd").count }

  /// Resident memory now and at its highest, in KiB.
  var memory: (now: Int, peak: Int) { (status("VmRSS"), status("VmHWM")) }

  private func status(_ name: String) -> Int {
    let lines = TemporaryDirectory.contents("/proc/\(program.id)/status").split(separator: "\n")
    let line = lines.first { $0.hasPrefix(name + ":") } ?? ""
    return Int(line.filter(\.isNumber)) ?? 0
  }

  /// Processor time used so far, in clock ticks (usually hundredths of a second).
  var processorTime: Int {
    let text = TemporaryDirectory.contents("/proc/\(program.id)/stat")
    let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
    return fields.count > 13 ? (Int(fields[12]) ?? 0) + (Int(fields[13]) ?? 0) : 0
  }
}

/// How often `text` occurs, without overlaps.
func occurrences(of text: String, in output: String) -> Int {
  let pattern = Array(text.utf8)
  guard let first = pattern.first else { return 0 }
  return Array(output.utf8).withUnsafeBytes { bytes in
    var at = 0
    var count = 0
    while at + pattern.count <= bytes.count, let base = bytes.baseAddress,
      let found = memchr(base + at, Int32(first), bytes.count - at)
    {
      at = UnsafeRawPointer(found) - base
      if at + pattern.count <= bytes.count, memcmp(base + at, pattern, pattern.count) == 0 {
        count += 1
        at += pattern.count
      } else {
        at += 1
      }
    }
    return count
  }
}

extension RawConnection {
  /// Sends a request and receives its response, without holding a thread that tests share.
  func exchange(_ request: String, within deadline: Deadline = Deadline(.seconds(30))) async throws -> RawResponse {
    try await blocking {
      try self.send(request, within: deadline)
      return try self.receiveResponse(within: deadline)
    }
  }
}
