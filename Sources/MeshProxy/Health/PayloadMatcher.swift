import MeshPrimitives

/// Whether what an endpoint sends has what it must have: some runs of bytes, one after the other, with anything between
/// them (Envoy's way).
enum PayloadMatcher {
  static func matches(_ runs: [[UInt8]], _ bytes: [UInt8]) -> Bool {
    var from = 0
    for run in runs {
      guard let found = find(run, bytes, from) else { return false }
      from = found + run.count
    }
    return true
  }

  private static func find(_ run: [UInt8], _ bytes: [UInt8], _ start: Int) -> Int? {
    guard !run.isEmpty else { return start }
    guard bytes.count - start >= run.count else { return nil }
    return (start...bytes.count - run.count).first { bytes[$0..<$0 + run.count].elementsEqual(run) }
  }
}
