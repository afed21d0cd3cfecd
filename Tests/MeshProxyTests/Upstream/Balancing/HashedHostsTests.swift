import MeshPrimitives
import Testing

@testable import MeshProxy

/// The expectations are what the real Envoy 1.40 chose among endpoints with these keys, for a header `u0`, `u1`, …
@Suite("Choosing by hash")
struct HashedHostsTests {
  private func members(_ weights: [Double]) -> [HashedHosts.Member] {
    let sum = weights.reduce(0, +)
    return weights.enumerated().map { .init(key: Array("k\($0.offset)".utf8), weight: $0.element / sum) }
  }

  private func hash(_ text: String) -> UInt64 { Array(text.utf8).withUnsafeBufferPointer { XXHash64.hash($0) } }

  private func choices(_ hosts: HashedHosts) -> String {
    (0..<60).map { "\(hosts.member(for: hash("u\($0)")) ?? -1)" }.joined()
  }

  private func ring(
    _ weights: [Double], least: Int = 1024, most: Int = 8 << 20,
    _ function: LoadBalancingConfiguration.RingHash.Function = .xxHash
  ) throws -> HashedHosts {
    var settings = LoadBalancingConfiguration.RingHash()
    settings.minimumSize = least
    settings.maximumSize = most
    settings.function = function
    return try #require(HashedHosts.make(members(weights), .ringHash(settings), known: []))
  }

  private func maglev(_ weights: [Double], size: Int = 65_537) throws -> HashedHosts {
    try #require(HashedHosts.make(members(weights), .maglev(tableSize: size), known: []))
  }

  @Test("a ring chooses as Envoy's does")
  func rings() throws {
    let even = try ring([1, 1, 1, 1])
    #expect(choices(even) == "012231131023203020310223032302321111031003112030331320220000")
    #expect(even.statistics == (1024, 256...256))
    let weighted = try ring([1, 2, 3, 5], least: 30)
    #expect(choices(weighted) == "332223331021232322231333202133321332311303232333323333313233")
    #expect(weighted.statistics == (33, 3...15))
    let murmur = try ring([1, 1, 1, 1], least: 64, .murmur2)
    #expect(choices(murmur) == "010023312121201122111001022112103012112313120220321133233331")
  }

  @Test("a table of Maglev chooses as Envoy's does")
  func tables() throws {
    let even = try maglev([1, 1, 1, 1])
    #expect(choices(even) == "320200232221221123333201331221020000131032323302021323111033")
    #expect(even.statistics == (65_537, 16_384...16_385))
    let weighted = try maglev([1, 2, 3, 5], size: 251)
    #expect(choices(weighted) == "321130332331233333202330012222111132033333012313131232133233")
    #expect(weighted.statistics == (251, 23...113))
  }

  @Test("a ring is not larger than it may be, and has an entry for some member even then")
  func bounds() throws {
    let small = try ring([1, 1, 1, 1], least: 1024, most: 6)
    #expect(small.statistics.size == 6)
    #expect(try ring([1, 1, 1], least: 0, most: 8).member(for: 1) == nil)
    #expect(try ring([1], least: 1, most: 1).member(for: .max) == 0)
    // One member needs one entry.
    #expect(try maglev([1]).statistics == (1, 1...1))
    #expect(try maglev([1]).member(for: .max) == 0)
    #expect(try maglev([1, 1], size: 2).statistics == (2, 1...1))
  }

  @Test("when a member goes, requests of the others stay where they were")
  func consistency() throws {
    let before = try ring([1, 1, 1, 1])
    // As many entries for each as before.
    let after = try ring([1, 1, 1], least: 768)
    var moved = 0
    for index in 0..<2000 {
      let old = before.member(for: hash("x\(index)"))
      let new = after.member(for: hash("x\(index)"))
      if old != 3 { #expect(old == new) } else { moved += 1 }
    }
    #expect((350...650).contains(moved))
  }

  @Test("one that is refused is followed by another, the same each time", arguments: [true, false])
  func refusals(_ isRing: Bool) throws {
    let hosts = isRing ? try ring([1, 1, 1, 1]) : try maglev([1, 1, 1, 1])
    for index in 0..<50 {
      let found = Set((0..<40).compactMap { hosts.member(for: hash("u\(index)"), attempt: $0) })
      #expect(found.count == 4)
    }
    #expect(hosts.member(for: 5, attempt: 3) == hosts.member(for: 5, attempt: 3))
  }

  @Test("a table is made once for the same members")
  func reuse() throws {
    let first = try maglev([1, 2], size: 101)
    let same = HashedHosts.make(members([1, 2]), .maglev(tableSize: 101), known: [first])
    #expect(same === first)
    #expect(HashedHosts.make(members([1, 3]), .maglev(tableSize: 101), known: [first]) !== first)
    #expect(HashedHosts.make(members([1, 2]), .maglev(tableSize: 103), known: [first]) !== first)
    #expect(HashedHosts.make([], .maglev(tableSize: 101), known: [first]) == nil)
  }

  @Test("a member with more than its share is passed over, by a way that the hash decides")
  func balance() throws {
    let hosts = try ring([1, 1, 1, 1])
    let favourite = try #require(hosts.member(for: hash("u0")))
    func choice(_ active: [Int64], factor: UInt32 = 120) -> Int? {
      hosts.member(for: hash("u0"), attempt: 0, factor: factor, total: active.reduce(0, +)) { active[$0] }
    }
    #expect(choice([0, 0, 0, 0]) == favourite)
    var active: [Int64] = [1, 1, 1, 1]
    active[favourite] = 9
    let other = try #require(choice(active))
    #expect(other != favourite)
    #expect(choice(active) == other)
    // Enough room for all of it.
    #expect(choice(active, factor: 400) == favourite)
    // All have too much: the least.
    active = [90, 90, 90, 90]
    active[(favourite + 2) % 4] = 50
    #expect(
      hosts.member(for: hash("u0"), attempt: 0, factor: 100, total: 0) { active[$0] } == (favourite + 2) % 4)
  }
}
