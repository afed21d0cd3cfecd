internal import CLinux

/// How many processors this process may use: the affinity mask, lowered by the CPU quota of its control group and of
/// the groups above it (versions 1 and 2), rounded up.
public enum ProcessorQuota {
  /// Never fails: where there is no control group, no `/proc` or no quota, the affinity mask decides.
  /// - Returns: the count, at least 1, and in words where it comes from.
  public static func availableProcessors() -> (count: Int, explanation: String) {
    evaluate(affinity: affinity, read: ControlGroup.readFile)
  }

  /// The same, not rounded.
  public static func capacity() -> Double { capacity(affinity: affinity, read: ControlGroup.readFile) }

  static func capacity(affinity: Int, read: (String) -> String?) -> Double {
    min(smallestQuota(read)?.processors ?? .infinity, Double(affinity))
  }

  private static var affinity: Int { max(1, Int(clinux_affinity_count())) }

  /// The decision, without the machine.
  /// - Parameters:
  ///   - affinity: processors in the affinity mask.
  ///   - read: the contents of a file, or nil if it cannot be read.
  static func evaluate(affinity: Int, read: (String) -> String?) -> (count: Int, explanation: String) {
    guard let quota = smallestQuota(read), quota.processors < Double(affinity) else {
      return (affinity, "\(affinity) by the affinity mask")
    }
    let count = max(1, Int(quota.processors.rounded(.up)))
    return (count, "\(count) by the CPU quota of \(quota.path) (\(quota.processors) of \(affinity) processors)")
  }

  private struct Quota {
    var processors: Double
    var path: String
  }

  private static func smallestQuota(_ read: (String) -> String?) -> Quota? {
    var smallest: Quota?
    for place in ControlGroup.places(of: "cpu", read: read) {
      // A limit of any ancestor binds too.
      for directory in place.directories {
        if let processors = quota(directory, place.isUnified, read), processors < smallest?.processors ?? .infinity {
          smallest = Quota(processors: processors, path: directory)
        }
      }
    }
    return smallest
  }

  private static func quota(_ directory: String, _ unified: Bool, _ read: (String) -> String?) -> Double? {
    let limit: Int64?
    let period: Int64?
    if unified {
      // "max 100000" or "150000 100000"
      guard let words = read(directory + "/cpu.max")?.split(whereSeparator: \.isWhitespace), words.count == 2 else {
        return nil
      }
      (limit, period) = (Int64(words[0]), Int64(words[1]))
    } else {
      (limit, period) = (
        number(read(directory + "/cpu.cfs_quota_us")), number(read(directory + "/cpu.cfs_period_us"))
      )
    }
    guard let limit, let period, limit > 0, period > 0 else { return nil }
    return Double(limit) / Double(period)
  }

  private static func number(_ text: String?) -> Int64? {
    text.flatMap { $0.split(whereSeparator: \.isWhitespace).first }.flatMap { Int64($0) }
  }
}
