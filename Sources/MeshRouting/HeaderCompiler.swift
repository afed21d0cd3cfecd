import MeshAPI
import MeshPrimitives

/// Makes header mutations and conditions from configuration; what is wrong is reported and left out.
struct HeaderCompiler {
  private(set) var problems: [RouteProblem] = []

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
    var additions: [HeaderAddition] = []
    let path = "\(pathPrefix)\(kind)_headers_to_add"
    if add.count > HeaderMutations.Level.maximumAdditions {
      problem(path, "has \(add.count) elements; at most \(HeaderMutations.Level.maximumAdditions) are supported")
    }
    for (position, option) in add.enumerated() {
      if let addition = addition(option, "\(path)[\(position)]") { additions.append(addition) }
    }
    let ordered = additions.filter(\.action.overwrites) + additions.filter { !$0.action.overwrites }
    return HeaderMutations.Level(
      removals: removals, additions: Array(ordered.prefix(HeaderMutations.Level.maximumAdditions)))
  }

  private mutating func addition(_ option: HeaderValueOption, _ path: String) -> HeaderAddition? {
    let name = changeable(option.header.key, path + ".header.key")
    let value = value(option.header.value, path + ".header.value")
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
    // Without keep_empty_value an empty value means that nothing is done.
    return value.isEmpty && !option.keepEmptyValue ? nil : HeaderAddition(name: name, value: value, action: action)
  }

  /// A name that may be added or removed.
  private mutating func changeable(_ name: String, _ path: String) -> HeaderName? {
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

  /// The bytes that are sent: `%%` becomes `%`; other uses of `%` are refused.
  private mutating func value(_ text: String, _ path: String) -> [UInt8]? {
    let bytes = Array(text.utf8)
    guard bytes.count <= 16_384 else {
      problem(path, "has \(bytes.count) bytes; at most 16384 are allowed")
      return nil
    }
    guard bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }) else {
      problem(path, "holds a control character")
      return nil
    }
    var result: [UInt8] = []
    var position = 0
    while position < bytes.count {
      if bytes[position] == UInt8(ascii: "%") {
        if position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "%") {
          position += 1
        } else {
          if let end = bytes[(position + 1)...].firstIndex(of: UInt8(ascii: "%")) {
            let name = String(decoding: bytes[position...end], as: UTF8.self)
            problem(path, "\(name): command operators in header values are not supported yet ('%%' is a percent sign)")
          } else {
            problem(path, "'%' without an end: a percent sign is written '%%'")
          }
          return nil
        }
      }
      result.append(bytes[position])
      position += 1
    }
    return result
  }

  /// A condition on a header.
  mutating func condition(_ matcher: HeaderMatcher, _ path: String) -> HeaderCondition? {
    guard !matcher.name.isEmpty else {
      problem(path + ".name", "is required")
      return nil
    }
    if matcher.name.utf8.first == UInt8(ascii: ":") {
      guard [":method", ":path", ":authority", ":scheme"].contains(matcher.name.lowercased()) else {
        problem(path + ".name", "'\(matcher.name)' is not a pseudo header of requests")
        return nil
      }
    } else if !Self.isToken(matcher.name) {
      problem(path + ".name", "'\(matcher.name)' is not a header name (RFC 9110 §5.6.2)")
      return nil
    }
    let name = HeaderName(matcher.name)
    let inverted = matcher.invertMatch
    func text(_ test: HeaderCondition.Test, _ text: String, ignoresCase: Bool = false) -> HeaderCondition {
      HeaderCondition(name: name, test: test, text: text, ignoresCase: ignoresCase, inverted: inverted)
    }
    switch matcher.headerMatchSpecifier {
    case nil: return HeaderCondition(name: name, test: .present(true), inverted: inverted)
    case .presentMatch(let wanted): return HeaderCondition(name: name, test: .present(wanted), inverted: inverted)
    case .exactMatch(let exact): return text(.exact, exact)
    case .prefixMatch(let prefix): return required(prefix, path + ".prefix_match") ? text(.prefix, prefix) : nil
    case .suffixMatch(let suffix): return required(suffix, path + ".suffix_match") ? text(.suffix, suffix) : nil
    case .containsMatch(let part): return required(part, path + ".contains_match") ? text(.contains, part) : nil
    case .stringMatch(let match):
      let path = path + ".string_match"
      let ignoresCase = match.ignoreCase
      switch match.matchPattern {
      case nil:
        problem(path, "one of exact, prefix, suffix and contains is required")
        return nil
      case .exact(let exact): return text(.exact, exact, ignoresCase: ignoresCase)
      case .prefix(let prefix):
        return required(prefix, path + ".prefix") ? text(.prefix, prefix, ignoresCase: ignoresCase) : nil
      case .suffix(let suffix):
        return required(suffix, path + ".suffix") ? text(.suffix, suffix, ignoresCase: ignoresCase) : nil
      case .contains(let part):
        return required(part, path + ".contains") ? text(.contains, part, ignoresCase: ignoresCase) : nil
      }
    }
  }

  private mutating func required(_ text: String, _ path: String) -> Bool {
    if text.isEmpty { problem(path, "must not be empty") }
    return !text.isEmpty
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
