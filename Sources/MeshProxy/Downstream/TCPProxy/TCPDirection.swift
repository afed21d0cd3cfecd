import MeshIO
import MeshPrimitives

/// One direction of a TCP session: bytes from one transport to another, and then the end. Confined to the worker.
///
/// A few bytes are read into this process and written. Where they keep coming, and nothing has to be done with them (TLS
/// would), they go through a pipe of the worker's pool and never come here. What the receiver does not take waits, in its
/// transport or in the pipe, and nothing more is read until that is gone: at most one read's worth for each direction.
struct TCPDirection {
  enum Outcome {
    /// All that can be done now is done.
    case idle
    /// There is more to do, but others have waited long enough.
    case again
    /// The one that sends has broken off.
    case sourceBroken
    /// The one that receives has.
    case destinationBroken
  }

  /// Bytes read so far.
  private(set) var bytes: UInt64 = 0
  /// The source has sent its last byte (FIN).
  private(set) var hasEnded = false
  /// The destination has been told so, after the last byte.
  private(set) var isComplete = false
  /// The destination does not take what is there.
  private(set) var isBlocked = false
  /// Bytes have come fast enough for a pipe.
  private var isBulk = false
  /// Held only while there are bytes in it.
  private var pipe: SplicePipe?

  /// Reads of one call, so that one fast sender does not keep the others waiting.
  private static let readsPerTurn = 16
  /// Reads in a row that fill the buffer, after which a pipe is worth its while.
  private static let fullReadsBeforeBulk = 2

  /// Moves what there is.
  /// - Parameter limit: the most that is read at once, and so the most that waits, in bytes.
  mutating func move(
    from source: inout Transport, to destination: inout Transport, _ worker: Worker, limit: Int
  ) -> Outcome {
    let loop = worker.loop
    if pipe != nil { return splice(from: &source, to: &destination, worker) }
    if !destination.isFlushed, !destination.flush(loop.bufferPool) { return .destinationBroken }
    if isBulk, takePipe(source, destination, worker) { return splice(from: &source, to: &destination, worker) }
    let size = min(limit, EventLoop.receiveBufferSize)
    var reads = 0
    var fullReads = 0
    while source.isReadable, !hasEnded, destination.isFlushed {
      if reads == Self.readsPerTurn { return .again }
      reads += 1
      let count = source.receive(loop.receiveBuffer, size)
      if count > 0 {
        bytes &+= UInt64(count)
        guard destination.send(Bytes(start: loop.receiveBuffer, count: count), loop.bufferPool) else {
          return .destinationBroken
        }
        fullReads = count == EventLoop.receiveBufferSize ? fullReads + 1 : 0
        if fullReads == Self.fullReadsBeforeBulk, limit >= SplicePipePool.pipeCapacity, source.tls == nil,
          destination.tls == nil
        {
          isBulk = true
          if takePipe(source, destination, worker) { return splice(from: &source, to: &destination, worker) }
        }
      } else if count == 0 {
        hasEnded = true
      } else if count == Socket.wouldBlock {
        break
      } else if count != Socket.interrupted {
        return .sourceBroken
      }
    }
    isBlocked = !destination.isFlushed
    finish(&destination)
    return .idle
  }

  private mutating func takePipe(
    _ source: borrowing Transport, _ destination: borrowing Transport, _ worker: Worker
  ) -> Bool {
    guard source.isReadable, !hasEnded, destination.isFlushed, let taken = worker.splicePipes.take() else {
      return false
    }
    pipe = taken
    return true
  }

  /// Moves what there is through the pipe.
  private mutating func splice(
    from source: inout Transport, to destination: inout Transport, _ worker: Worker
  ) -> Outcome {
    guard let pipe else { return .idle }
    var outcome = Outcome.idle
    var reads = 0
    var moved = 0
    while true {
      guard destination.send(from: pipe) else { return .destinationBroken }
      isBlocked = pipe.count > 0
      if isBlocked || hasEnded || !source.isReadable { break }
      if reads == Self.readsPerTurn {
        outcome = .again
        break
      }
      reads += 1
      let count = source.receive(into: pipe)
      if count > 0 {
        bytes &+= UInt64(count)
        moved += count
      } else if count == 0 {
        hasEnded = true
      } else if count != Socket.wouldBlock, count != Socket.interrupted {
        return .sourceBroken
      }
    }
    if isBlocked { return .idle }
    end(worker)
    if moved < EventLoop.receiveBufferSize { isBulk = false }
    finish(&destination)
    return outcome
  }

  private mutating func finish(_ destination: inout Transport) {
    guard hasEnded, !isComplete, !isBlocked else { return }
    isComplete = true
    destination.shutdownWrite()
  }

  /// Lets go of the pipe, with what is in it.
  mutating func end(_ worker: Worker) {
    guard let pipe else { return }
    self.pipe = nil
    worker.splicePipes.giveBack(pipe)
  }

  /// Sends what somebody else has read from the source.
  mutating func begin(with first: Bytes, to destination: inout Transport, _ pool: BufferPool) {
    bytes &+= UInt64(first.count)
    // A connection that breaks is met again by the next call.
    _ = destination.send(first, pool)
  }

  /// Nobody wants what still comes.
  mutating func abandon() {
    hasEnded = true
    isComplete = true
  }
}
