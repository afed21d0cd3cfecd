import MeshTesting
import Testing

/// A series of Prometheus: a metric with labels, and its value.
struct Series {
  let name: String
  let labels: [String: String]
  let value: Double

  /// All series in a text of Prometheus's format; lines that are none are left out.
  static func parse(_ text: String) -> [Series] {
    text.split(separator: "\n").compactMap { line in
      guard !line.hasPrefix("#"), let open = line.firstIndex(of: "{"), let close = line.lastIndex(of: "}"),
        let value = Double(line[line.index(after: close)...].drop { $0 == " " })
      else { return nil }
      var labels: [String: String] = [:]
      var rest = line[line.index(after: open)..<close]
      while let equals = rest.firstIndex(of: "=") {
        let name = String(rest[..<equals])
        var value = ""
        var at = rest.index(equals, offsetBy: 2)
        while at < rest.endIndex, rest[at] != "\"" {
          if rest[at] == "\\" { at = rest.index(after: at) }
          value.append(rest[at])
          at = rest.index(after: at)
        }
        labels[name] = value
        rest = rest[rest.index(after: at)...].drop { $0 == "," }
      }
      return Series(name: String(line[..<open]), labels: labels, value: value)
    }
  }
}

extension RunningProxy {
  /// The series of Istio's metrics, without the prefix that all have.
  func istio() async throws -> [Series] {
    Series.parse(try await admin("/stats/prometheus?filter=istio").text).filter { $0.name.hasPrefix("istio_") }
  }

  /// Waits until a metric has a series with these labels and a value of at least `value`.
  func waitForSeries(_ name: String, _ labels: [String: String], _ value: Double = 1) async throws -> Series {
    var all: [Series] = []
    var found: Series?
    do {
      try await eventually("a series", within: Deadline(.seconds(20)), every: .milliseconds(20)) {
        all = try await istio()
        found = all.first { $0.name == name && $0.value >= value && $0.has(labels) }
        return found != nil
      }
    } catch {
      let seen = all.filter { $0.name == name }.map { "\($0.labels) \($0.value)" }.joined(separator: "\n")
      throw TestFailure("\(error): no \(name) \(labels) of at least \(value) in\n\(seen)\n\(program.logs)")
    }
    return try #require(found)
  }
}

extension Series {
  func has(_ labels: [String: String]) -> Bool { labels.allSatisfy { self.labels[$0] == $1 } }
}

/// The sidecars of examples/observability/sidecars: one beside a service that calls, one beside the service that it calls.
struct Sidecars {
  let caller: RunningProxy
  let service: RunningProxy

  private static let directory =
    #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(4)
    .joined(separator: "/") + "/examples/observability/sidecars"

  /// - Parameters:
  ///   - http: where the service serves requests; 1: nowhere.
  ///   - tcp: where it serves connections.
  ///   - change: what is different about the examples.
  static func start(
    http: UInt16 = 1, tcp: UInt16 = 1, change: (_ file: String, _ text: String) -> String = { $1 }
  ) async throws -> Sidecars {
    let service = try await start("service", [8080: http, 9090: tcp], change)
    let ports: [UInt16: UInt16] = [15006: try service.port("inbound"), 15007: try service.port("inbound-tcp")]
    return Sidecars(caller: try await start("caller", ports, change), service: service)
  }

  /// One of them.
  static func start(
    _ name: String, _ ports: [UInt16: UInt16], _ change: (_ file: String, _ text: String) -> String = { $1 }
  ) async throws -> RunningProxy {
    var lines: [String] = []
    for line in TemporaryDirectory.contents("\(directory)/\(name).yaml").split(
      separator: "\n", omittingEmptySubsequences: false)
    {
      guard let range = line.range(ofPort: "port_value: ") else {
        lines.append(String(line))
        continue
      }
      // A listener takes whatever port there is.
      let port = UInt16(line[range]).flatMap { ports[$0] } ?? 0
      lines.append(line[..<range.lowerBound] + "\(port)" + line[range.upperBound...])
    }
    let directory = try TemporaryDirectory()
    try directory.write("proxy.yaml", change(name, lines.joined(separator: "\n")))
    let proxy = try RunningProxy(directory)
    try await proxy.waitUntilReady()
    return proxy
  }
}

extension Substring {
  /// Where the digits behind `words` are.
  fileprivate func range(ofPort words: String) -> Range<Substring.Index>? {
    guard let at = MeshTesting.firstRange(of: Array(words.utf8), in: Array(utf8)) else { return nil }
    let start = utf8.index(startIndex, offsetBy: at + words.utf8.count)
    let end = self[start...].firstIndex { !$0.isNumber } ?? endIndex
    return start..<end
  }
}
