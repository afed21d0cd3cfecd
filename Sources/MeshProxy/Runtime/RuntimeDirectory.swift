import MeshIO
import MeshPrimitives

/// Reads a disk layer of the runtime: every file below a directory is a key (its path, a dot for each slash), its content
/// the value. What such a tree may cost is bounded, since others may be able to write to it.
struct RuntimeDirectory {
  /// Directories below each other; Envoy's bound. Also ends symbolic links that go in a circle.
  static let depthLimit = 16
  /// Files in all.
  static let fileLimit = 10_000
  /// Bytes of one file.
  static let sizeLimit = 64 << 10
  /// Bytes of all files.
  static let totalLimit = 4 << 20

  enum Failure: Error, CustomStringConvertible {
    case missing
    case system(SystemError)
    case limit(String)

    var description: String {
      switch self {
      case .missing: "there is no such directory"
      case .system(let error): "\(error)"
      case .limit(let text): text
      }
    }
  }

  private var entries: [String: RuntimeEntry] = [:]
  private var total = 0

  /// Reads the whole tree.
  static func read(_ path: String) throws(Failure) -> [String: RuntimeEntry] {
    var directory = RuntimeDirectory()
    try directory.walk(path, prefix: "", depth: 1)
    return directory.entries
  }

  private mutating func walk(_ path: String, prefix: String, depth: Int) throws(Failure) {
    guard depth <= Self.depthLimit else {
      throw .limit("\(path): more than \(Self.depthLimit) directories below each other")
    }
    let listing: [DirectoryListing.Entry]
    do { listing = try DirectoryListing.entries(of: path) } catch {
      throw depth == 1 && (error.errno == 2 || error.errno == 20) ? .missing : .system(error)
    }
    for entry in listing {
      let (below, key) = ("\(path)/\(entry.name)", prefix + entry.name)
      if entry.isDirectory {
        try walk(below, prefix: key + ".", depth: depth + 1)
      } else {
        guard entries.count < Self.fileLimit else { throw .limit("\(path): more than \(Self.fileLimit) files") }
        let bytes: [UInt8]
        do { bytes = try FileContents.read(below, limit: Self.sizeLimit) } catch { throw .system(error) }
        total += bytes.count
        guard total <= Self.totalLimit else { throw .limit("\(path): more than \(Self.totalLimit) bytes in all files") }
        entries[key] = RuntimeEntry(Self.value(bytes))
      }
    }
  }

  /// Lines that begin with `#` are comments, so that a file can stand for a key that has no value; white space at the end
  /// does not count.
  static func value(_ contents: [UInt8]) -> String {
    var text = String(decoding: contents, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
      .filter { !$0.hasPrefix("#") }.joined(separator: "\n")
    while let last = text.last, last.isWhitespace { text.removeLast() }
    return text
  }
}
