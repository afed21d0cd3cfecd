import Glibc
import MeshAPI

/// Why the content of a `DataSource` could not be had.
public struct DataSourceError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What is wrong, naming the file or the environment variable.
  public let description: String
}

/// Reads what a `DataSource` refers to.
public enum DataSourceReader {
  /// Longest content that is accepted unless a caller says otherwise, in bytes.
  public static let defaultLimit = 16 << 20

  /// The content of `source`, at most `limit` bytes; a file name that does not begin with `/` is relative to the
  /// working directory. Blocks while a file is read: call it when a configuration is loaded, never for a request.
  public static func bytes(of source: DataSource, limit: Int = defaultLimit) throws(DataSourceError) -> [UInt8] {
    let content: [UInt8]
    switch source.specifier {
    case .filename(let path):
      do { content = try FileReader.read(path, limit: limit) } catch {
        throw DataSourceError(description: "\(quoted(path)) \(error.message)")
      }
    case .inlineString(let text): content = Array(text.utf8)
    case .inlineBytes(let data): content = Array(data)
    case .environmentVariable(let name):
      guard let value = getenv(name) else {
        throw DataSourceError(description: "the environment variable \(quoted(name)) is not set")
      }
      content = Array(String(cString: value).utf8)
    case nil: throw DataSourceError(description: "does not say where its content is")
    }
    guard content.count <= limit else {
      throw DataSourceError(description: "has \(content.count) bytes (at most \(limit) are allowed)")
    }
    return content
  }
}
