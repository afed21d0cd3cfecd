import MeshIO
import MeshPrimitives

/// One direction of a TCP session: bytes from one transport to another, and then the end. Confined to the worker.
///
/// What the receiver does not take waits in its transport, and nothing more is read until that is gone: at most one
/// read's worth is held here for each direction.
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

  /// Reads of one call, so that one fast sender does not keep the others waiting.
  private static let readsPerTurn = 16

  /// Moves what there is.
  /// - Parameter limit: the most that is read at once, and so the most that waits, in bytes.
  mutating func move(
    from source: inout Transport, to destination: inout Transport, _ loop: EventLoop, limit: Int
  ) -> Outcome {
    if !destination.isFlushed, !destination.flush(loop.bufferPool) { return .destinationBroken }
    let size = min(limit, EventLoop.receiveBufferSize)
    var reads = 0
    while source.isReadable, !hasEnded, destination.isFlushed {
      if reads == Self.readsPerTurn { return .again }
      reads += 1
      let count = source.receive(loop.receiveBuffer, size)
      if count > 0 {
        bytes &+= UInt64(count)
        guard destination.send(Bytes(start: loop.receiveBuffer, count: count), loop.bufferPool) else {
          return .destinationBroken
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
    if hasEnded, !isComplete, !isBlocked {
      isComplete = true
      destination.shutdownWrite()
    }
    return .idle
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
