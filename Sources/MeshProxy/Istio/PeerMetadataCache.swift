import MeshPrimitives

/// The workloads that peers have named lately, by what they have sent: decoding is for those who are new. Holds a few
/// hundred, whatever peers send; of those that fall on the same place the one that was asked for last stays longest.
/// Confined to the worker.
final class PeerMetadataCache {
  private struct Slot {
    var hash: UInt64 = 0
    var header: [UInt8] = []
    /// Nil: the header cannot be decoded.
    var workload: WorkloadIdentity?
  }

  /// Pairs of places.
  static let sets = 128
  private var slots: [Slot] = []

  /// The workload of a header.
  /// - Parameters:
  ///   - header: `x-envoy-peer-metadata`.
  ///   - id: `x-envoy-peer-metadata-id`. It decides where is looked and nothing else: whoever sends the id of another one is
  ///     not taken for that one.
  ///   - refused: is called when there is something new that cannot be decoded.
  func workload(_ header: Bytes, id: Bytes?, refused: () -> Void) -> WorkloadIdentity? {
    guard header.count <= WorkloadIdentity.maximumHeader else {
      refused()
      return nil
    }
    if slots.isEmpty { slots = [Slot](repeating: Slot(), count: Self.sets * 2) }
    let hash = Self.hash(header, id)
    let first = Int(truncatingIfNeeded: hash % UInt64(Self.sets)) * 2
    if holds(first, hash, header) { return slots[first].workload }
    if holds(first + 1, hash, header) {
      slots.swapAt(first, first + 1)
      return slots[first].workload
    }
    slots[first + 1] = slots[first]
    let workload = WorkloadIdentity(header: header)
    if workload == nil { refused() }
    slots[first] = Slot(hash: hash, header: Array(header), workload: workload)
    return workload
  }

  /// Of a few words, in which proxies differ: every hit is compared as a whole anyway.
  @inline(__always)
  private static func hash(_ header: Bytes, _ id: Bytes?) -> UInt64 {
    var hash = UInt64(truncatingIfNeeded: header.count) &* 0x9e37_79b1_85eb_ca87
    func mix(_ bytes: Bytes, from offset: Int) {
      guard bytes.count >= offset &+ 8 else { return }
      hash ^= UnsafeRawBufferPointer(bytes).loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      hash = (hash ^ hash &>> 29) &* 0xc2b2_ae3d_27d4_eb4f
    }
    // The name of a workload is the last thing in the header, an address near the beginning of a number.
    mix(header, from: max(header.count &- 8, 0))
    mix(header, from: max(header.count &- 20, 0))
    if let id {
      mix(id, from: 8)
      mix(id, from: 16)
      mix(id, from: 24)
    }
    return hash ^ hash &>> 32
  }

  @inline(__always)
  private func holds(_ place: Int, _ hash: UInt64, _ header: Bytes) -> Bool {
    guard slots[place].hash == hash, slots[place].header.count == header.count else { return false }
    return slots[place].header.withUnsafeBufferPointer { Self.isSame($0, header) }
  }

  /// Whether two runs of the same length are equal, which they nearly always are: there is no way out before the end.
  @inline(__always)
  private static func isSame(_ a: Bytes, _ b: Bytes) -> Bool {
    let (p, q) = (UnsafeRawBufferPointer(a), UnsafeRawBufferPointer(b))
    var differing = SIMD4<UInt64>()
    var at = 0
    while at &+ 32 <= p.count {
      differing |=
        p.loadUnaligned(fromByteOffset: at, as: SIMD4<UInt64>.self)
        ^ q.loadUnaligned(fromByteOffset: at, as: SIMD4<UInt64>.self)
      at &+= 32
    }
    var rest: UInt8 = 0
    while at < p.count {
      rest |= p[at] ^ q[at]
      at &+= 1
    }
    return rest == 0 && differing == SIMD4<UInt64>()
  }
}
