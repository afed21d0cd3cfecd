import MeshPrimitives

/// The names of a head's fields as its sender wrote them, and its reason phrase. HTTP compares names without regard to
/// case, and everything here has them in lower case; for peers that do not know that, a head can be sent on in the
/// spelling in which it came. Made only where that is configured. Immutable; belongs to the message's `HeaderMap`.
public final class HeaderSpelling {
  /// What is to be remembered (`PreserveCaseFormatterConfig`).
  public struct Rules: Equatable, Sendable {
    /// Names that the sender did not write get a capital at the beginning of every word; else they stay in lower case.
    public var capitalizesOtherNames: Bool
    /// Whether the response keeps its reason phrase.
    public var keepsReasonPhrase: Bool

    public init(capitalizesOtherNames: Bool = false, keepsReasonPhrase: Bool = false) {
      self.capitalizesOtherNames = capitalizesOtherNames
      self.keepsReasonPhrase = keepsReasonPhrase
    }
  }

  private let capitalizesOtherNames: Bool
  /// Empty: the usual one for the status.
  let reasonPhrase: [UInt8]
  /// The names one behind the other, and where each ends.
  private var names: [UInt8] = []
  private var ends: [UInt32] = []

  /// Reads a whole head that a parser has accepted: perhaps some empty lines, the start line, field lines, an empty line.
  public init(head: Bytes, _ rules: Rules) {
    capitalizesOtherNames = rules.capitalizesOtherNames
    var start = 0
    while start < head.count, head[start] == 0x0d || head[start] == 0x0a { start += 1 }
    let lineEnd = Self.end(of: head, start)
    reasonPhrase = rules.keepsReasonPhrase ? Self.reasonPhrase(head.slice(start, lineEnd - start)) : []
    HeadNames.forEach(head.slice(start, head.count - start)) { name in
      names.append(contentsOf: name)
      ends.append(UInt32(clamping: names.count))
    }
  }

  /// Rewrites the names in a head that is otherwise ready to be sent, all in lower case.
  func apply(to head: UnsafeMutableBufferPointer<UInt8>) {
    // Most fields go out in the order in which they came: the search goes on where the last one was found.
    var next = 0
    HeadNames.forEach(Bytes(head)) { name in
      guard let target = UnsafeMutablePointer(mutating: name.baseAddress) else { return }
      guard let index = find(name, from: next) else {
        if capitalizesOtherNames { HeaderNameStyle.capitalize(target, name.count) }
        return
      }
      let start = start(index)
      for offset in 0..<name.count { target[offset] = names[start + offset] }
      next = index + 1
    }
  }

  private func start(_ index: Int) -> Int { index == 0 ? 0 : Int(ends[index - 1]) }

  private func find(_ lowercased: Bytes, from first: Int) -> Int? {
    for step in 0..<ends.count {
      let index = first + step < ends.count ? first + step : first + step - ends.count
      let start = start(index)
      guard Int(ends[index]) - start == lowercased.count else { continue }
      var offset = 0
      while offset < lowercased.count, names[start + offset].asciiLowercased == lowercased[offset] { offset += 1 }
      if offset == lowercased.count { return index }
    }
    return nil
  }

  private static func end(of head: Bytes, _ start: Int) -> Int {
    var end = start
    while end < head.count, head[end] != 0x0d, head[end] != 0x0a { end += 1 }
    return end
  }

  /// What stands behind the status in a status line.
  private static func reasonPhrase(_ line: Bytes) -> [UInt8] {
    // "HTTP/1.1 200 " has thirteen bytes.
    line.count > 13 ? Array(line.slice(13, line.count - 13)) : []
  }
}

/// How names of fields are written that no sender has spelled.
public enum HeaderNameStyle: Sendable {
  case lowercase
  /// A capital at the beginning of every word (`proper_case_words`).
  case properCase

  /// Rewrites the names in a head that is otherwise ready to be sent, all in lower case.
  func apply(to head: UnsafeMutableBufferPointer<UInt8>) {
    guard self == .properCase else { return }
    HeadNames.forEach(Bytes(head)) { name in
      if let start = UnsafeMutablePointer(mutating: name.baseAddress) { Self.capitalize(start, name.count) }
    }
  }

  /// Makes a capital of each letter that follows neither letter nor digit.
  static func capitalize(_ name: UnsafeMutablePointer<UInt8>, _ count: Int) {
    var isInside = false
    for index in 0..<count {
      let byte = name[index]
      let isLetter = (byte | 0x20) &- 0x61 < 26
      if isLetter, !isInside { name[index] = byte & ~0x20 }
      isInside = isLetter || ByteScan.isDigit(byte)
    }
  }
}

private enum HeadNames {
  /// Calls `body` with the name of each field line behind the first line of a head that ends in an empty line.
  static func forEach(_ head: Bytes, _ body: (Bytes) -> Void) {
    guard let p = head.baseAddress else { return }
    var line = ByteScan.lineFeed(p, 0, head.count) + 1
    while line < head.count, p[line] != 0x0d {
      var colon = line
      while colon < head.count, p[colon] != 0x3a { colon += 1 }
      if colon < head.count { body(head.slice(line, colon - line)) }
      line = ByteScan.lineFeed(p, line, head.count) + 1
    }
  }
}
