import MeshPrimitives
import Testing

@Suite("Address ranges")
struct AddressRangeTests {
  @Test(
    "an address is in a range if it begins with its bits",
    arguments: [
      ("10.0.0.0/8", "10.255.255.255", true), ("10.0.0.0/8", "11.0.0.0", false), ("10.0.0.0/8", "9.255.255.255", false),
      ("192.168.7.9/16", "192.168.0.1", true), ("172.16.0.0/12", "172.31.255.255", true),
      ("172.16.0.0/12", "172.32.0.0", false), ("1.2.3.4/32", "1.2.3.4", true), ("1.2.3.4/32", "1.2.3.5", false),
      ("1.2.3.4/0", "255.255.255.255", true), ("1.2.3.4/31", "1.2.3.5", true), ("1.2.3.4/31", "1.2.3.6", false),
      ("2001:db8::/32", "2001:db8:ffff::1", true), ("2001:db8::/32", "2001:db9::", false),
      ("fd00::/8", "fdff::1", true), ("fd00::/8", "fc00::1", false), ("::1/128", "::1", true),
      ("::1/128", "::2", false), ("::/0", "fe80::1", true), ("fe80::/64", "fe80::ffff:1", true),
      ("fe80::/64", "fe80:0:0:1::", false), ("fe80::/65", "fe80::7fff:0:0:1", true),
      ("fe80::/65", "fe80::8000:0:0:1", false), ("fe80::1/128", "fe80::1%3", true),
    ])
  func membership(_ range: String, _ address: String, _ isMember: Bool) throws {
    let range = try #require(AddressRange(range))
    #expect(try range.contains(#require(IPAddress(address))) == isMember)
  }

  @Test(
    "the versions do not mix, mapped addresses included",
    arguments: [("0.0.0.0/0", "::1"), ("::/0", "1.2.3.4"), ("10.0.0.0/8", "::ffff:10.0.0.1")])
  func versions(_ range: String, _ address: String) throws {
    #expect(try !#require(AddressRange(range)).contains(#require(IPAddress(address))))
  }

  @Test(
    "what is no range is refused",
    arguments: ["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "/8", "a/8", "1.2.3.4/256"])
  func malformed(_ text: String) { #expect(AddressRange(text) == nil) }

  @Test("the bits behind the prefix count for nothing")
  func canonical() throws {
    #expect(AddressRange("192.168.7.9/16") == AddressRange("192.168.0.0/16"))
    #expect(try #require(AddressRange("2001:db8::ff/32")).description == "2001:db8::/32")
  }
}
