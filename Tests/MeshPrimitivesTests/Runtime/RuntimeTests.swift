import MeshPrimitives
import Testing

@Suite struct RuntimeTests {
  @Test func theLastLayerDecides() {
    let runtime = Runtime()
    let value = runtime.value("k")
    #expect(value.integer(or: 7) == 7)
    runtime.update([
      .init(name: "a", entries: ["k": RuntimeEntry("1")]), .init(name: "b", entries: ["k": RuntimeEntry("2")]),
    ])
    #expect(value.integer(or: 7) == 2)
    #expect(runtime.value("k") === value)
    runtime.update([.init(name: "a", entries: ["k": RuntimeEntry("1")]), .init(name: "b")])
    #expect(value.integer(or: 7) == 1)
    runtime.update([])
    #expect(value.integer(or: 7) == 7)
  }

  @Test func aValueIsReadAsItsTextAllows() {
    let runtime = Runtime()
    runtime.update([
      .init(
        name: "a",
        entries: [
          "n": RuntimeEntry("25"), "d": RuntimeEntry("0.5"), "b": RuntimeEntry("TRUE"), "t": RuntimeEntry("text"),
          "f": RuntimeEntry(Fraction(3, of: .million), text: "{}"),
        ])
    ])
    #expect(runtime.value("n").fraction(or: .none) == Fraction(25))
    #expect(runtime.value("n").double(or: 1) == 25)
    #expect(runtime.value("d").double(or: 1) == 0.5)
    #expect(runtime.value("d").integer(or: 1) == 1)
    #expect(runtime.value("b").boolean(or: false))
    #expect(runtime.value("t").boolean(or: true))
    #expect(runtime.value("t").fraction(or: .all) == .all)
    #expect(runtime.value("f").fraction(or: .none) == Fraction(3, of: .million))
    #expect(runtime.value("f").integer(or: 9) == 9)
  }

  @Test func textIsReadAsEnvoyReadsIt() {
    #expect(RuntimeEntry("1e3").integer == 1_000)
    #expect(RuntimeEntry("-3").double == -3)
    #expect(RuntimeEntry("-3").integer == nil)
    #expect(RuntimeEntry("-3").fraction == nil)
    #expect(RuntimeEntry("inf").double == nil)
    #expect(RuntimeEntry("0x10").double == nil)
    #expect(RuntimeEntry("18446744073709551615").integer == nil)
    #expect(RuntimeEntry("500").fraction == Fraction(500))
    #expect(RuntimeEntry("").integer == nil)
  }

  @Test func fractionsMayBeText() {
    let half = Fraction(5_000, of: .tenThousand)
    #expect(RuntimeEntry("{numerator: 5000, denominator: TEN_THOUSAND}").fraction == half)
    #expect(RuntimeEntry(#"{"numerator":5000,"denominator":"TEN_THOUSAND"}"#).fraction == half)
    #expect(RuntimeEntry("numerator: 5000\ndenominator: TEN_THOUSAND").fraction == half)
    #expect(RuntimeEntry("{denominator: MILLION}").fraction == Fraction(0, of: .million))
    #expect(RuntimeEntry("{numerator: 7}").fraction == Fraction(7))
    for text in [
      "{}", "{", "{numerator: 7", "{numerator: -7}", "{numerator: 7, numerator: 7}", "{denominator: TEN}", "{other: 1}",
      "{numerator: 4294967296}", "numerator", "true", "{numerator}", "{,}",
    ] { #expect(RuntimeEntry(text).fraction == nil, "\(text)") }
  }

  @Test func aFractionIncludesItsShare() {
    var random = Random(seed: 1)
    var included = 0
    for _ in 0..<100_000 where Fraction(2_500, of: .tenThousand).includes(random.next()) { included += 1 }
    #expect((24_000...26_000).contains(included))
    #expect(!Fraction.none.includes(0))
    #expect(Fraction.all.includes(.max))
    #expect(Fraction(200).includes(.max))
  }
}
