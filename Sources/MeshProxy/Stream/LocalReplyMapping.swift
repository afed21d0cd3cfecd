import MeshHTTP
import MeshPrimitives
import MeshRouting

/// What becomes of the answers that the proxy makes itself (`local_reply_config`), checked and compiled. Immutable;
/// shared by all threads.
public final class LocalReplyMapping: Sendable {
  /// How a body is written, and what it is then.
  struct BodyFormat: Sendable {
    let format: SubstitutionFormat
    let contentType: [UInt8]

    /// Whether what the mappers say of the content type stays.
    var isPlainText: Bool { contentType == Array("text/plain".utf8) }
  }

  /// A change for some of the answers.
  struct Mapper: Sendable {
    let filter: AccessLogFilter
    let status: Int?
    let body: [UInt8]?
    let format: BodyFormat?
    let additions: HeaderMutations
  }

  /// The first whose filter holds is applied.
  let mappers: [Mapper]
  /// Nil: the body alone, as plain text.
  let format: BodyFormat?

  init(mappers: [Mapper], format: BodyFormat?) {
    self.mappers = mappers
    self.format = format
  }

  /// Changes an answer whose status, flags and details are in the stream's information already, and whose headers are
  /// the stream's.
  /// - Parameters:
  ///   - headers: without those that describe the body; they are added here.
  ///   - body: the text there would be without this.
  func apply(to stream: Stream, _ headers: HeaderMap, _ body: inout [UInt8]) {
    stream.info.loggedAt = stream.worker.loop.now
    defer { stream.info.loggedAt = .never }
    var format = self.format
    if let mapper = mappers.first(where: { $0.filter.includes(stream) }) {
      if let text = mapper.body { body = text }
      if !mapper.additions.isEmpty { RequestRewrite.mutate(headers, of: stream, mapper.additions) }
      if let status = mapper.status { stream.info.responseCode = status }
      format = mapper.format ?? format
    }
    if let format { body = Self.write(format.format, stream, body) }
    guard !body.isEmpty else { return headers.remove(.contentType) }
    headers.set(.contentLength, number: UInt64(body.count))
    if let format, !format.isPlainText {
      format.contentType.withUnsafeBufferPointer { headers.set(.contentType, $0) }
    } else if !headers.has(.contentType) {
      headers.set(.contentType, "text/plain")
    }
  }

  /// What a format makes of a stream and a body.
  static func write(_ format: SubstitutionFormat, _ stream: Stream, _ body: [UInt8]) -> [UInt8] {
    stream.localReplyBody = body
    defer { stream.localReplyBody = [] }
    return stream.worker.withSubstitution(format, stream) { Array($0) }
  }
}

extension Worker {
  /// Fills a format in, in memory that is kept.
  /// - Parameter body: is given the result, which is valid for the call.
  func withSubstitution<Result>(
    _ format: SubstitutionFormat, _ stream: Stream, _ body: (Bytes) -> Result
  ) -> Result {
    substitutionOutput.removeAll()
    format.write(stream, into: &substitutionOutput)
    return body(substitutionOutput.bytes)
  }
}
