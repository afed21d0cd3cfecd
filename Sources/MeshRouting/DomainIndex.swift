import MeshPrimitives

/// Which virtual host serves a host name: exact, then the longest `*suffix`, then the longest `prefix*`, then `*`
/// (Envoy's `VirtualHost.domains`). The case of letters does not matter; a port is part of the name. A `*` stands for at
/// least one byte.
struct DomainIndex: Sendable {
  private var exact = ByteKeyTable([])
  private var exactHosts: [Int] = []
  private var suffixes = ByteKeyTable([])
  private var suffixHosts: [Int] = []
  /// Ascending and distinct.
  private var suffixLengths: [Int] = []
  private var prefixes = ByteKeyTable([])
  private var prefixHosts: [Int] = []
  private var prefixLengths: [Int] = []
  private var catchAll = -1
  private var onlyCatchAll = true

  /// Builds an index of distinct, lower-case domains.
  init(
    exact: [(key: [UInt8], host: Int)], suffix: [(key: [UInt8], host: Int)], prefix: [(key: [UInt8], host: Int)],
    catchAll: Int?
  ) {
    self.exact = ByteKeyTable(exact.map(\.key))
    exactHosts = exact.map(\.host)
    suffixes = ByteKeyTable(suffix.map(\.key), fromEnd: true)
    suffixHosts = suffix.map(\.host)
    suffixLengths = Set(suffix.map(\.key.count)).sorted()
    prefixes = ByteKeyTable(prefix.map(\.key))
    prefixHosts = prefix.map(\.host)
    prefixLengths = Set(prefix.map(\.key.count)).sorted()
    self.catchAll = catchAll ?? -1
    onlyCatchAll = exact.isEmpty && suffix.isEmpty && prefix.isEmpty
  }

  /// The index of the virtual host; -1 if none serves `host`.
  @inline(__always)
  func find(_ host: Bytes) -> Int { onlyCatchAll ? catchAll : search(host) }

  private func search(_ host: Bytes) -> Int {
    var hash = RollingHash()
    var prefixFound = -1
    var next = 0
    for position in 0..<host.count {
      if next < prefixLengths.count, prefixLengths[next] == position {
        let found = prefixes.find(hash, host.slice(0, position), ignoringCase: true)
        if found >= 0 { prefixFound = prefixHosts[found] }
        next += 1
      }
      hash.add(host[position].asciiLowercased)
    }
    let found = exact.find(hash, host, ignoringCase: true)
    if found >= 0 { return exactHosts[found] }
    var suffixFound = -1
    hash = RollingHash()
    var hashed = 0
    for length in suffixLengths {
      guard length < host.count else { break }
      while hashed < length {
        hashed += 1
        hash.add(host[host.count - hashed].asciiLowercased)
      }
      let found = suffixes.find(hash, host.slice(host.count - length, length), ignoringCase: true)
      if found >= 0 { suffixFound = suffixHosts[found] }
    }
    if suffixFound >= 0 { return suffixFound }
    return prefixFound >= 0 ? prefixFound : catchAll
  }
}
