import MeshPrimitives

/// One message's header fields: one arena of bytes plus 16-byte entries, reused through a free list by its owner.
///
/// Every field lies in the arena as the line `name: value CR LF`, the name in lower case, so that a codec sends a run of
/// untouched neighbours with one copy. Pseudo headers (`:method`, `:path`, `:scheme`, `:status`) are fields like any
/// other here and are never sent as lines. A field is removed by marking its entry; its bytes stay until `removeAll`.
///
/// No value holds CR, LF, NUL or another control character but HTAB: writers that take foreign bytes replace them by SP
/// (RFC 9110 §5.5), and `:path` and `:method` are kept free of anything that could end them early. Confined to one thread.
/// Runs of bytes it hands out are valid until the next mutation.
public final class HeaderMap {
  @usableFromInline
  struct Entry {
    /// Where the line begins in the arena.
    @usableFromInline var offset: UInt32
    @usableFromInline var nameLength: UInt32
    @usableFromInline var valueLength: UInt32
    @usableFromInline var id: HeaderID
    @usableFromInline var kind: Kind

    /// What a serialiser makes of an entry.
    @usableFromInline
    enum Kind: UInt8 {
      /// A field that was removed.
      case removed
      /// A line of a head.
      case line
      /// A pseudo header, Transfer-Encoding, or a field that is held back: never a line, whatever the message.
      case unsent
    }

    @inline(__always)
    init(offset: Int, nameLength: Int, valueLength: Int, id: HeaderID, kind: Kind) {
      self.offset = UInt32(truncatingIfNeeded: offset)
      self.nameLength = UInt32(truncatingIfNeeded: nameLength)
      self.valueLength = UInt32(truncatingIfNeeded: valueLength)
      self.id = id
      self.kind = kind
    }

    @inlinable @inline(__always) var isLive: Bool { kind != .removed }

    @inlinable @inline(__always) var lineLength: Int { Int(nameLength) &+ Int(valueLength) &+ 4 }
    @inlinable @inline(__always) var valueOffset: Int { Int(offset) &+ Int(nameLength) &+ 2 }
  }

  /// Arena bytes that may always be read or written beyond `used`: block copies need no tail.
  static let slack = 64
  /// What `removeAll` keeps.
  static let keptArena = 16 * 1024
  static let keptEntries = 128
  /// The longest interned name and its `: `, rounded up: where a reserved value is written.
  static let reservedGap = 64

  @usableFromInline var arena: UnsafeMutablePointer<UInt8>
  /// Allocated bytes less the slack.
  var capacity: Int
  @usableFromInline var used = 0
  @usableFromInline var entries: UnsafeMutablePointer<Entry>
  var entryCapacity: Int
  @usableFromInline var entryCount = 0
  /// Entries removed, and bytes of the arena that belong to no live entry: counted where they arise, which is rare.
  @usableFromInline var deadEntries = 0
  @usableFromInline var deadBytes = 0
  @usableFromInline var presence = HeaderIDSet()
  /// Ids with more than one field.
  @usableFromInline var repeated = HeaderIDSet()
  /// By id: the entry of its first field. Meaningful only for ids in `presence`.
  @usableFromInline let first: UnsafeMutablePointer<UInt32>
  /// Bytes of a trailer line of which the end has not arrived; they lie behind `used` and `reservedGap`.
  var pending = 0
  /// How the sender spelled the names, where they are to go out like that; nil otherwise.
  var spelling: HeaderSpelling?

  /// What is known of the sender's certificate. Meaningful only where the route table asks for it, which then has it set
  /// for every request.
  public var peerCertificate = PeerCertificateState()

  public init() {
    capacity = 2048 - Self.slack
    arena = .allocate(capacity: 2048)
    entryCapacity = 32
    entries = .allocate(capacity: 32)
    first = .allocate(capacity: 128)
    first.initialize(repeating: 0, count: 128)
  }

  deinit {
    arena.deallocate()
    entries.deallocate()
    first.deallocate()
  }

  /// Drops every field. Keeps its memory for the next message, but gives back an arena over 16 KiB and more than 128 entries.
  @inline(__always)
  public func removeAll() {
    if capacity > Self.keptArena || entryCapacity > Self.keptEntries { shrink() }
    used = 0
    entryCount = 0
    deadEntries = 0
    deadBytes = 0
    presence = HeaderIDSet()
    repeated = HeaderIDSet()
    pending = 0
    if spelling != nil { spelling = nil }
  }

  @inline(never)
  private func shrink() {
    if capacity > Self.keptArena {
      arena.deallocate()
      capacity = 2048 - Self.slack
      arena = .allocate(capacity: 2048)
    }
    if entryCapacity > Self.keptEntries {
      entries.deallocate()
      entryCapacity = 32
      entries = .allocate(capacity: 32)
    }
  }

  // MARK: Reading

  /// Fields, pseudo headers included.
  @inlinable @inline(__always) public var count: Int { entryCount &- deadEntries }

  /// Names, values and four bytes (`: ` and CR LF) per field.
  @inlinable @inline(__always) public var byteCount: Int { used &- deadBytes }

  /// Whether a field of this name is there.
  @inlinable @inline(__always)
  public func has(_ id: HeaderID) -> Bool { presence.contains(id) }

  /// Whether there is a field of any of these names.
  @inlinable @inline(__always)
  public func hasAny(_ ids: HeaderIDSet) -> Bool { presence.intersects(ids) }

  /// Whether more than one field of this name is there.
  @inlinable @inline(__always)
  public func isRepeated(_ id: HeaderID) -> Bool { repeated.contains(id) }

  /// The value of the first field of this name. `.other` has none.
  @inlinable @inline(__always)
  public func value(_ id: HeaderID) -> Bytes? {
    guard presence.contains(id) else { return nil }
    return value(entries[Int(first[Int(id.rawValue)])])
  }

  /// The value of the first field of this name.
  @inlinable @inline(__always)
  public func value(_ name: HeaderName) -> Bytes? {
    if name.id != .other { return value(name.id) }
    let index = firstIndex(name)
    return index < entryCount ? value(entries[index]) : nil
  }

  /// Calls `body` with the value of each field of this name, in order.
  @inlinable @inline(__always)
  public func values(_ name: HeaderName, _ body: (Bytes) -> Void) {
    if name.id != .other { return values(name.id, body) }
    var index = firstIndex(name)
    while index < entryCount {
      body(value(entries[index]))
      index = nextIndex(name, index &+ 1)
    }
  }

  /// Calls `body` with the value of each field of this name, in order.
  @inlinable @inline(__always)
  public func values(_ id: HeaderID, _ body: (Bytes) -> Void) {
    guard presence.contains(id) else { return }
    var index = Int(first[Int(id.rawValue)])
    repeat {
      let entry = entries[index]
      if entry.id == id, entry.isLive { body(value(entry)) }
      index &+= 1
    } while index < entryCount && repeated.contains(id)
  }

  /// Calls `body` with each field in order, pseudo headers included. `body` must not change the map.
  @inlinable @inline(__always)
  public func forEach(_ body: (_ id: HeaderID, _ name: Bytes, _ value: Bytes) -> Void) {
    var index = 0
    while index < entryCount {
      let entry = entries[index]
      if entry.isLive { body(entry.id, name(entry), value(entry)) }
      index &+= 1
    }
  }

  @inlinable @inline(__always)
  func value(_ entry: Entry) -> Bytes { Bytes(start: arena + entry.valueOffset, count: Int(entry.valueLength)) }

  @inlinable @inline(__always)
  func name(_ entry: Entry) -> Bytes { Bytes(start: arena + Int(entry.offset), count: Int(entry.nameLength)) }

  /// The first live field with this name, which is not interned; `entryCount` if there is none.
  @inlinable @inline(__always)
  func firstIndex(_ name: HeaderName) -> Int { nextIndex(name, 0) }

  @usableFromInline
  func nextIndex(_ name: HeaderName, _ start: Int) -> Int {
    name.lowercased.withUnsafeBufferPointer { nextIndex($0, start) }
  }

  func nextIndex(_ lowercased: Bytes, _ start: Int) -> Int {
    var index = start
    while index < entryCount {
      let entry = entries[index]
      if entry.id == .other, entry.isLive, Int(entry.nameLength) == lowercased.count, name(entry).equals(lowercased) {
        break
      }
      index &+= 1
    }
    return index
  }
}

extension HeaderMap {
  /// Takes over every field of `other`, dropping what was here.
  public func copy(from other: HeaderMap) {
    guard other !== self else { return }
    removeAll()
    if capacity < other.used {
      arena.deallocate()
      capacity = other.capacity
      arena = .allocate(capacity: capacity + Self.slack)
    }
    if entryCapacity < other.entryCount {
      entries.deallocate()
      entryCapacity = other.entryCapacity
      entries = .allocate(capacity: entryCapacity)
    }
    if other.used > 0 { arena.update(from: other.arena, count: other.used) }
    if other.entryCount > 0 { entries.update(from: other.entries, count: other.entryCount) }
    first.update(from: other.first, count: 128)
    used = other.used
    entryCount = other.entryCount
    deadEntries = other.deadEntries
    deadBytes = other.deadBytes
    presence = other.presence
    repeated = other.repeated
    spelling = other.spelling
    peerCertificate = other.peerCertificate
  }
}
