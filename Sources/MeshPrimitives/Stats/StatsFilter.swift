/// Chooses statistics by name: the `filter` of `/stats`, a regular expression found anywhere in the name.
///
/// Understood: literals, `.`, `*`, `+`, `?`, `^`, `$`, `|` at the top level, `[a-z]`, `[^a-z]`, `\d`, `\w` and `\` before
/// punctuation. Matching takes time linear in the name, whatever the pattern: all positions of the pattern are followed
/// at once, one bit each (Baeza-Yates and Gonnet's Shift-And, extended to repetition).
public struct StatsFilter: Sendable {
  /// Why a pattern was refused.
  public struct PatternError: Error, CustomStringConvertible {
    public let description: String
  }

  /// One branch of the pattern, at most 63 elements long.
  fileprivate struct Branch: Sendable {
    /// For each byte, the elements that take it.
    var accepts = [UInt64](repeating: 0, count: 256)
    /// Elements that may take another byte (`*`, `+`).
    var repeats: UInt64 = 0
    /// Elements that may be left out (`*`, `?`).
    var skippable: UInt64 = 0
    var length = 0
    var fromStart = false
    var toEnd = false
  }

  private let branches: [Branch]

  /// Lets every name through.
  public static let all = StatsFilter(branches: [])

  private init(branches: [Branch]) { self.branches = branches }

  /// - Throws: `PatternError` for a construct that is not understood or a branch of more than 63 elements.
  public init(_ pattern: String) throws(PatternError) {
    var parser = Parser(bytes: Array(pattern.utf8))
    branches = try parser.parse()
  }

  /// Whether `name` is chosen.
  public func matches(_ name: Bytes) -> Bool {
    branches.isEmpty || branches.contains { $0.matches(name) }
  }

  /// Whether every name is chosen.
  public var isAll: Bool { branches.isEmpty }
}

extension StatsFilter.Branch {
  func matches(_ name: Bytes) -> Bool {
    let accepting: UInt64 = 1 << UInt64(length)
    let start = closure(1)
    var states = start
    for byte in name {
      if !toEnd, states & accepting != 0 { return true }
      let taken = states & accepts[Int(byte)]
      states = closure((taken << 1) | (taken & repeats))
      if !fromStart { states |= start }
    }
    return states & accepting != 0
  }

  /// `states` and everything that is reached from them by leaving elements out.
  private func closure(_ states: UInt64) -> UInt64 {
    var states = states
    while true {
      let next = states | ((states & skippable) << 1)
      if next == states { return states }
      states = next
    }
  }
}

extension StatsFilter {
  private struct Parser {
    let bytes: [UInt8]
    var position = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func parse() throws(PatternError) -> [Branch] {
      var branches: [Branch] = []
      while true {
        branches.append(try branch())
        if position == bytes.count { return branches }
        position += 1  // the "|"
      }
    }

    private mutating func branch() throws(PatternError) -> Branch {
      var branch = Branch()
      if peek == UInt8(ascii: "^") {
        branch.fromStart = true
        position += 1
      }
      while let byte = peek, byte != UInt8(ascii: "|") {
        if byte == UInt8(ascii: "$") {
          position += 1
          guard peek == nil || peek == UInt8(ascii: "|") else { throw fail("'$' before the end") }
          branch.toEnd = true
          break
        }
        guard branch.length < 63 else { throw fail("more than 63 elements") }
        let bit: UInt64 = 1 << UInt64(branch.length)
        let accepted = try element()
        for byte in 0..<256 where accepted[byte] { branch.accepts[byte] |= bit }
        switch peek {
        case UInt8(ascii: "*"):
          branch.repeats |= bit
          branch.skippable |= bit
          position += 1
        case UInt8(ascii: "+"):
          branch.repeats |= bit
          position += 1
        case UInt8(ascii: "?"):
          branch.skippable |= bit
          position += 1
        default: break
        }
        branch.length += 1
      }
      return branch
    }

    /// One element without its repetition: which bytes it takes.
    private mutating func element() throws(PatternError) -> [Bool] {
      var accepted = [Bool](repeating: false, count: 256)
      guard let byte = next() else { return accepted }
      switch byte {
      case UInt8(ascii: "."): return [Bool](repeating: true, count: 256)
      case UInt8(ascii: "["): return try characterClass()
      case UInt8(ascii: "\\"): return try escape()
      case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"): throw fail("nothing to repeat")
      case UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "{"), UInt8(ascii: "}"), UInt8(ascii: "]"),
        UInt8(ascii: "^"):
        throw fail("'\(Character(UnicodeScalar(byte)))' is not supported here")
      default: accepted[Int(byte)] = true
      }
      return accepted
    }

    private mutating func escape() throws(PatternError) -> [Bool] {
      guard let byte = next() else { throw fail("'\\' at the end") }
      func isWord(_ byte: Int) -> Bool { isDigit(byte) || 0x61...0x7a ~= byte || 0x41...0x5a ~= byte || byte == 0x5f }
      func isDigit(_ byte: Int) -> Bool { 0x30...0x39 ~= byte }
      switch byte {
      case UInt8(ascii: "d"): return (0..<256).map(isDigit)
      case UInt8(ascii: "w"): return (0..<256).map(isWord)
      case _ where isWord(Int(byte)) || byte >= 0x80:
        throw fail("'\\\(Character(UnicodeScalar(byte)))' is not supported")
      default: return (0..<256).map { $0 == Int(byte) }
      }
    }

    private mutating func characterClass() throws(PatternError) -> [Bool] {
      var accepted = [Bool](repeating: false, count: 256)
      var negated = false
      if peek == UInt8(ascii: "^") {
        negated = true
        position += 1
      }
      var first = true
      while true {
        guard var low = next() else { throw fail("'[' without ']'") }
        if low == UInt8(ascii: "]"), !first { break }
        first = false
        if low == UInt8(ascii: "\\") {
          guard let escaped = next() else { throw fail("'[' without ']'") }
          low = escaped
        }
        var high = low
        if peek == UInt8(ascii: "-"), position + 1 < bytes.count, bytes[position + 1] != UInt8(ascii: "]") {
          position += 1
          high = next() ?? low
        }
        guard low <= high else { throw fail("a range that runs backwards") }
        for byte in low...high { accepted[Int(byte)] = true }
      }
      return negated ? accepted.map { !$0 } : accepted
    }

    private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func next() -> UInt8? {
      guard let byte = peek else { return nil }
      position += 1
      return byte
    }

    private func fail(_ what: String) -> PatternError {
      PatternError(description: "filter, at character \(position): \(what)")
    }
  }
}
