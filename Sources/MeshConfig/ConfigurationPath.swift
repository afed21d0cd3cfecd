/// The way from a message to one of its parts: `static_resources.listeners[0].name`, and for entries of a map
/// `typed_per_filter_config["envoy.filters.http.buffer"].disabled`. The content of an `Any` follows the field itself,
/// without a step of its own.
struct ConfigurationPath: Equatable, Sendable, CustomStringConvertible {
  enum Step: Equatable, Sendable {
    case field(String)
    case index(Int)
    case key(String)
  }

  var steps: [Step] = []

  var description: String {
    var text = ""
    for step in steps {
      switch step {
      case .field(let name):
        if !text.isEmpty { text += "." }
        text += name
      case .index(let index): text += "[\(index)]"
      case .key(let key): text += "[\(quoted(key))]"
      }
    }
    return text
  }

  init(_ steps: [Step] = []) { self.steps = steps }

  /// Reads what `description` writes. Text that is no path gives the longest beginning that is one.
  init(parsing text: String) {
    var rest = Substring(text)
    while let first = rest.first {
      switch first {
      case ".": rest.removeFirst()
      case "[":
        rest.removeFirst()
        if rest.first == "\"" {
          guard let key = Self.takeQuoted(&rest), rest.first == "]" else { return }
          rest.removeFirst()
          steps.append(.key(key))
        } else {
          guard let end = rest.firstIndex(of: "]"), let index = Int(rest[..<end]), index >= 0 else { return }
          rest = rest[rest.index(after: end)...]
          steps.append(.index(index))
        }
      default:
        let end = rest.firstIndex { $0 == "." || $0 == "[" } ?? rest.endIndex
        steps.append(.field(String(rest[..<end])))
        rest = rest[end...]
      }
    }
  }

  private static func takeQuoted(_ rest: inout Substring) -> String? {
    rest.removeFirst()
    var key = ""
    while let next = rest.popFirst() {
      if next == "\"" { return key }
      if next == "\\" {
        guard let escaped = rest.popFirst() else { return nil }
        key.append(escaped)
      } else {
        key.append(next)
      }
    }
    return nil
  }
}

/// `text` in double quotes for a message: at most 60 characters, control characters as `\u{…}`.
func quoted(_ text: some StringProtocol) -> String {
  var out = "\""
  for (index, character) in text.unicodeScalars.enumerated() {
    if index == 60 {
      out += "…"
      break
    }
    switch character {
    case "\"": out += "\\\""
    case "\\": out += "\\\\"
    case "\n": out += "\\n"
    case "\r": out += "\\r"
    case "\t": out += "\\t"
    case _ where character.value < 0x20 || (0x7f..<0xa0).contains(character.value):
      out += "\\u{\(String(character.value, radix: 16))}"
    default: out.unicodeScalars.append(character)
    }
  }
  return out + "\""
}
