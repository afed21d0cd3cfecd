import MeshHTTP
import MeshIO
import MeshPrimitives

/// The TLS handshake, between the choice of a filter chain and its network filter.
extension PendingConnection {
  func beginHandshake(_ tls: DownstreamTLS) {
    guard let context = tls.cell.current else {
      tls.stats.factory.lane(worker.index).add(.downstreamSecretsNotReady)
      return close(.local)
    }
    guard let session = TLSSession(server: context, loop: worker.loop) else { return close(.local) }
    var read = ByteQueue()
    swap(&read, &input)
    transport.protect(with: session, initial: read)
    do { try worker.loop.take(over: transport.descriptor, self) } catch { return close(.local) }
    handshakeBeganAt = worker.loop.now
    armHandshake(tls)
    // A client speaks first: often its hello is here already.
    continueHandshake()
  }

  private func armHandshake(_ tls: DownstreamTLS) {
    guard var limit = tls.handshakeTimeout else { return }
    if let overload = worker.overload { limit = overload.reduced(limit, .transportSocketConnect) ?? limit }
    let timer = timer ?? Timer(worker.loop, self)
    self.timer = timer
    timer.arm(at: handshakeBeganAt + limit)
  }

  /// The overload manager makes timeouts shorter, or gives them back.
  func timeoutsChanged() {
    guard !isOver, handshakeBeganAt != .never, let chain, case .tls(let tls) = chain.configuration.transport else {
      return
    }
    armHandshake(tls)
  }

  func continueHandshake() {
    guard !isOver, let chain, case .tls(let tls) = chain.configuration.transport else { return }
    switch transport.handshake(worker.loop, self) {
    case .done:
      guard let details = transport.tls?.details(worker.loop) else { return close(.local) }
      tls.stats.count(details, lane: worker.index)
      info = info.with(tls: details)
      serve(chain)
    case .wouldBlock: break
    case .failed(let failure):
      tls.stats.count(failure, lane: worker.index)
      worker.log.debug("\(info.directRemoteAddress): handshake: \(failure.text)")
      if let failures = worker.failures {
        ConnectionFailure(failure, info, openedAt: acceptedAt, worker, listener: listener.configuration.name)?
          .write(to: failures)
      }
      close(failure.kind == .closed ? .remote : .local)
    }
  }

  /// The handshake takes too long.
  func timerFired(_ tag: UInt8) {
    guard !isOver else { return }
    if isInspected { return inspectionTimedOut() }
    if refusal != nil { return close(.local) }
    listener.transportTimedOut()
    close(.local)
  }
}
