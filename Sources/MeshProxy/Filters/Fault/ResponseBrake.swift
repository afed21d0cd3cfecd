import MeshHTTP
import MeshIO
import MeshPrimitives

/// Slows a response's body down to a pace. What waits is bounded by the stream's buffer limit: beyond it the upstream
/// waits. Confined to the worker's thread.
final class ResponseBrake: TimerTarget {
  private let callbacks: StreamFilterCallbacks
  private var pace: ResponsePace
  private var waiting = ByteQueue()
  private var timer: Timer?
  /// Nothing comes after what waits but trailers, if there are any.
  private var isComplete = false
  private var hasTrailers = false
  private var isPaused = false
  private var isOver = false

  init(_ callbacks: StreamFilterCallbacks, kibibytes: UInt64) {
    self.callbacks = callbacks
    pace = ResponsePace(kibibytes: kibibytes, now: callbacks.loop.now)
    timer = Timer(callbacks.loop, self)
  }

  func data(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus {
    waiting.append(bytes, callbacks.loop.bufferPool)
    isComplete = endStream
    if timer?.isArmed == false { move() }
    if !isOver, !isPaused, waiting.count > callbacks.responseBufferLimit {
      isPaused = true
      callbacks.pauseResponse(true)
    }
    return .stopAndDrop
  }

  /// - Returns: whether the trailers go on at once.
  func trailers() -> FilterStatus {
    isComplete = true
    hasTrailers = true
    return waiting.isEmpty ? .proceed : .stop
  }

  func timerFired(_ tag: UInt8) { move() }

  /// Lets go what may go now.
  private func move() {
    let pool = callbacks.loop.bufferPool
    // Out of sight while others look at it: they may end the stream.
    var moving = ByteQueue()
    swap(&moving, &waiting)
    let count = pace.take(moving.count, now: callbacks.loop.now)
    let isLast = isComplete && count == moving.count
    if count > 0 || isLast {
      callbacks.passResponseData(moving.bytes.slice(0, count), endStream: isLast && !hasTrailers)
    }
    guard !isOver else { return moving.clear(pool) }
    moving.drop(count, pool)
    swap(&moving, &waiting)
    if !waiting.isEmpty { timer?.arm(after: ResponsePace.interval) }
    if isPaused, waiting.count <= callbacks.responseBufferLimit / 2 {
      isPaused = false
      callbacks.pauseResponse(false)
    }
    if !isOver, isLast, hasTrailers { callbacks.resumeResponse() }
  }

  func destroy() {
    isOver = true
    timer?.disarm()
    waiting.clear(callbacks.loop.bufferPool)
  }
}
