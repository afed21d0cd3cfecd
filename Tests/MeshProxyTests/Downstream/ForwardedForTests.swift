import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("x-forwarded-for")
struct ForwardedForTests {
  private func client(_ value: String, skipping: UInt32 = 0) -> String? {
    Array(value.utf8).withUnsafeBufferPointer { ForwardedFor.client($0, skipping: skipping) }.map(describe)
  }

  private func client(_ value: String, trusted: [String]) -> String? {
    let ranges = trusted.compactMap { AddressRange($0) }
    return Array(value.utf8).withUnsafeBufferPointer { ForwardedFor.client($0, trusted: ranges) }.map(describe)
  }

  private func describe(_ client: ForwardedFor.Client) -> String {
    client.address.description + (client.isAlone ? " alone" : "")
  }

  @Test(
    "the client is so many places before the last",
    arguments: [
      ("1.2.3.4", 0, "1.2.3.4 alone"), (" 1.2.3.4\t", 0, "1.2.3.4 alone"), ("1.1.1.1, 2.2.2.2", 0, "2.2.2.2"),
      ("1.1.1.1,2.2.2.2", 1, "1.1.1.1"), ("1.1.1.1,2.2.2.2", 2, nil), ("1.1.1.1", 1, nil), ("::1", 0, "::1 alone"),
      ("fe80::1%2", 0, "fe80::1%2 alone"), ("", 0, nil), (",", 0, nil), ("1.1.1.1,", 0, nil),
      ("1.1.1.1,", 1, "1.1.1.1"),
      ("1.1.1.1, x", 0, nil), ("x, 1.1.1.1", 0, "1.1.1.1"), ("1.1.1.1:80", 0, nil), ("[::1]", 0, nil),
      ("unknown", 0, nil), ("01.1.1.1", 0, nil), ("1.1.1.1 2.2.2.2", 0, nil), ("1.1.1.1", 4_294_967_295, nil),
    ] as [(String, UInt32, String?)])
  func hops(_ value: String, _ skipped: UInt32, _ expected: String?) {
    #expect(client(value, skipping: skipped) == expected)
  }

  @Test(
    "the client is the last that is not trusted, or the first",
    arguments: [
      ("1.1.1.1", "1.1.1.1 alone"), ("1.1.1.1, 10.0.0.5", "1.1.1.1"),
      ("9.9.9.9, 1.1.1.1, 10.0.0.5, 10.0.0.6", "1.1.1.1"),
      ("10.0.0.6, 10.0.0.5", "10.0.0.6"), ("10.0.0.6", "10.0.0.6 alone"), ("x, 10.0.0.5", nil),
      ("x, 1.1.1.1", "1.1.1.1"),
      ("1.1.1.1, , 10.0.0.5", "1.1.1.1"), ("", nil), (",,", nil), ("1.1.1.1,", "1.1.1.1"), ("10.0.0.5, y", nil),
    ] as [(String, String?)])
  func trusted(_ value: String, _ expected: String?) {
    #expect(client(value, trusted: ["10.0.0.0/8"]) == expected)
  }

  @Test("a list without end takes time in proportion")
  func long() {
    let value = String(repeating: "10.0.0.1,", count: 7000) + "10.0.0.1"
    #expect(client(value, trusted: ["10.0.0.0/8"]) == "10.0.0.1")
    #expect(client(value, skipping: 7000) == "10.0.0.1")
    #expect(client(value, skipping: 7001) == nil)
  }
}
