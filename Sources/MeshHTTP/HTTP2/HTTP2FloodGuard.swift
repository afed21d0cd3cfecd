/// Counts what costs a peer next to nothing to send and us something to answer or to remember.
struct HTTP2FloodGuard {
  /// Frames without content in a row.
  var emptyFrames: UInt32 = 0
  var priorityFrames: UInt32 = 0
  var windowUpdates: UInt32 = 0
  var dataFramesSent: UInt32 = 0
  var streamsOpened: UInt32 = 0
  /// Of the header block that is coming.
  var continuations = 0
  var glitches: UInt32 = 0

  /// A frame of the peer begins. Returns what it is too much of, if it is.
  @inline(__always)
  mutating func receive(_ frame: HTTP2FrameScan.Frame, _ options: HTTP2Options) -> HTTP2Event? {
    switch frame.type {
    case FrameType.data, FrameType.headers, FrameType.continuation:
      let isContinuation = frame.type == FrameType.continuation
      if frame.length == 0, frame.flags & FrameFlag.endStream == 0 || isContinuation {
        emptyFrames &+= 1
        if emptyFrames > options.maximumEmptyFrames { return .emptyFramesFlood }
      } else {
        emptyFrames = 0
      }
      if isContinuation {
        continuations &+= 1
        if continuations > options.maximumContinuations { return .continuationFlood }
      } else {
        continuations = 0
      }
    case FrameType.priority:
      priorityFrames &+= 1
      // As in Envoy: of the streams opened so far, and one more.
      if UInt64(priorityFrames) > UInt64(options.maximumPriorityFrames) &* (1 &+ UInt64(streamsOpened)) {
        return .priorityFlood
      }
    case FrameType.windowUpdate:
      windowUpdates &+= 1
      // As in Envoy: some are due to every stream.
      let allowed = 5 &+ 2 &* (UInt64(streamsOpened) &+ UInt64(options.maximumWindowUpdates) &* UInt64(dataFramesSent))
      if UInt64(windowUpdates) > allowed { return .windowUpdateFlood }
    default: break
    }
    return nil
  }
}
