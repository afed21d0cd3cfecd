import FuzzChecks
import Testing

#if canImport(Glibc)
  import Glibc
#endif

/// What the fuzzers check, with their seeds, their past failures, and seeded mutations of both.
@Suite struct FuzzReplayTests {
  /// The inputs of a directory beside the fuzzers, by name.
  private static func inputs(_ kind: String, _ name: String) -> [(name: String, bytes: [UInt8])] {
    var tests = #filePath[...]
    for _ in 0..<3 { tests = tests[..<(tests.lastIndex(of: "/") ?? tests.startIndex)] }
    let path = "\(tests)/Fuzz/\(kind)/\(name)"
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var result: [(String, [UInt8])] = []
    while let entry = readdir(directory) {
      let file = withUnsafePointer(to: entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if file.hasPrefix(".") { continue }
      result.append((file, contents("\(path)/\(file)")))
    }
    return result.sorted { $0.0 < $1.0 }
  }

  private static func contents(_ path: String) -> [UInt8] {
    guard let file = fopen(path, "rb") else { return [] }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let count = fread(&bytes, 1, bytes.count, file)
    return Array(bytes[..<count])
  }

  @Test(arguments: Check.all)
  func seeds(_ check: Check) {
    let inputs = Self.inputs("Corpus", check.name)
    #expect(inputs.count >= 10, "the seeds of \(check.name) are gone")
    for (name, bytes) in inputs { #expect(check.run(bytes) == nil, "\(name)") }
  }

  @Test(arguments: Check.all)
  func pastFailures(_ check: Check) {
    for (name, bytes) in Self.inputs("Failures", check.name) { #expect(check.run(bytes) == nil, "\(name)") }
  }

  @Test(arguments: Check.all)
  func mutations(_ check: Check) {
    var random = SeededGenerator(seed: 9112)
    let seeds = Self.inputs("Corpus", check.name).map(\.bytes)
    guard !seeds.isEmpty else { return }
    for _ in 0..<1_500 {
      var bytes = seeds.randomElement(using: &random) ?? []
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        mutate(&bytes, seeds.randomElement(using: &random) ?? [], &random)
      }
      let violation = check.run(bytes)
      #expect(violation == nil, "\(latin1(bytes).debugDescription)")
    }
  }

  private func latin1(_ bytes: [UInt8]) -> String { String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) })) }

  private func mutate(_ bytes: inout [UInt8], _ other: [UInt8], _ random: inout SeededGenerator) {
    let words: [[UInt8]] = [
      "\r\n", "\r", "\n", " ", "\t", "\0", ":", ",", ";", "\"", "0", "\r\n\r\n", "\r\n ", "chunked", "Host: b\r\n",
      "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Connection: x\r\n",
    ].map { Array($0.utf8) }
    let at = Int.random(in: 0...bytes.count, using: &random)
    switch Int.random(in: 0..<6, using: &random) {
    case 0 where at < bytes.count: bytes[at] = UInt8.random(in: 0...255, using: &random)
    case 1 where at < bytes.count: bytes.remove(at: at)
    case 2: bytes.insert(contentsOf: words.randomElement(using: &random) ?? [], at: at)
    case 3 where at < bytes.count: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    case 4: bytes = Array(bytes[..<at]) + other.suffix(Int.random(in: 0...other.count, using: &random))
    default: bytes.insert(contentsOf: bytes[..<at].suffix(40), at: at)
    }
  }
}
