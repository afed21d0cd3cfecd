import MeshAPI
import MeshConfig
import MeshPrimitives
import MeshRouting

/// The answers that the proxy makes itself.
extension SnapshotBuilder {
  /// Compiles `local_reply_config`; nil if there is none, or if something is wrong with it, which is reported.
  mutating func localReplies(_ manager: HttpConnectionManager, _ path: String) -> LocalReplyMapping? {
    guard manager.hasLocalReplyConfig else { return nil }
    let configPath = "\(path).local_reply_config"
    let config = manager.localReplyConfig
    var mappers: [LocalReplyMapping.Mapper] = []
    for (index, message) in config.mappers.enumerated() {
      if let mapper = mapper(message, "\(configPath).mappers[\(index)]") { mappers.append(mapper) }
    }
    let format = config.hasBodyFormat ? bodyFormat(config.bodyFormat, "\(configPath).body_format") : nil
    return LocalReplyMapping(mappers: mappers, format: format)
  }

  private mutating func mapper(_ message: ResponseMapper, _ path: String) -> LocalReplyMapping.Mapper? {
    guard let filter = filter(message.filter, "\(path).filter") else { return nil }
    var body: [UInt8]?
    if message.hasBody {
      do { body = try DataSourceReader.bytes(of: message.body) } catch {
        report("\(path).body", error.description)
        return nil
      }
    }
    var format: LocalReplyMapping.BodyFormat?
    if message.hasBodyFormatOverride {
      format = bodyFormat(message.bodyFormatOverride, "\(path).body_format_override")
      if format == nil { return nil }
    }
    var additions = HeaderMutations()
    switch HeaderMutations.build(
      adding: message.headersToAdd, path: "\(path).headers_to_add", formats: HeaderFormat.compile)
    {
    case .success(let compiled): additions = compiled
    case .failure(let failure): for problem in failure.problems { report(problem.path, problem.message) }
    }
    return .init(
      filter: filter, status: message.hasStatusCode ? Int(message.statusCode.value) : nil, body: body, format: format,
      additions: additions)
  }

  /// Compiles the format of a body; reports what is wrong with it and returns nil.
  mutating func bodyFormat(
    _ message: SubstitutionFormatString, _ path: String
  ) -> LocalReplyMapping.BodyFormat? {
    guard let format = substitutionFormat(message, path, for: .body) else { return nil }
    if let byte = message.contentType.utf8.first(where: { $0 < 0x20 || $0 == 0x7f }) {
      report("\(path).content_type", "holds a control character (\(byte))")
      return nil
    }
    let isJSON = if case .jsonFormat = message.format { true } else { false }
    let usual = isJSON ? "application/json" : "text/plain"
    return .init(format: format, contentType: Array((message.contentType.isEmpty ? usual : message.contentType).utf8))
  }
}
