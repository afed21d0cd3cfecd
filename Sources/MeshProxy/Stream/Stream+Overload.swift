import MeshHTTP
import MeshIO
import MeshPrimitives

/// What the overload manager does to streams.
extension Stream {
  /// The response is perhaps the connection's last: because the worker or the listener drains, or because there is not
  /// enough of something to keep connections.
  @inline(never)
  func endConnection(_ manager: ConnectionManager, _ sender: any ResponseSender) {
    if !worker.isDraining, !manager.isDraining {
      guard worker.overload?.acts(.disableKeepAlive) == true else { return }
      manager.stats.add(.connectionOverloadDisableKeepAlive)
    }
    manager.stats.add(.connectionDrainClose)
    sender.closeAfterResponse()
  }

  /// Requests may be refused before they are sent on: by a filter behind all others.
  @inline(never)
  func addOverloadFilter() {
    filters.append(
      OverloadFilter(StreamFilterCallbacks(stream: self, generation: generation, index: filters.count, place: 0)))
  }

  /// Timeouts have become shorter, or are what they were. The time in which nothing has moved stays.
  public func timeoutsChanged() {
    guard !isOver, let manager else { return }
    var configured = manager.configuration.streamIdleTimeout
    if case .forward(let action)? = info.route?.action, let own = action.idleTimeout {
      configured = own == .zero ? nil : own
    }
    guard let old = idleTimeout, let new = worker.overload?.reduced(configured, .streamIdle) ?? configured else {
      return
    }
    let moved = MonotonicTime(nanoseconds: idleDeadline.nanoseconds &- min(old.rawValue, idleDeadline.nanoseconds))
    idleTimeout = new
    idleDeadline = moved + new
    rearm()
  }

  /// The bytes that wait in this proxy for this stream to move on, in either direction.
  var heldBytes: Int {
    requestPath.buffered + responsePath.buffered + router.heldBytes + (sender?.waitingOutput ?? 0)
  }

  /// The stream holds memory that is needed elsewhere.
  func resetForMemory() {
    guard !isOver else { return }
    info.flags.insert(.overloadManager)
    info.details = .init("overload")
    reset()
  }
}
