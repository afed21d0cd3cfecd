internal import CLinux

/// A pipe through which bytes go from one socket to another without being copied into this process (splice(2)). Two
/// descriptors, which are closed with it. Confined to one thread.
public final class SplicePipe {
  /// How much it holds, in bytes.
  public let capacity: Int
  /// Bytes in it.
  public private(set) var count = 0
  private let output: Int32
  private let input: Int32

  /// - Parameter wanted: the capacity; nil if the kernel does not give that much (a user may have only so many large ones).
  public init?(capacity wanted: Int32) {
    var ends: [Int32] = [-1, -1]
    let result = clinux_pipe(&ends, wanted)
    output = ends[0]
    input = ends[1]
    capacity = max(0, Int(result))
    if result < wanted { return nil }
  }

  deinit {
    if output >= 0 { _ = clinux_close(output) }
    if input >= 0 { _ = clinux_close(input) }
  }

  fileprivate func fill(from fd: Int32) -> Int {
    let result = Int(clinux_splice(fd, input, capacity))
    if result > 0 { count += result }
    return result
  }

  fileprivate func drain(to fd: Int32) -> Int {
    let result = Int(clinux_splice(output, fd, count))
    if result > 0 { count -= result }
    return result
  }
}

/// Pipes for whoever moves much at once, at most so many in use at a time. Confined to one thread.
public final class SplicePipePool {
  /// Of each pipe, in bytes: what an unprivileged process may ask for.
  public static let pipeCapacity = 1 << 20
  private static let maximumFree = 4

  private var limit: Int
  private var free: [SplicePipe] = []
  private var inUse = 0

  /// - Parameter limit: how many may be in use.
  public init(limit: Int) { self.limit = limit }

  /// An empty pipe; nil if there are enough already. `giveBack` follows.
  public func take() -> SplicePipe? {
    guard inUse < limit else { return nil }
    guard let pipe = free.popLast() ?? SplicePipe(capacity: Int32(Self.pipeCapacity)) else {
      // There will be no more than there are.
      limit = inUse
      return nil
    }
    inUse += 1
    return pipe
  }

  public func giveBack(_ pipe: SplicePipe) {
    inUse -= 1
    // What is left in a pipe belongs to nobody.
    if pipe.count == 0, free.count < Self.maximumFree { free.append(pipe) }
  }
}

/// Transports without anything between them and their sockets.
extension Transport {
  /// Moves what the socket has into an empty pipe. Returns as `receive` does. Not with TLS.
  public mutating func receive(into pipe: SplicePipe) -> Int {
    let result = pipe.fill(from: descriptor)
    if result == Socket.wouldBlock { isReadable = false }
    return result
  }

  /// Moves what the pipe has to the socket, as far as that takes it; nothing else may wait to be sent. False if the
  /// connection is broken. Not with TLS.
  public mutating func send(from pipe: SplicePipe) -> Bool {
    while pipe.count > 0, isWritable {
      let result = pipe.drain(to: descriptor)
      if result == Socket.wouldBlock {
        isWritable = false
      } else if result <= 0, result != Socket.interrupted {
        return false
      }
    }
    return true
  }
}
