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

  /// Builds an index of distinct domains.
  init(_ domains: [ConfiguredDomain]) {
    let exact = domains.filter { $0.kind == .exact }
    self.exact = ByteKeyTable(exact.map(\.text))
    exactHosts = exact.map(\.host)
    let suffix = domains.filter { $0.kind == .suffix }
    suffixes = ByteKeyTable(suffix.map(\.text), fromEnd: true)
    suffixHosts = suffix.map(\.host)
    suffixLengths = Set(suffix.map(\.text.count)).sorted()
    let prefix = domains.filter { $0.kind == .prefix }
    prefixes = ByteKeyTable(prefix.map(\.text))
    prefixHosts = prefix.map(\.host)
    prefixLengths = Set(prefix.map(\.text.count)).sorted()
    catchAll = domains.first { $0.kind == .any }?.host ?? -1
    onlyCatchAll = domains.allSatisfy { $0.kind == .any }
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
