import MeshAPI
import MeshConfig
import MeshPrimitives
import MeshRouting

/// Conditions of access logs and local replies.
extension SnapshotBuilder {
  /// Compiles a filter; reports what is wrong with it and returns nil.
  mutating func filter(_ filter: MeshAPI.AccessLogFilter, _ path: String) -> AccessLogFilter? {
    switch filter.filterSpecifier {
    case .statusCodeFilter(let condition)?: return .statusCode(comparison(condition.comparison))
    case .durationFilter(let condition)?: return .duration(comparison(condition.comparison))
    case .notHealthCheckFilter?: return .notHealthCheck
    case .traceableFilter?: return .traceable
    case .runtimeFilter(let condition)?:
      let share = RuntimeFraction(
        identities.runtime.value(condition.runtimeKey), or: Fraction(condition.percentSampled))
      return .share(share, isIndependent: condition.useIndependentRandomness)
    case .andFilter(let condition)?: return filters(condition.filters, "\(path).and_filter.filters").map { .all($0) }
    case .orFilter(let condition)?: return filters(condition.filters, "\(path).or_filter.filters").map { .any($0) }
    case .headerFilter(let condition)?:
      switch HeaderMatching.build([condition.header], path: "\(path).header_filter.header") {
      case .success(let matching): return .header(matching)
      case .failure(let problems):
        for problem in problems.problems {
          report(problem.path.replacing("header_filter.header[0]", with: "header_filter.header"), problem.message)
        }
        return nil
      }
    case .responseFlagFilter(let condition)?: return flags(condition.flags, "\(path).response_flag_filter.flags")
    case .grpcStatusFilter(let condition)?:
      let statuses = condition.statuses.reduce(UInt32(0)) { $0 | 1 << UInt32(clamping: $1.rawValue & 31) }
      return .grpcStatus(statuses, excludes: condition.exclude)
    case .metadataFilter(let condition)?:
      let otherwise = condition.hasMatchIfKeyNotFound ? condition.matchIfKeyNotFound.value : true
      guard condition.hasMatcher else { return .metadata(nil) }
      return metadata(condition.matcher, otherwise, "\(path).metadata_filter.matcher")
    case .logTypeFilter(let condition)?:
      return .logType(Set(condition.types.map(\.rawValue)), excludes: condition.exclude)
    case nil:
      report(path, "has no condition")
      return nil
    }
  }

  private mutating func filters(_ list: [MeshAPI.AccessLogFilter], _ path: String) -> [AccessLogFilter]? {
    var result: [AccessLogFilter] = []
    for (index, item) in list.enumerated() {
      guard let compiled = filter(item, "\(path)[\(index)]") else { return nil }
      result.append(compiled)
    }
    return result
  }

  private func comparison(_ comparison: ComparisonFilter) -> AccessLogFilter.Comparison {
    let operation: AccessLogFilter.Comparison.Operator =
      switch comparison.op {
      case .ge: .greaterOrEqual
      case .le: .lessOrEqual
      case .ne: .notEqual
      default: .equal
      }
    let key = comparison.value.runtimeKey
    return .init(
      operation: operation, fallback: UInt64(comparison.value.defaultValue),
      runtime: key.isEmpty ? nil : identities.runtime.value(key))
  }

  private mutating func flags(_ names: [String], _ path: String) -> AccessLogFilter? {
    var result: ResponseFlags = []
    for (index, name) in names.enumerated() {
      guard let flag = ResponseFlags(shortName: name) else {
        let known = ResponseFlags.names.map(\.short.description)
        let suggestion = NearestName.of(name, in: known).map { "did you mean \($0)? " } ?? ""
        report("\(path)[\(index)]", "\"\(name)\" is no response flag (\(suggestion)\(known.joined(separator: ", ")))")
        return nil
      }
      result.formUnion(flag)
    }
    return .flags(result)
  }

  private mutating func metadata(
    _ matcher: MetadataMatcher, _ otherwise: Bool, _ path: String
  ) -> AccessLogFilter? {
    let key = ([matcher.filter] + matcher.path.map(\.key)).joined(separator: ".")
    let test: AccessLogFilter.NotedText.Test
    switch matcher.value.matchPattern {
    case .presentMatch(let wanted)?: test = .present(wanted)
    case .stringMatch(let condition)?:
      let kind: TextCondition.Test
      let text: String
      switch condition.matchPattern {
      case .exact(let value)?: (kind, text) = (.exact, value)
      case .prefix(let value)?: (kind, text) = (.prefix, value)
      case .suffix(let value)?: (kind, text) = (.suffix, value)
      case .contains(let value)?: (kind, text) = (.contains, value)
      default:
        report("\(path).value.string_match", "must be exact, prefix, suffix or contains")
        return nil
      }
      test = .text(TextCondition(kind, text, ignoresCase: condition.ignoreCase))
    case nil:
      report("\(path).value", "has no condition (string_match, present_match)")
      return nil
    }
    return .metadata(.init(key: key, test: test, isInverted: matcher.invert, otherwise: otherwise))
  }
}
