import MeshPrimitives
import MeshRouting

/// Headers as text.
struct TextHeaders: HeaderMutationTarget {
  var lines: [(String, String)]

  init(_ lines: [(String, String)] = []) { self.lines = lines }
  func contains(_ name: HeaderName) -> Bool { lines.contains { $0.0 == name.description } }
  mutating func remove(_ name: HeaderName) { lines.removeAll { $0.0 == name.description } }
  mutating func append(_ name: HeaderName, _ value: Bytes) { lines.append((name.description, value.text)) }
  mutating func set(_ name: HeaderName, _ value: Bytes) {
    remove(name)
    append(name, value)
  }
  mutating func write(_ format: any HeaderValueFormat, into buffer: inout [UInt8]) {
    guard let format = format as? HeaderCopy else { return }
    for (name, value) in lines where name == format.name { buffer += Array(value.utf8) }
  }
  var text: [String] { lines.map { "\($0.0): \($0.1)" } }
}

/// `%NAME%`: the header's value.
final class HeaderCopy: HeaderValueFormat {
  let name: String
  init(_ name: String) { self.name = name }

  static func compile(_ text: String) -> Result<(any HeaderValueFormat)?, RouteProblem> {
    guard text.hasPrefix("%"), text.hasSuffix("%"), text.count > 2 else {
      return .failure(RouteProblem(path: "", message: "'\(text)' is not understood"))
    }
    return .success(HeaderCopy(String(text.dropFirst().dropLast())))
  }
}

extension ForwardAction {
  /// The path that is sent upstream; formats make `made-by-NAME` of their name.
  func rewritten(_ path: String) -> String? {
    let request = TestRequest(path)
    return rewrittenPath(request.path) { format, buffer in
      if let format = format as? HeaderCopy { buffer += Array(format.name.utf8) }
    }.map { String(decoding: $0, as: UTF8.self) }
  }
}
