import MeshPrimitives

/// How far a run of field lines has been read.
enum FieldSection {
  /// The empty line has been read; the index of the byte behind it.
  case end(Int)
  case incomplete
  case invalid(HTTP1Error)
}

extension HeaderMap {
  /// Reads field lines from `p[start..<n]` up to the empty line (RFC 9112 §5). `n` is at least 8.
  @inline(__always)
  func readFieldSection(_ p: UnsafePointer<UInt8>, _ start: Int, _ n: Int, maxFields: Int) -> FieldSection {
    var i = start
    var fields = 0
    while true {
      if fields < maxFields {
        let next = readPlainLine(p, i, n)
        if next != 0 {
          i = next
          fields &+= 1
          continue
        }
      }
      switch readOtherLine(p, i, n, fields, maxFields) {
      case .end(let next):
        if next < 0 { return .end(0 &- next) }
        i = next
      case .incomplete: return .incomplete
      case .invalid(let error): return .invalid(error)
      }
      fields &+= 1
    }
  }

  /// Reads what almost every field line is: a name of letters, digits and `-`, `: `, a value without HTAB and without white
  /// space around, CR LF, and something behind. Returns the index behind it, or 0 if this is something else.
  @inline(__always)
  private func readPlainLine(_ p: UnsafePointer<UInt8>, _ start: Int, _ n: Int) -> Int {
    guard start &+ 18 <= n else { return 0 }
    let first = ByteScan.load16(p, start)
    var nameLength = ByteScan.firstClear(ByteScan.plainNameBytes(first))
    if nameLength == 16 {
      guard start &+ 34 <= n else { return 0 }
      nameLength &+= ByteScan.firstClear(ByteScan.plainNameBytes(ByteScan.load16(p, start &+ 16)))
      if nameLength == 32 { return 0 }
    }
    // Two bytes behind the blocks are there: these need no check.
    let colon = start &+ nameLength
    // ": "
    guard nameLength > 0, UnsafeRawPointer(p).loadUnaligned(fromByteOffset: colon, as: UInt16.self) == 0x203a,
      p[colon &+ 2] > 0x20
    else { return 0 }
    let end = ByteScan.firstControl(p, colon &+ 2, n)
    // CR LF
    guard end &+ 2 <= n, UnsafeRawPointer(p).loadUnaligned(fromByteOffset: end, as: UInt16.self) == 0x0a0d,
      p[end &- 1] != 0x20
    else { return 0 }

    let size = end &+ 2 &- start
    if used &+ size > capacity { retire(grow(size)) }
    let line = arena + used
    ByteScan.store16(line, 0, first | ByteScan.all(0x20))
    if nameLength > 16 {
      ByteScan.store16(line, 16, ByteScan.load16(p, start &+ 16) | ByteScan.all(0x20))
    }
    let rest = size &- nameLength
    if end &+ 18 <= n {
      ByteScan.copyBlocks(line + nameLength, p + colon, rest)
    } else {
      Bytes.copyExactly(line + nameLength, p + colon, rest)
    }
    record(
      HeaderID.identify(UnsafeRawPointer(line), nameLength), offset: used, nameLength: nameLength,
      valueLength: rest &- 4, kind: .line)
    used &+= size
    return end &+ 2
  }

  /// Reads any other line; the index behind the empty line is returned negated.
  @inline(never)
  private func readOtherLine(
    _ p: UnsafePointer<UInt8>, _ i: Int, _ n: Int, _ fields: Int, _ maxFields: Int
  ) -> FieldSection {
    if i >= n { return .incomplete }
    if p[i] <= 0x20 {
      guard p[i] == 0x0d else { return .invalid(Self.lineStartError(p[i], isFirst: fields == 0)) }
      guard i &+ 1 < n else { return .incomplete }
      return p[i &+ 1] == 0x0a ? .end(0 &- (i &+ 2)) : .invalid(.bareCR)
    }
    if fields == maxFields { return .invalid(.tooManyFields) }
    return readFieldLine(p, i, n)
  }

  /// Why a line cannot begin with this byte, which is no CR.
  @inline(never)
  static func lineStartError(_ byte: UInt8, isFirst: Bool) -> HTTP1Error {
    if byte == 0x0a { return .bareLF }
    if ByteScan.isBlank(byte) { return isFirst ? .whitespaceBeforeFirstField : .obsoleteLineFolding }
    return .invalidFieldName
  }

  /// Reads one field line from `p[start..<n]` and adds it, its name in lower case, its value without the white space around.
  /// `.end` is the index behind its CR LF. `n` is at least 8 and over `start`.
  func readFieldLine(_ p: UnsafePointer<UInt8>, _ start: Int, _ n: Int) -> FieldSection {
    // The name, sixteen bytes at a time as long as it is made of what names are made of.
    var colon = start
    var step: Int
    repeat {
      step = ByteScan.firstClear(ByteScan.plainNameBytes(ByteScan.load16(p, colon, n)))
      colon &+= step
    } while step == 16
    if colon >= n { return .incomplete }
    var isPlain = true
    if p[colon] != 0x3a || colon == start {
      while colon < n, ByteScan.isToken(p[colon]) { colon &+= 1 }
      if colon >= n { return .incomplete }
      if p[colon] != 0x3a || colon == start { return .invalid(Self.nameError(p[colon], isEmpty: colon == start)) }
      isPlain = false
    }
    // The value, and whether the line reads `name: value CR LF` already.
    var value = colon &+ 1
    var isVerbatim = false
    if value < n, p[value] == 0x20 {
      value &+= 1
      isVerbatim = true
    }
    while value < n, ByteScan.isBlank(p[value]) {
      value &+= 1
      isVerbatim = false
    }
    let lineEnd = ByteScan.valueEnd(p, value, n)
    if lineEnd &+ 1 >= n || p[lineEnd] != 0x0d || p[lineEnd &+ 1] != 0x0a { return Self.unfinishedValue(p, lineEnd, n) }
    var end = lineEnd
    while end > value, ByteScan.isBlank(p[end &- 1]) {
      end &-= 1
      isVerbatim = false
    }

    let nameLength = colon &- start
    let valueLength = end &- value
    let size = nameLength &+ valueLength &+ 4
    if used &+ size > capacity { retire(grow(size)) }
    let line = arena + used
    if isPlain {
      var k = 0
      repeat {
        ByteScan.store16(line, k, ByteScan.load16(p, start &+ k, n) | ByteScan.all(0x20))
        k &+= 16
      } while k < nameLength
    } else {
      for k in 0..<nameLength { line[k] = p[start &+ k].asciiLowercased }
    }
    let rest = line + nameLength
    if isVerbatim {
      let length = valueLength &+ 4
      if colon &+ length &+ 15 <= n {
        ByteScan.copyBlocks(rest, p + colon, length)
      } else {
        Bytes.copyExactly(rest, p + colon, length)
      }
    } else {
      UnsafeMutableRawPointer(rest).storeBytes(of: 0x203a, as: UInt16.self)
      Bytes.copyExactly(rest + 2, p + value, valueLength)
      UnsafeMutableRawPointer(rest + 2 + valueLength).storeBytes(of: 0x0a0d, as: UInt16.self)
    }
    record(
      HeaderID.identify(UnsafeRawPointer(line), nameLength), offset: used, nameLength: nameLength,
      valueLength: valueLength, kind: .line)
    used &+= size
    return .end(lineEnd &+ 2)
  }

  /// Why a name cannot end with this byte, which is no part of a token.
  @inline(never)
  private static func nameError(_ byte: UInt8, isEmpty: Bool) -> HTTP1Error {
    if isEmpty { return byte == 0x3a ? .emptyFieldName : .invalidFieldName }
    switch byte {
    case 0x20, 0x09: return .spaceBeforeColon
    case 0x0d: return .missingColon
    case 0x0a: return .bareLF
    default: return .invalidFieldName
    }
  }

  /// What a value means that ends at `end`, but not in CR LF.
  @inline(never)
  private static func unfinishedValue(_ p: UnsafePointer<UInt8>, _ end: Int, _ n: Int) -> FieldSection {
    if end >= n { return .incomplete }
    switch p[end] {
    case 0x0d: return end + 1 == n ? .incomplete : .invalid(.bareCR)
    case 0x0a: return .invalid(.bareLF)
    default: return .invalid(.invalidFieldValue)
    }
  }
}
