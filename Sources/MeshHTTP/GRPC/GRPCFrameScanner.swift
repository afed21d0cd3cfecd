import MeshPrimitives

/// Finds the messages in a body of gRPC: each is a byte of flags, four bytes of length and so many bytes. Holds no bytes.
public struct GRPCFrameScanner: Sendable {
  /// Bytes of a message's head that have come; 5: its body is being read.
  private var headBytes = 0
  private var remaining: UInt32 = 0

  public init() {}

  /// A message is begun and not complete.
  public var isInMessage: Bool { headBytes > 0 }

  /// Takes the beginning of `input`, up to the end of a message at most.
  /// - Returns: what was taken, whether a message begins in it, and whether one ends with it.
  public mutating func next(_ input: inout Bytes) -> (run: Bytes, begins: Bool, ends: Bool) {
    let begins = headBytes == 0 && input.count > 0
    var taken = 0
    while headBytes < 5, taken < input.count {
      if headBytes > 0 { remaining = remaining << 8 | UInt32(input[taken]) } else { remaining = 0 }
      headBytes += 1
      taken += 1
    }
    if headBytes == 5 {
      let body = min(Int(remaining), input.count - taken)
      taken += body
      remaining -= UInt32(body)
    }
    let ends = headBytes == 5 && remaining == 0
    if ends { headBytes = 0 }
    let run = input.slice(0, taken)
    input = input.slice(taken, input.count - taken)
    return (run, begins, ends)
  }

  /// How many messages begin in a run of the body.
  public mutating func countMessages(_ bytes: Bytes) -> Int {
    var rest = bytes
    var count = 0
    while rest.count > 0 { if next(&rest).begins { count += 1 } }
    return count
  }

  /// The head of a message without compression.
  public static func head(length: UInt32, flags: UInt8 = 0) -> [UInt8] {
    [
      flags, UInt8(truncatingIfNeeded: length >> 24), UInt8(truncatingIfNeeded: length >> 16),
      UInt8(truncatingIfNeeded: length >> 8), UInt8(truncatingIfNeeded: length),
    ]
  }
}
