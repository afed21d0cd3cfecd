/// What is known of a head that has not arrived whole, so that bytes that come one at a time are not read from the start
/// again each time: an incomplete head is parsed again when it may be complete (a line ends that an empty line could
/// follow), when its first line ends, and when it has doubled. The work is linear in the bytes received.
struct HeadProgress {
  /// Bytes there at the last parse; 0 before the first.
  private var parsed: UInt32 = 0
  /// Bytes known to hold no end of a head.
  private var searched: UInt32 = 0
  private var hasLine = false
  /// Bytes looked at since the parser was made: what a peer made us do.
  private(set) var bytesExamined: UInt64 = 0

  /// Whether the `n` bytes at `p` are worth parsing. `limit` is the size of a head at which it is refused.
  @inline(__always)
  mutating func shouldParse(_ p: UnsafePointer<UInt8>, _ n: Int, limit: Int) -> Bool {
    parsed == 0 || isWorthParsing(p, n, limit)
  }

  @inline(never)
  private mutating func isWorthParsing(_ p: UnsafePointer<UInt8>, _ n: Int, _ limit: Int) -> Bool {
    if n < searched { return true }
    // The last bytes searched may be the LF before an empty line, or that and the CR of the empty line.
    var i = searched > 1 ? Int(searched) - 2 : 0
    bytesExamined &+= UInt64(n - i)
    searched = UInt32(clamping: n)
    while true {
      i = ByteScan.lineFeed(p, i, n)
      if i >= n { break }
      if !hasLine {
        hasLine = true
        return true
      }
      if i + 1 < n, p[i + 1] == 0x0d || p[i + 1] == 0x0a { return true }
      i += 1
    }
    return n / 2 >= parsed || n > limit
  }

  /// Notes that `n` bytes were parsed and the head is not complete.
  @inline(never)
  mutating func noteIncomplete(_ p: UnsafePointer<UInt8>, _ n: Int) {
    bytesExamined &+= UInt64(n)
    parsed = UInt32(clamping: n)
    searched = parsed
    if !hasLine { hasLine = ByteScan.lineFeed(p, 0, n) < n }
  }

  @inline(__always)
  mutating func reset() {
    parsed = 0
    searched = 0
    hasLine = false
  }
}
