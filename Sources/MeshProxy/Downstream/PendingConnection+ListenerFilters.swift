import MeshHTTP
import MeshIO
import MeshPrimitives

/// Listener filters: they look at the first bytes of a connection, which stay in the kernel for whoever comes after them,
/// but for those that a filter takes for itself.
extension PendingConnection {
  func beginInspection() {
    isInspected = true
    listener.inspectionBegan()
    if let limit = listener.configuration.listenerFiltersTimeout {
      timer = Timer(worker.loop, self)
      timer?.arm(after: limit)
    }
    do { try worker.loop.take(over: transport.descriptor, self) } catch { return close(.local) }
    // Some filters need no byte.
    inspect()
  }

  func endInspection() {
    isInspected = false
    listener.inspectionEnded()
    timer?.disarm()
  }

  /// Goes on with the filters as far as the bytes that are here allow.
  func inspect() {
    let filters = listener.configuration.listenerFilters
    // A configuration that comes meanwhile may have fewer.
    while filterIndex < filters.count {
      let filter = filters[filterIndex]
      if filter.exemption?.holds(facts) != true {
        switch filter.kind {
        case .originalDestination: findOriginalDestination()
        case .rateLimit(let limit): if !limit.admits(worker) { return close(.local) }
        default: if !look(filter) { return }
        }
      }
      filterIndex += 1
    }
    inspectionEnds()
  }

  private func inspectionEnds() {
    endInspection()
    info = info.with(
      source: facts.source, destination: facts.destination,
      findings: ConnectionFindings(
        serverName: facts.serverName.isEmpty ? nil : facts.serverName, metadata: facts.metadata,
        typedValues: facts.typedValues))
    choose()
  }

  /// Lets a filter look at the bytes that are here.
  /// - Returns: whether the next one may; if not, the connection waits, or is closed.
  private func look(_ filter: ListenerFilter) -> Bool {
    let loop = worker.loop
    guard transport.isReadable else { return false }
    let count = Socket.peek(transport.descriptor, loop.receiveBuffer, EventLoop.receiveBufferSize)
    if count == Socket.wouldBlock || count == Socket.interrupted { return false }
    guard count > 0 else {
      listener.inspectionFailed(isRemote: count == 0)
      close(.remote)
      return false
    }
    switch verdict(filter, Bytes(start: loop.receiveBuffer, count: count)) {
    case .done(let consumed):
      return consumed == 0 || take(consumed)
    case .incomplete:
      // Nothing more will come.
      if transport.peerClosed {
        listener.inspectionFailed(isRemote: true)
        close(.remote)
      } else if count == EventLoop.receiveBufferSize {
        // More than any filter needs is here, and it is not enough.
        close(.local)
      }
      return false
    case .refuse:
      close(.local)
      return false
    }
  }

  private func verdict(_ filter: ListenerFilter, _ bytes: Bytes) -> ListenerFilter.Verdict {
    switch filter.kind {
    case .tlsInspector(let inspector): inspector.inspect(bytes, &facts, lane: worker.index)
    case .httpInspector(let stats): HTTPInspector.inspect(bytes, &facts, stats.lane(worker.index))
    case .proxyProtocol(let filter): filter.inspect(bytes, &facts, lane: worker.index)
    case .originalDestination, .rateLimit: .done(consumed: 0)
    }
  }

  /// Takes bytes out of the kernel that have been seen there.
  private func take(_ count: Int) -> Bool {
    let taken = Socket.receive(transport.descriptor, worker.loop.receiveBuffer, count)
    if taken == count { return true }
    close(.local)
    return false
  }

  private func findOriginalDestination() {
    guard let destination = Socket.originalDestination(transport.descriptor)?.unmapped else { return }
    facts.destination = destination
    facts.hasOriginalDestination = true
  }

  /// The filters have waited for long enough.
  func inspectionTimedOut() {
    listener.inspectionTimedOut()
    if listener.configuration.continuesOnTimeout { inspectionEnds() } else { close(.local) }
  }
}
