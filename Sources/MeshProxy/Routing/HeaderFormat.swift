import MeshPrimitives
import MeshRouting

/// A text with the access log's operators in a header's value, a path or a host.
final class HeaderFormat: HeaderValueFormat {
  private let format: SubstitutionFormat

  private init(_ format: SubstitutionFormat) { self.format = format }

  /// What `RouteTable.build` compiles texts with.
  static func compile(_ text: String) -> Result<(any HeaderValueFormat)?, RouteProblem> {
    switch SubstitutionFormat.compile(text, for: .headerValue) {
    case .success(let format): .success(HeaderFormat(format))
    case .failure(let problem): .failure(RouteProblem(path: "", message: problem.description))
    }
  }

  /// The same for something that is no stream. Rare, and so with an output of its own.
  static func write<Source: SubstitutionSource>(
    _ format: any HeaderValueFormat, of source: Source, into buffer: inout [UInt8]
  ) {
    guard let format = format as? HeaderFormat else { return }
    var output = SubstitutionOutput()
    format.format.write(source, into: &output)
    buffer += output.bytes.prefix(maximumLength)
  }

  /// More than this is not taken of what a format makes.
  private static let maximumLength = 65_536

  /// Appends what `format` makes of the stream as it is now.
  static func write(_ format: any HeaderValueFormat, of stream: Stream, into buffer: inout [UInt8]) {
    guard let format = format as? HeaderFormat else { return }
    stream.worker.withSubstitution(format.format, stream) { buffer += $0.prefix(maximumLength) }
  }
}
