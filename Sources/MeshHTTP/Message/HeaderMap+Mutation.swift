import MeshPrimitives

extension HeaderMap {
  // MARK: Setting

  /// Makes `value` the only value of this name: the first field is overwritten where it stands, others are removed; without
  /// one a field is added at the end. `value` may lie in this map. Nothing happens for `.other`.
  @inline(__always)
  public func set(_ id: HeaderID, _ value: Bytes) {
    guard id != .other else { return }
    if breaksStartLine(id, value) { return withStartLinePart(id, value) { set(id, $0) } }
    if presence.contains(id) { overwrite(id, value) } else { append(id, Bytes(id.name), value) }
  }

  /// Makes the literal, which is taken as it is, the only value of this name.
  @inline(__always)
  public func set(_ id: HeaderID, _ value: StaticString) {
    guard id != .other else { return }
    if presence.contains(id) { overwrite(id, Bytes(value)) } else { addChecked(id, Bytes(value)) }
  }

  /// Makes `value` the only value of this name, as `set(_:_:)` for an interned one.
  public func set(_ name: HeaderName, _ value: Bytes) {
    if name.id != .other { return set(name.id, value) }
    let index = firstIndex(name)
    guard index < entryCount else { return add(name, value) }
    var duplicate = nextIndex(name, index + 1)
    while duplicate < entryCount {
      discard(duplicate)
      duplicate = nextIndex(name, duplicate + 1)
    }
    replaceValue(at: index, with: value)
  }

  /// Adds a field at the end. Nothing happens for `.other`.
  @inline(__always)
  public func add(_ id: HeaderID, _ value: Bytes) {
    guard id != .other else { return }
    if breaksStartLine(id, value) { return withStartLinePart(id, value) { add(id, $0) } }
    append(id, Bytes(id.name), value)
  }

  /// Adds a field at the end, the literal being taken as it is. Nothing happens for `.other`.
  @inline(__always)
  public func add(_ id: HeaderID, _ value: StaticString) {
    if id != .other { addChecked(id, Bytes(value)) }
  }

  /// Adds a field at the end. Nothing happens for a pseudo header that is not interned.
  public func add(_ name: HeaderName, _ value: Bytes) {
    if name.id != .other { return add(name.id, value) }
    name.lowercased.withUnsafeBufferPointer { addUninterned($0, value) }
  }

  /// Adds a field at the end whose name is known only as bytes. `lowercased` is a token in lower case or a pseudo header;
  /// `:authority` becomes `host`, and nothing happens for a pseudo header that is not interned.
  public func add(lowercased name: Bytes, _ value: Bytes) {
    let id = HeaderID.identify(name)
    if id == .other { addUninterned(name, value) } else { add(id, value) }
  }

  private func addUninterned(_ name: Bytes, _ value: Bytes) {
    if name.count == 0 { return }
    if name[0] != 0x3a { return append(.other, name, value) }
    if name.equals(":authority") { add(.host, value) }
  }

  /// Joins `value` to what is there with `separator` between, several fields of this name becoming one (RFC 9110 §5.3);
  /// without one a field is added, and an empty one gives way. Nothing happens for `.other`.
  public func appendValue(_ id: HeaderID, separator: StaticString, _ value: Bytes) {
    guard id != .other else { return }
    if breaksStartLine(id, value) { return withStartLinePart(id, value) { appendValue(id, separator: separator, $0) } }
    guard presence.contains(id) else { return add(id, value) }
    if repeated.contains(id) { combine(id, separator) }
    let index = Int(first[Int(id.rawValue)])
    let entry = entries[index]
    if entry.valueLength == 0 { return set(id, value) }
    let kept = Int(entry.nameLength) &+ 2 &+ Int(entry.valueLength)
    let size = kept &+ separator.utf8CodeUnitCount &+ value.count &+ 2
    let outgrown = used &+ size > capacity ? grow(size) : nil
    let line = arena + used
    ByteScan.copyBlocks(line, arena + Int(entry.offset), kept)
    Bytes.copyExactly(line + kept, separator.utf8Start, separator.utf8CodeUnitCount)
    let start = line + kept + separator.utf8CodeUnitCount
    if let source = value.baseAddress { Bytes.copyExactly(start, source, value.count) }
    retire(outgrown)
    sanitize(start, value.count)
    UnsafeMutableRawPointer(start + value.count).storeBytes(of: 0x0a0d, as: UInt16.self)
    let added = separator.utf8CodeUnitCount &+ value.count
    entries[index].offset = UInt32(truncatingIfNeeded: used)
    entries[index].valueLength = entry.valueLength &+ UInt32(truncatingIfNeeded: added)
    used &+= size
    deadBytes &+= entry.lineLength
  }

  /// Makes the fields of this name one, their values joined by `separator` in order. Nothing happens if there is at most one.
  public func combine(_ id: HeaderID, _ separator: StaticString) {
    guard repeated.contains(id) else { return }
    var size = 0
    values(id) { size += $0.count + separator.utf8CodeUnitCount }
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: size) { joined in
      guard let start = joined.baseAddress else { return }
      var length = 0
      func put(_ bytes: Bytes) {
        guard let source = bytes.baseAddress else { return }
        (start + length).update(from: source, count: bytes.count)
        length += bytes.count
      }
      var isFirst = true
      values(id) {
        if !isFirst { put(Bytes(separator)) }
        isFirst = false
        put($0)
      }
      overwrite(id, Bytes(start: start, count: length))
    }
  }

  /// Puts another byte, of visible ASCII, in the place of one of a field's value. Nothing happens if there is no such place.
  @inline(__always)
  public func replaceByte(of id: HeaderID, at offset: Int, with byte: UInt8) {
    guard presence.contains(id) else { return }
    let entry = entries[Int(first[Int(id.rawValue)])]
    guard offset >= 0, offset < Int(entry.valueLength), byte > 0x20, byte < 0x7f else { return }
    arena[entry.valueOffset + offset] = byte
  }

  // MARK: Removing

  /// Removes every field of this name.
  @inline(__always)
  public func remove(_ id: HeaderID) {
    if presence.contains(id) { removePresent(id) }
  }

  /// Removes every field of this name.
  public func remove(_ name: HeaderName) {
    if name.id != .other { return remove(name.id) }
    name.lowercased.withUnsafeBufferPointer { removeUninterned($0) }
  }

  func removeUninterned(_ lowercased: Bytes) {
    var index = nextIndex(lowercased, 0)
    while index < entryCount {
      discard(index)
      index = nextIndex(lowercased, index + 1)
    }
  }

  @inline(never)
  func removePresent(_ id: HeaderID) {
    let start = Int(first[Int(id.rawValue)])
    discard(start)
    if repeated.contains(id) { discardDuplicates(id, after: start) }
    presence.remove(id)
  }

  private func discardDuplicates(_ id: HeaderID, after start: Int) {
    var index = start + 1
    while index < entryCount {
      if entries[index].id == id, entries[index].isLive { discard(index) }
      index += 1
    }
    repeated.remove(id)
  }

  /// Whether a name has an underscore. Interned names have none.
  var hasUnderscores: Bool {
    (0..<entryCount).contains { entries[$0].isLive && entries[$0].id == .other && name(entries[$0]).contains(0x5f) }
  }

  /// Removes the fields whose names have an underscore.
  /// - Returns: how many these were.
  func removeUnderscores() -> Int {
    let before = deadEntries
    for index in 0..<entryCount where entries[index].isLive && entries[index].id == .other {
      if name(entries[index]).contains(0x5f) { discard(index) }
    }
    return deadEntries - before
  }

  @inline(__always)
  private func discard(_ index: Int) {
    deadBytes &+= entries[index].lineLength
    deadEntries &+= 1
    entries[index].kind = .removed
  }

  /// Keeps a field, of which there is one, out of heads of HTTP/1.1.
  func holdBack(_ id: HeaderID) {
    guard has(id), !isRepeated(id) else { return }
    entries[Int(first[Int(id.rawValue)])].kind = .unsent
  }

  // MARK: Writing a value in place

  /// Room for a value of up to `size` bytes, for a writer that would otherwise format it elsewhere first. Call
  /// `addReserved` next, with nothing else in between.
  @inline(__always)
  public func reserveTail(_ size: Int) -> UnsafeMutablePointer<UInt8> {
    if used &+ size &+ Self.reservedGap > capacity { retire(grow(size &+ Self.reservedGap)) }
    return arena + used + Self.reservedGap
  }

  /// Adds a field whose value is the first `length` bytes of the room last reserved: visible ASCII that the caller has
  /// made itself, not a peer's bytes. Nothing happens for `.other` and pseudo headers.
  @inline(__always)
  public func addReserved(_ id: HeaderID, _ length: Int) {
    guard id != .other, !HeaderIDSet.http1Unsent.contains(id) else { return }
    let name = id.name
    let line = arena + used
    let source = UnsafePointer(line + Self.reservedGap)
    assert(Bytes(start: source, count: length).allSatisfy { $0 > 0x20 && $0 < 0x7f })
    Bytes.copyExactly(line, name.utf8Start, name.utf8CodeUnitCount)
    commitLine(id, name.utf8CodeUnitCount, source, length, isChecked: true)
  }

  // MARK: Lines

  /// Adds a field whose value a parser has checked already, or the caller has made: it holds no control character.
  @inline(__always)
  public func addChecked(_ id: HeaderID, _ value: Bytes) { append(id, Bytes(id.name), value, isChecked: true) }

  /// As `addChecked`, where sixteen bytes behind the value are readable, and the name is known to the compiler.
  @inline(__always)
  func addPseudo(_ id: HeaderID, _ name: StaticString, _ value: UnsafePointer<UInt8>, _ length: Int) {
    let nameLength = name.utf8CodeUnitCount
    let size = nameLength &+ length &+ 4
    if used &+ size > capacity { retire(grow(size)) }
    let line = arena + used
    Bytes.copyExactly(line, name.utf8Start, nameLength)
    UnsafeMutableRawPointer(line + nameLength).storeBytes(of: 0x203a, as: UInt16.self)
    ByteScan.copyBlocks(line + nameLength + 2, value, length)
    UnsafeMutableRawPointer(line + nameLength + 2 + length).storeBytes(of: 0x0a0d, as: UInt16.self)
    record(id, offset: used, nameLength: nameLength, valueLength: length, kind: .unsent)
    used &+= size
  }

  @inline(__always)
  private func append(_ id: HeaderID, _ name: Bytes, _ value: Bytes, isChecked: Bool = false) {
    guard let nameStart = name.baseAddress else { return }
    // The value may lie in the arena that is outgrown: it goes when the value has been copied.
    var outgrown: UnsafeMutablePointer<UInt8>?
    if used &+ name.count &+ value.count &+ 4 > capacity { outgrown = grow(name.count &+ value.count &+ 4) }
    Bytes.copyExactly(arena + used, nameStart, name.count)
    commitLine(id, name.count, value.baseAddress ?? nameStart, value.count, isChecked: isChecked)
    retire(outgrown)
  }

  /// Completes the line at the tail, whose name is in place, and makes it a field.
  @inline(__always)
  private func commitLine(
    _ id: HeaderID, _ nameLength: Int, _ value: UnsafePointer<UInt8>, _ length: Int, isChecked: Bool = false
  ) {
    let line = arena + used
    UnsafeMutableRawPointer(line + nameLength).storeBytes(of: 0x203a, as: UInt16.self)
    let start = line + nameLength + 2
    Bytes.copyExactly(start, value, length)
    if !isChecked { sanitize(start, length) }
    UnsafeMutableRawPointer(start + length).storeBytes(of: 0x0a0d, as: UInt16.self)
    let kind: Entry.Kind = HeaderIDSet.http1Unsent.contains(id) ? .unsent : .line
    record(id, offset: used, nameLength: nameLength, valueLength: length, kind: kind)
    used &+= nameLength &+ length &+ 4
  }

  /// Adds the entry of a line that is in the arena; the caller advances `used`.
  @inline(__always)
  func record(_ id: HeaderID, offset: Int, nameLength: Int, valueLength: Int, kind: Entry.Kind) {
    if entryCount == entryCapacity { growEntries() }
    entries[entryCount] = Entry(offset: offset, nameLength: nameLength, valueLength: valueLength, id: id, kind: kind)
    if id != .other {
      if presence.contains(id) {
        repeated.insert(id)
      } else {
        presence.insert(id)
        first[Int(id.rawValue)] = UInt32(truncatingIfNeeded: entryCount)
      }
    }
    entryCount &+= 1
  }

  @inline(never)
  private func overwrite(_ id: HeaderID, _ value: Bytes) {
    let index = Int(first[Int(id.rawValue)])
    if repeated.contains(id) { discardDuplicates(id, after: index) }
    replaceValue(at: index, with: value)
  }

  /// Gives the field at `index` another value, where it stands if that fits, else as a new line at the tail.
  private func replaceValue(at index: Int, with value: Bytes) {
    let entry = entries[index]
    let length = value.count
    var start = arena + entry.valueOffset
    if length <= Int(entry.valueLength) {
      deadBytes += Int(entry.valueLength) - length
      if let source = value.baseAddress { start.update(from: source, count: length) }
    } else {
      let nameLength = Int(entry.nameLength)
      let size = nameLength + length + 4
      let outgrown = used + size > capacity ? grow(size) : nil
      let line = arena + used
      line.update(from: arena + Int(entry.offset), count: nameLength + 2)
      start = line + nameLength + 2
      if let source = value.baseAddress { start.update(from: source, count: length) }
      retire(outgrown)
      entries[index].offset = UInt32(truncatingIfNeeded: used)
      used += size
      deadBytes += entry.lineLength
    }
    sanitize(start, length)
    UnsafeMutableRawPointer(start + length).storeBytes(of: 0x0a0d, as: UInt16.self)
    entries[index].valueLength = UInt32(truncatingIfNeeded: length)
  }

  // MARK: Cleanliness

  @inline(__always)
  private func sanitize(_ start: UnsafeMutablePointer<UInt8>, _ length: Int) {
    if ByteScan.hasControl(start, length) { blankControls(start, length) }
  }

  @inline(never)
  private func blankControls(_ start: UnsafeMutablePointer<UInt8>, _ length: Int) {
    for i in 0..<length where (start[i] < 0x20 && start[i] != 0x09) || start[i] == 0x7f { start[i] = 0x20 }
  }

  /// Whether a value would break the start line it becomes part of: a byte other than VCHAR or a `#` in `:path`, no token
  /// in `:method`.
  @inline(__always)
  private func breaksStartLine(_ id: HeaderID, _ value: Bytes) -> Bool {
    (id == .path && !ByteScan.isTarget(value)) || (id == .method && !ByteScan.isToken(value))
  }

  /// Hands `body` the value with each byte that does not belong percent-encoded (`:path`) or replaced by `_` (`:method`).
  @inline(never)
  private func withStartLinePart(_ id: HeaderID, _ value: Bytes, _ body: (Bytes) -> Void) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: value.count * 3 + 1) { part in
      var length = 0
      func put(_ byte: UInt8) {
        part[length] = byte
        length += 1
      }
      for byte in value {
        if id == .method {
          put(ByteScan.isToken(byte) ? byte : 0x5f)
        } else if ByteScan.isTarget(byte) {
          put(byte)
        } else {
          put(0x25)
          put(ByteScan.hexDigit(byte >> 4))
          put(ByteScan.hexDigit(byte & 15))
        }
      }
      body(Bytes(start: part.baseAddress, count: length))
    }
  }

  // MARK: Memory

  /// Moves the arena to one with room for `size` more bytes. The caller gives the old one to `retire` when it has copied
  /// what it needs from there.
  @inline(never)
  func grow(_ size: Int) -> UnsafeMutablePointer<UInt8> {
    precondition(used + size < Int(UInt32.max), "a header map holds less than 4 GiB")
    let outgrown = arena
    let allocation = max(used + size + Self.slack, 2 * (capacity + Self.slack))
    arena = .allocate(capacity: allocation)
    capacity = allocation - Self.slack
    arena.update(from: outgrown, count: used)
    return outgrown
  }

  @inline(__always)
  func retire(_ outgrown: UnsafeMutablePointer<UInt8>?) { outgrown?.deallocate() }

  @inline(never)
  func growEntries() {
    let larger = UnsafeMutablePointer<Entry>.allocate(capacity: entryCapacity * 2)
    larger.update(from: entries, count: entryCount)
    entries.deallocate()
    entries = larger
    entryCapacity *= 2
  }
}
