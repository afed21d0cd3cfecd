import MeshPrimitives
import Testing

@Suite struct HeaderIDTests {
  private func identify(_ name: some Collection<UInt8>) -> HeaderID {
    let exact = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: name.count)
    defer { exact.deallocate() }
    _ = exact.initialize(from: name)
    return HeaderID.identify(Bytes(exact))
  }

  @Test func agreesWithTheNames() {
    for id in HeaderID.allCases where id != .other {
      #expect(identify(Array(id.name.description.utf8)) == id)
      #expect(HeaderName(id.name.description).id == id)
    }
    #expect(identify([]) == .other)
  }

  /// Each name with one byte changed, removed or added is another or none.
  @Test func nearMisses() {
    let names = Dictionary(
      uniqueKeysWithValues: HeaderID.allCases.filter { $0 != .other }.map { (Array($0.name.description.utf8), $0) })
    for (name, _) in names {
      var misses: [[UInt8]] = []
      for index in name.indices {
        for byte: UInt8 in [0x00, 0x2d, 0x5f, 0x61, 0x7a, 0xff, name[index] ^ 0x20, name[index] &+ 1] {
          var miss = name
          miss[index] = byte
          misses.append(miss)
        }
        var shorter = name
        shorter.remove(at: index)
        misses.append(shorter)
        var longer = name
        longer.insert(0x78, at: index)
        misses.append(longer)
      }
      misses.append(name + [0x78])
      for miss in misses { #expect(identify(miss) == names[miss] ?? .other) }
    }
  }

  @Test func sets() {
    var set = HeaderIDSet()
    #expect(set.isEmpty)
    for id in HeaderID.allCases {
      #expect(!set.contains(id))
      set.insert(id)
      #expect(set.contains(id))
      #expect(set.intersects(HeaderIDSet().adding(id)))
    }
    for id in HeaderID.allCases {
      set.remove(id)
      #expect(!set.contains(id))
      #expect(!set.intersects(HeaderIDSet().adding(id)))
    }
    #expect(set.isEmpty)
    let pair = HeaderIDSet().adding(.host).adding(.b3)
    #expect(pair.intersection(HeaderIDSet().adding(.b3)) == HeaderIDSet().adding(.b3))
    #expect(pair.union(HeaderIDSet().adding(.te)) == HeaderIDSet().adding(.te).adding(.b3).adding(.host))
    #expect(HeaderID.allCases.count <= 128, "a set has 128 bits")
  }
}
