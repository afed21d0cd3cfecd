import MeshAPI

/// Parts of a message, by the paths of its fields (`google.protobuf.FieldMask`): `node.id,admin.address`. A path may end
/// at any field, but not lead through a list, a map or an `Any`.
public struct FieldMask: Sendable, Equatable {
  /// A field that is chosen, or leads to such fields.
  private struct Node: Sendable, Equatable {
    /// None: the whole field.
    var fields: [String: Node] = [:]

    mutating func add(_ path: ArraySlice<String>) {
      guard let first = path.first else { return }
      let rest = path.dropFirst()
      if let known = fields[first] {
        // Nothing can be added to a field that is chosen as a whole, and a shorter path takes the longer one's place.
        if known.fields.isEmpty { return }
        if rest.isEmpty { return fields[first] = Node() }
      }
      fields[first, default: Node()].add(rest)
    }
  }

  /// The paths, each as the names of its fields.
  public let paths: [[String]]
  private let root: Node

  /// More names than this do not make a path.
  static let depthLimit = 32

  /// - Parameter paths: each has at most 32 names.
  private init(paths: [[String]]) {
    self.paths = paths
    var root = Node()
    for path in paths { root.add(path[...]) }
    self.root = root
  }

  /// Reads paths that are separated by commas; nil if one is no path.
  public init?(_ text: some StringProtocol) {
    let paths = String(text).utf8.split(separator: UInt8(ascii: ",")).map { path in
      path.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).map { String(Substring($0)) }
    }
    guard paths.allSatisfy({ $0.count <= Self.depthLimit && !$0.contains("") }) else { return nil }
    self.init(paths: paths)
  }

  /// Chooses nothing.
  public var isEmpty: Bool { paths.isEmpty }

  /// The paths that begin with `field`, from there on; nil if there is none, and empty for the field as a whole.
  public func below(_ field: String) -> FieldMask? {
    let rest = paths.filter { $0.first == field }.map { Array($0.dropFirst()) }
    if rest.isEmpty { return nil }
    return FieldMask(paths: rest.contains([]) ? [] : rest)
  }

  /// Whether every path leads to a field of the message of this name, one that this proxy supports or one of Envoy's.
  public func isValid(for message: String) -> Bool {
    let schema = Schema.embedded()
    guard let start = schema.message(named: message) else { return false }
    return paths.allSatisfy { path in
      var current = schema.messages[start]
      for (index, name) in path.enumerated() {
        let isLast = index == path.count - 1
        if current.others.contains(where: { $0.name == name }) { return true }
        guard let field = current.fields.first(where: { $0.name == name }) else { return false }
        if isLast { return true }
        guard field.cardinality == .single, case .message(let next) = field.kind else { return false }
        current = schema.messages[next]
      }
      return true
    }
  }

  /// What this chooses of an object in JSON, whose members have the schema's field names.
  /// - Parameter json: well formed, without white space between its tokens.
  public func applied(to json: [UInt8]) -> [UInt8] {
    guard !isEmpty else { return json }
    var output: [UInt8] = []
    json.withUnsafeBufferPointer { json in
      var reader = Reader(json: json)
      reader.copy(root, into: &output)
    }
    return output
  }

  /// Walks over compact JSON.
  private struct Reader {
    let json: UnsafeBufferPointer<UInt8>
    var position = 0

    init(json: UnsafeBufferPointer<UInt8>) { self.json = json }

    private var current: UInt8 { position < json.count ? json[position] : 0 }

    /// Copies the value here, as far as `node` chooses it.
    mutating func copy(_ node: Node, into output: inout [UInt8]) {
      guard !node.fields.isEmpty, current == UInt8(ascii: "{") else {
        let start = position
        skip()
        return output.append(contentsOf: json[start..<position])
      }
      output.append(UInt8(ascii: "{"))
      position += 1
      var isFirst = true
      while position < json.count, current != UInt8(ascii: "}") {
        let start = position
        skip()
        let name = json[start..<position]
        position += 1
        if let chosen = node.fields[String(decoding: name.dropFirst().dropLast(), as: UTF8.self)] {
          if !isFirst { output.append(UInt8(ascii: ",")) }
          isFirst = false
          output.append(contentsOf: name)
          output.append(UInt8(ascii: ":"))
          copy(chosen, into: &output)
        } else {
          skip()
        }
        if current == UInt8(ascii: ",") { position += 1 }
      }
      position += 1
      output.append(UInt8(ascii: "}"))
    }

    /// Moves behind the value here.
    private mutating func skip() {
      var depth = 0
      while position < json.count {
        switch json[position] {
        case UInt8(ascii: "\""):
          position += 1
          while position < json.count, json[position] != UInt8(ascii: "\"") {
            position += json[position] == UInt8(ascii: "\\") ? 2 : 1
          }
        case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
          // The end of what the value is in.
          if depth == 0 { return }
          depth -= 1
        case UInt8(ascii: ","), UInt8(ascii: ":"): if depth == 0 { return }
        default: break
        }
        position += 1
        if depth == 0, position < json.count {
          switch json[position - 1] {
          case UInt8(ascii: "\""), UInt8(ascii: "}"), UInt8(ascii: "]"): return
          default: break
          }
        }
      }
      position = json.count
    }
  }
}
