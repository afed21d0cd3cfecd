import MeshAPI
import Testing

@testable import MeshConfig

/// Configurations spoiled at random, from fixed seeds: the reader may say anything, but it always comes back, in bounded
/// time, and what it accepts it could decode.
@Suite struct MutationTests {
  /// SplitMix64.
  private struct Random: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var z = state
      z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
      return z ^ (z >> 31)
    }
  }

  private let scraps: [[UInt8]] = [
    "&a ", "*a", "<<: *a\n", "!ignore ", "!!str ", "{", "}", "[", "]", ": ", "- ", "\n", "\t", "\"", "'", "|\n", ">-\n",
    "~",
    "null", "true", "-1", "1e999", "0x10", "99999999999999999999", "5s", "-5s", "9e18s", "...", "---\n", "%YAML 9.9\n",
    "\"@type\": x\n", "name: ", "typed_config: ", "? ", "#", "\0", "é", "\u{2028}", "  ",
  ].map { Array($0.utf8) }

  @Test(arguments: 0..<8)
  func spoiledText(seed: Int) {
    var random = Random(state: UInt64(seed))
    let original = Array(frontProxy.utf8)
    for _ in 0..<60 {
      var text = original
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let at = Int.random(in: 0..<text.count, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: text[at] = UInt8.random(in: 0...255, using: &random)
        case 1: text.remove(at: at)
        case 2: text.insert(contentsOf: scraps.randomElement(using: &random) ?? [], at: at)
        case 3: text.removeSubrange(at..<min(text.count, at + Int.random(in: 1...80, using: &random)))
        case 4:
          let end = min(text.count, at + Int.random(in: 1...200, using: &random))
          text.insert(contentsOf: text[at..<end], at: Int.random(in: 0..<text.count, using: &random))
        default: text.swapAt(at, Int.random(in: 0..<text.count, using: &random))
        }
        if text.isEmpty { text = [0x61] }
      }
      do {
        let loaded = try ConfigurationReader.read(Bootstrap.self, bytes: text, file: "x")
        _ = loaded.problem(at: managerPath, "")
      } catch {
        #expect(!error.problems.isEmpty)
        #expect(error.problems.count <= ConfigurationReader.problemLimit + 1)
      }
    }
  }

  /// Values swapped for others: the text stays YAML, so that the transcoder and the rules get to work.
  @Test(arguments: 0..<4)
  func spoiledValues(seed: Int) {
    var random = Random(state: UInt64(seed) &+ 1000)
    let lines = frontProxy.split(separator: "\n").map(String.init)
    let values = [
      "5", "-5", "1.5", "5s", "-1s", "0.1s", "true", "x", "''", "\"\\0\"", "[]", "[1, 2]", "{}", "{a: b}", "~", "1e999",
      "{\"@type\": envoy.extensions.filters.http.buffer.v3.Buffer}", "HTTP2", "4294967296", "\"\\r\\n\"",
    ]
    for _ in 0..<60 {
      var text = lines
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let index = Int.random(in: 0..<text.count, using: &random)
        guard let colon = text[index].firstIndex(of: ":") else { continue }
        text[index] = text[index][...colon] + " " + (values.randomElement(using: &random) ?? "")
      }
      do {
        _ = try ConfigurationReader.read(Bootstrap.self, bytes: Array(text.joined(separator: "\n").utf8), file: "x")
      } catch {
        #expect(error.problems.allSatisfy { $0.position != nil })
        // The same mistake is not told twice.
        #expect(Set(error.problems.map(\.description)).count == error.problems.count)
      }
    }
  }
}
