import MeshAPI
import MeshPrimitives

/// Makes header mutations from configuration; what is wrong is reported and left out.
struct HeaderCompiler {
  let formats: RouteTable.FormatCompiler
  private(set) var problems: [RouteProblem] = []

  init(formats: @escaping RouteTable.FormatCompiler) { self.formats = formats }

  /// - Parameter pathPrefix: where the lists stand, with a dot at its end; the lists' names are `kind_headers_to_…`.
  mutating func level(
    add: [HeaderValueOption], remove: [String], kind: String, pathPrefix: String
  ) -> HeaderMutations.Level {
    if add.isEmpty, remove.isEmpty { return HeaderMutations.Level(removals: [], additions: []) }
    var removals: [HeaderName] = []
    for (position, name) in remove.enumerated() {
      let path = "\(pathPrefix)\(kind)_headers_to_remove[\(position)]"
      if let name = changeable(name, path) { removals.append(name) }
    }
    return HeaderMutations.Level(removals: removals, additions: additions(add, "\(pathPrefix)\(kind)_headers_to_add"))
  }

  /// The headers to add, those that overwrite first.
  mutating func additions(_ add: [HeaderValueOption], _ path: String) -> [HeaderAddition] {
    var additions: [HeaderAddition] = []
    if add.count > HeaderMutations.Level.maximumAdditions {
      problem(path, "has \(add.count) elements; at most \(HeaderMutations.Level.maximumAdditions) are supported")
    }
    for (position, option) in add.enumerated() {
      if let addition = addition(option, "\(path)[\(position)]") { additions.append(addition) }
    }
    let ordered = additions.filter(\.action.overwrites) + additions.filter { !$0.action.overwrites }
    return Array(ordered.prefix(HeaderMutations.Level.maximumAdditions))
  }

  private mutating func addition(_ option: HeaderValueOption, _ path: String) -> HeaderAddition? {
    let name = changeable(option.header.key, path + ".header.key")
    let value = text(option.header.value, path + ".header.value")
    let action: HeaderAddition.Action
    switch option.appendAction {
    case .appendIfExistsOrAdd: action = option.hasAppend && !option.append.value ? .overwriteOrAdd : .append
    case .addIfAbsent: action = .addIfAbsent
    case .overwriteIfExistsOrAdd: action = .overwriteOrAdd
    case .overwriteIfExists: action = .overwriteIfPresent
    case .UNRECOGNIZED(let number):
      problem(path + ".append_action", "unknown value \(number)")
      return nil
    }
    if option.hasAppend, option.appendAction != .appendIfExistsOrAdd {
      problem(path + ".append", "must not be combined with append_action")
    }
    guard let name, let value else { return nil }
    switch value {
    case .literal(let bytes):
      // Without keep_empty_value an empty value means that nothing is done.
      if bytes.isEmpty, !option.keepEmptyValue { return nil }
      return HeaderAddition(name: name, value: bytes, format: nil, keepsEmpty: true, action: action)
    case .format(let format):
      return HeaderAddition(name: name, value: [], format: format, keepsEmpty: option.keepEmptyValue, action: action)
    }
  }

  /// A name that may be added or removed.
  mutating func changeable(_ name: String, _ path: String) -> HeaderName? {
    if name.isEmpty {
      problem(path, "is required")
      return nil
    }
    if name.utf8.first == UInt8(ascii: ":") || name.lowercased() == "host" {
      problem(path, "'\(name)': names that begin with ':' and 'host' cannot be added or removed")
      return nil
    }
    guard Self.isToken(name) else {
      problem(path, "'\(name)' is not a header name (RFC 9110 §5.6.2)")
      return nil
    }
    let header = HeaderName(name)
    switch header.id {
    case .connection, .keepAlive, .proxyConnection, .te, .trailer, .transferEncoding, .upgrade, .http2Settings,
      .contentLength:
      problem(path, "'\(name)' belongs to the connection or to the framing and cannot be added or removed")
      return nil
    default: return header
    }
  }

  /// A text that may hold operators.
  mutating func text(_ text: String, _ path: String) -> FormatText.Compiled? {
    let bytes = text.utf8
    guard bytes.count <= 16_384 else {
      problem(path, "has \(bytes.count) bytes; at most 16384 are allowed")
      return nil
    }
    guard bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }) else {
      problem(path, "holds a control character")
      return nil
    }
    if let literal = FormatText.literal(text) { return .literal(literal) }
    switch formats(text) {
    case .success(let format?): return .format(format)
    case .success(nil): return .literal(Array(bytes))
    case .failure(let failure):
      problem(failure.path.isEmpty ? path : "\(path).\(failure.path)", failure.message)
      return nil
    }
  }

  mutating func problem(_ path: String, _ message: String) {
    problems.append(RouteProblem(path: path, message: message))
  }

  /// RFC 9110 §5.6.2.
  static func isToken(_ text: String) -> Bool {
    !text.isEmpty
      && text.utf8.allSatisfy { byte in
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
        case 0x21, 0x23...0x27, 0x2a, 0x2b, 0x2d, 0x2e, 0x5e...0x60, 0x7c, 0x7e: true
        default: false
        }
      }
  }
}
