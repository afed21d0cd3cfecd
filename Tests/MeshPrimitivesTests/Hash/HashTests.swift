import MeshPrimitives
import Testing

@Suite("Hashes that other programs make too")
struct HashTests {
  private func counting(_ count: Int) -> [UInt8] { (0..<count).map { UInt8($0) } }

  @Test("xxHash of every way through the algorithm, with two seeds")
  func xxHash() {
    let expected: [(Int, UInt64, UInt64)] = [
      (0, 0xef46_db37_51d8_e999, 0xd5af_ba13_36a3_be4b), (1, 0xe934_a84a_db05_2768, 0x7719_17c7_f6ee_2451),
      (3, 0xe5c7_bb45_33bc_65dd, 0xa216_8d89_c582_b451), (4, 0xffce_d860_4453_cc1e, 0x9450_6f8c_7e58_70a9),
      (7, 0x14cc_643f_630c_72d2, 0xaf4c_5311_c47c_77b7), (8, 0x884a_1736_14b8_1b8d, 0x9d2b_7c73_54fe_4e23),
      (12, 0x424a_f23f_1f08_dca5, 0x797c_f4fa_c65d_4c13), (31, 0xc346_d2b5_9b4d_8ee1, 0xf031_031d_6597_7dfc),
      (32, 0xcbf5_9c51_16ff_32b4, 0xd74e_6766_ce9d_ba94), (33, 0x0c53_5d1a_cafb_8ead, 0xa371_825f_4210_fe99),
      (63, 0xe26a_a9e2_a95f_8e4f, 0x5264_ec07_19e1_0595), (64, 0xf7c6_7301_db67_13f0, 0x3ce5_bdf7_5759_26c0),
      (100, 0x6ac1_e580_3216_6597, 0x3d19_a3a2_098a_7023),
    ]
    for (count, plain, seeded) in expected {
      counting(count).withUnsafeBufferPointer {
        #expect(XXHash64.hash($0) == plain, "\(count) bytes")
        #expect(XXHash64.hash($0, seed: 1) == seeded, "\(count) bytes, seeded")
      }
    }
    #expect(XXHash64.hash(Bytes("abc")) == 0x44bc_2cf5_ad77_0999)
  }

  @Test("MurmurHash2 is what the GNU C++ library's std::hash is")
  func murmur() {
    #expect(MurmurHash2.hash(Bytes("")) == 0x553e_9390_1e46_2a6e)
    #expect(MurmurHash2.hash(Bytes("a")) == 0x454d_dee4_88c1_ed6b)
    #expect(MurmurHash2.hash(Bytes("1234567")) == 0x6d7a_4e79_e8a2_cbf6)
    #expect(MurmurHash2.hash(Bytes("12345678")) == 0x8c5b_90a3_3a04_dca5)
    #expect(MurmurHash2.hash(Bytes("123456789")) == 0xaaeb_28d3_d5f1_65c0)
    #expect(MurmurHash2.hash(Bytes("127.0.0.1:80_0")) == 0xf46e_f02b_be93_9e15)
  }

  @Test("the Mersenne twister is the standard's")
  func twister() {
    var random = MersenneTwister(seed: 12345)
    #expect(random.number() == 3_992_670_690)
    #expect(random.number() == 3_823_185_381)
    // Beyond the first turn of its state.
    for _ in 2..<999 { _ = random.number() }
    #expect(random.number() == 47_030_557)
    var zero = MersenneTwister(seed: 0)
    #expect(zero.number() == 2_357_136_044)
  }

  @Test("its numbers below a bound are as likely each, and only 0 below 1")
  func bounded() {
    var random = MersenneTwister(seed: 7)
    var counts = [0, 0, 0]
    for _ in 0..<9000 { counts[Int(random.number(below: 3))] += 1 }
    #expect(counts.allSatisfy { abs($0 - 3000) < 200 })
    #expect(random.number(below: 1) == 0)
  }
}
