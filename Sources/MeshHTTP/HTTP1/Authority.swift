import MeshPrimitives

/// `uri-host [":" port]` (RFC 9110 §7.2, RFC 3986 §3.2.2): what Host and the targets that name a server hold.
public enum Authority {
  /// Whether `text` can be a request's host.
  public static func isValid(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    // The scan reads blocks.
    return (bytes + [UInt8](repeating: 0, count: 16)).withUnsafeBufferPointer { isValid($0.slice(0, bytes.count)) }
  }

  /// Whether `bytes` is an authority with a non-empty host, without user information. A port has at most five digits and is
  /// at most 65535; an empty one is allowed (`port = *DIGIT`) unless it is required. An IP literal is an IPv6 address
  /// without zone; the `IPvFuture` form, of which no version exists, is refused. Sixteen bytes beyond are readable.
  @inline(__always)
  static func isValid(_ bytes: Bytes, requiresPort: Bool = false) -> Bool {
    guard let p = bytes.baseAddress else { return false }
    let n = bytes.count
    var i = 0
    while i < n {
      let step = ByteScan.firstClear(ByteScan.plainHostBytes(ByteScan.load16(p, i)))
      i &+= step
      if step < 16 { break }
    }
    if i >= n { return n > 0 && !requiresPort }
    return isValidBeyond(p, i, n, requiresPort)
  }

  /// As `isValid`; the bytes before `start` are letters, digits, `-` and `.`.
  @inline(never)
  private static func isValidBeyond(_ p: UnsafePointer<UInt8>, _ start: Int, _ n: Int, _ requiresPort: Bool) -> Bool {
    var i = start
    if i == 0, p[0] == 0x5b {
      guard let end = addressEnd(p, n) else { return false }
      i = end
    } else {
      while i < n, p[i] != 0x3a {
        if p[i] == 0x25 {
          guard i + 2 < n, ByteScan.hexValue(p[i + 1]) != nil, ByteScan.hexValue(p[i + 2]) != nil else { return false }
          i += 3
        } else {
          // unreserved / sub-delims
          guard ByteScan.isMember(p[i], 0x2bff_7fd2_0000_0000, 0x47ff_fffe_87ff_fffe) else { return false }
          i += 1
        }
      }
      if i == 0 { return false }
    }
    if i == n { return !requiresPort }
    guard p[i] == 0x3a else { return false }
    let digits = n - i - 1
    guard digits <= 5, digits > 0 || !requiresPort else { return false }
    var port = 0
    i &+= 1
    while i < n {
      let digit = p[i] &- 0x30
      guard digit < 10 else { return false }
      port = port &* 10 &+ Int(digit)
      i &+= 1
    }
    return port <= 65535
  }

  /// The index behind the `]` of the IPv6 address that begins with the `[` at 0.
  private static func addressEnd(_ p: UnsafePointer<UInt8>, _ n: Int) -> Int? {
    var groups = 0
    var digits = 0
    var isCompressed = false
    var i = 1
    // RFC 3986 §3.2.2: eight groups of one to four digits, one run of them `::`, the last two perhaps as IPv4.
    while i < n, i <= 46 {
      let byte = p[i]
      if ByteScan.hexValue(byte) != nil {
        digits += 1
        if digits > 4 { return nil }
        i += 1
      } else if byte == 0x3a {
        if digits > 0 { groups += 1 }
        if i + 1 < n, p[i + 1] == 0x3a {
          if isCompressed { return nil }
          isCompressed = true
          i += 2
        } else {
          if digits == 0 { return nil }
          i += 1
          if i < n, p[i] == 0x5d { return nil }
        }
        digits = 0
      } else if byte == 0x2e {
        guard groups <= 6, let end = ipv4End(p, i - digits, n), end < n, p[end] == 0x5d else { return nil }
        groups += 2
        return (isCompressed ? groups <= 7 : groups == 8) ? end + 1 : nil
      } else if byte == 0x5d {
        if digits > 0 { groups += 1 }
        return (isCompressed ? groups <= 7 : groups == 8) ? i + 1 : nil
      } else {
        return nil
      }
    }
    return nil
  }

  /// The index behind the dotted IPv4 address at `start`.
  private static func ipv4End(_ p: UnsafePointer<UInt8>, _ start: Int, _ n: Int) -> Int? {
    var i = start
    for part in 0..<4 {
      if part > 0 {
        guard i < n, p[i] == 0x2e else { return nil }
        i += 1
      }
      var value = 0
      var digits = 0
      while i < n, digits < 4, ByteScan.isDigit(p[i]) {
        value = value * 10 + Int(p[i] - 0x30)
        digits += 1
        i += 1
      }
      guard digits > 0, digits <= 3, value <= 255 else { return nil }
      if digits > 1, p[i - digits] == 0x30 { return nil }
    }
    return i
  }

  /// The host of an authority, without its port and without the brackets of an IPv6 address. `text` must be valid.
  public static func host(_ text: String) -> String {
    if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
      return String(text[text.index(after: text.startIndex)..<end])
    }
    return text.firstIndex(of: ":").map { String(text[..<$0]) } ?? text
  }
}
