import MeshPrimitives

/// Reads `x-forwarded-for`: the addresses that a request came through, the nearest last, separated by commas. Each proxy
/// appends whom it heard the request from, so only what trusted proxies have appended at the end can be believed.
enum ForwardedFor {
  /// The client that the header names.
  struct Client: Equatable {
    var address: IPAddress
    /// The header names nobody else, so that nobody else can have had a hand in it.
    var isAlone: Bool
  }

  /// The address `skipped` places before the last; nil if there are not so many, or if what is there is no address.
  static func client(_ value: Bytes, skipping skipped: UInt32) -> Client? {
    var end = value.count
    for _ in 0..<skipped {
      guard let comma = lastComma(value, before: end) else { return nil }
      end = comma
    }
    let comma = lastComma(value, before: end)
    let start = comma.map { $0 + 1 } ?? 0
    guard let address = address(value.slice(start, end - start)) else { return nil }
    return Client(address: address, isAlone: comma == nil && skipped == 0)
  }

  /// The last address that is not in `trusted`, or the first if all are; nil if there is something that is no address.
  static func client(_ value: Bytes, trusted: [AddressRange]) -> Client? {
    var found: IPAddress?
    var end = value.count
    while end >= 0 {
      let start = lastComma(value, before: end).map { $0 + 1 } ?? 0
      let text = trimmed(value.slice(start, end - start))
      if text.count > 0 {
        guard let address = IPAddress(parsing: text) else { return nil }
        found = address
        if !trusted.contains(where: { $0.contains(address) }) { break }
      }
      end = start - 1
    }
    return found.map { Client(address: $0, isAlone: lastComma(value, before: value.count) == nil) }
  }

  /// The address that is all of `text` but the blanks around it.
  static func address(_ text: Bytes) -> IPAddress? {
    let text = trimmed(text)
    return text.count > 0 ? IPAddress(parsing: text) : nil
  }

  private static func lastComma(_ value: Bytes, before end: Int) -> Int? {
    var index = end
    while index > 0 {
      index -= 1
      if value[index] == UInt8(ascii: ",") { return index }
    }
    return nil
  }

  private static func trimmed(_ text: Bytes) -> Bytes {
    var start = 0
    var end = text.count
    while start < end, text[start] == 0x20 || text[start] == 0x09 { start += 1 }
    while end > start, text[end - 1] == 0x20 || text[end - 1] == 0x09 { end -= 1 }
    return text.slice(start, end - start)
  }
}
