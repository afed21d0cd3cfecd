import MeshPrimitives

/// What tells one set of labels from another, in numbers: so that a request's series are found without a word of text.
struct SeriesKey: Hashable {
  /// The workload at the other end (`WorkloadIdentity.number`); 0: not known.
  var peer: UInt64 = 0
  /// The service (`ClusterService.number`); 0: the configuration names none.
  var service: UInt64 = 0
  /// The `host` of the request, where that stands in for a service, and the values of dimensions (`TextNumbers`).
  var host: UInt32 = 0
  var dimensions: UInt32 = 0
  /// Whom the certificates name (`PrincipalNumbers`).
  var principals: UInt32 = 0
  private var flags: UInt32 = 0
  /// Code, status of gRPC, protocol.
  private var outcome: UInt64 = 0

  enum Kind: UInt64 { case http, grpc, messages, tcp }

  /// - Parameter grpcStatus: nil: there is none.
  @inline(__always)
  mutating func note(_ kind: Kind, code: Int = 0, grpcStatus: Int? = nil, flags: ResponseFlags = []) {
    self.flags = flags.rawValue
    // A status is whatever a server sends: one that is no 16 bits wide is as good as another.
    let status = grpcStatus.map { UInt64(UInt16(truncatingIfNeeded: $0)) | 1 << 16 } ?? 0
    outcome = kind.rawValue | UInt64(UInt16(truncatingIfNeeded: code)) << 8 | status << 24
  }

  /// Where to look first.
  @inline(__always)
  fileprivate var place: UInt64 {
    var mixed = peer &* 0x9e37_79b1_85eb_ca87
    mixed ^= service &* 0xc2b2_ae3d_27d4_eb4f
    mixed ^= (UInt64(host) << 32 | UInt64(dimensions)) &* 0x1656_67b1_9e37_79f9
    mixed ^= (UInt64(principals) << 32 | UInt64(flags)) &* 0x85eb_ca77_c2b2_ae63
    mixed ^= outcome &* 0x27d4_eb2f_1656_67c5
    return mixed ^ mixed &>> 32
  }
}

/// The series that one worker has looked up, by key. A request that is like another before it finds its own in a few
/// instructions. Bounded: what is forgotten is looked up again. Confined to the worker.
struct SeriesCache<Row: AnyObject> {
  private struct Slot {
    var key = SeriesKey()
    var row: Row?
  }

  private static var places: Int { 64 }
  /// Keys that are kept: there are more of them than series if peers are told apart that have the same names.
  private static var maximum: Int { 4096 }
  private var slots: [Slot] = []
  private var all: [SeriesKey: Row] = [:]
  private var generation: UInt64 = 0

  /// - Parameters:
  ///   - generation: where it has changed nothing is known any more (`Worker.seriesGeneration`).
  ///   - make: is called where the row is not known.
  @inline(__always)
  mutating func row(_ key: SeriesKey, _ generation: UInt64, make: () -> Row) -> Row {
    if generation != self.generation { forget(generation) }
    let place = Int(truncatingIfNeeded: key.place & 63)
    if !slots.isEmpty, let row = slots[place].row, slots[place].key == key { return row }
    return find(key, place, make)
  }

  @inline(never)
  private mutating func forget(_ generation: UInt64) {
    self.generation = generation
    slots = []
    all = [:]
  }

  @inline(never)
  private mutating func find(_ key: SeriesKey, _ place: Int, _ make: () -> Row) -> Row {
    if slots.isEmpty { slots = [Slot](repeating: Slot(), count: Self.places) }
    let row: Row
    if let known = all[key] {
      row = known
    } else {
      row = make()
      if all.count >= Self.maximum { all.removeAll(keepingCapacity: true) }
      all[key] = row
    }
    slots[place] = Slot(key: key, row: row)
    return row
  }
}

/// Numbers for texts that requests bring, the same for the same text for as long as it is asked for now and then. Bounded: a
/// text that others have pushed out gets another number. Confined to the worker.
struct TextNumbers {
  private struct Slot {
    var hash: UInt64 = 0
    var number: UInt32 = 0
    var text: [UInt8] = []
  }

  private static let sets = 64
  private var slots: [Slot] = []
  private var last: UInt32 = 0

  /// - Parameter text: looked at as far as a label can have it. Empty: 0.
  mutating func number(_ text: Bytes) -> UInt32 {
    if text.isEmpty { return 0 }
    if slots.isEmpty { slots = [Slot](repeating: Slot(), count: Self.sets * 2) }
    let hash = XXHash64.hash(text)
    let first = Int(truncatingIfNeeded: hash % UInt64(Self.sets)) * 2
    if holds(first, hash, text) { return slots[first].number }
    if holds(first + 1, hash, text) {
      slots.swapAt(first, first + 1)
      return slots[first].number
    }
    slots[first + 1] = slots[first]
    last = last == .max ? 1 : last + 1
    slots[first] = Slot(hash: hash, number: last, text: Array(text))
    return last
  }

  @inline(__always)
  private func holds(_ place: Int, _ hash: UInt64, _ text: Bytes) -> Bool {
    slots[place].hash == hash && slots[place].text.withUnsafeBufferPointer { $0.equals(text) }
  }
}

/// Numbers for whom the certificates of connections name. Confined to the worker.
struct PrincipalNumbers {
  private struct Slot {
    var connection: UInt64 = 0
    var number: UInt32 = 0
  }

  private static let places = 256
  private var slots: [Slot] = []
  private var texts = TextNumbers()

  /// - Parameters:
  ///   - connection: its identifier, never used again.
  ///   - principals: of the connection, asked for once.
  mutating func number(_ connection: UInt64, _ principals: () -> Principals) -> UInt32 {
    if slots.isEmpty { slots = [Slot](repeating: Slot(), count: Self.places) }
    let place = Int(truncatingIfNeeded: connection % UInt64(Self.places))
    if slots[place].connection == connection { return slots[place].number }
    let found = principals()
    let text = found == Principals() ? [] : found.peer + [0] + found.own
    let number = text.withUnsafeBufferPointer { texts.number($0) }
    slots[place] = Slot(connection: connection, number: number)
    return number
  }
}
