import MeshHTTP
import MeshIO
import MeshPrimitives

/// A connection from when it is accepted until a network filter serves it: its filter chain is chosen, then its transport
/// is established. Confined to its worker.
final class PendingConnection: IOHandler, TimerTarget, HandshakeWaiter {
  /// Where the listener keeps this connection in its list.
  var listIndex = 0
  let listener: ActiveListener
  let worker: Worker
  let acceptedAt: MonotonicTime
  var info: ConnectionInfo
  var transport: Transport
  /// Bytes that were read before there was a codec to read them.
  var input = ByteQueue()
  /// The chain that was chosen; it counts the connection.
  private(set) var chain: (any ActiveFilterChain)?
  /// No filter chain is for this connection.
  private var isUnmatched = false
  private(set) var isOver = false
  /// Bounds the listener filters, then the handshake.
  var timer: Timer?
  /// `.never` before there is one.
  var handshakeBeganAt = MonotonicTime.never
  /// What listener filters have found out so far.
  var facts: ConnectionFacts
  /// The listener filter that looks now.
  var filterIndex = 0
  /// Why the connection will not be served.
  var refusal: ConnectionRefusal?
  /// Whether listener filters look at the connection, so that it is counted among those.
  var isInspected = false

  init(_ listener: ActiveListener, _ transport: consuming Transport, _ info: ConnectionInfo) {
    self.listener = listener
    worker = listener.worker
    acceptedAt = listener.worker.loop.now
    self.info = info
    self.transport = transport
    facts = ConnectionFacts(info)
  }

  /// Call once, after the listener has stored this.
  func start() { if listener.configuration.listenerFilters.isEmpty { choose() } else { beginInspection() } }

  func choose() {
    if facts.hasOriginalDestination, listener.configuration.usesOriginalDestination,
      let other = worker.listener(at: facts.destination), other !== listener
    {
      return handOver(to: other)
    }
    guard let chain = listener.filterChain(for: facts) else {
      isUnmatched = true
      return close(.local)
    }
    self.chain = chain
    chain.connectionBegan()
    if admit(chain) { beginTransport(chain) }
  }

  /// Puts what the chain has between the socket and its network filter into place: where handshakes begin.
  private func beginTransport(_ chain: any ActiveFilterChain) {
    switch chain.configuration.transport {
    case .rawBuffer: serve(chain)
    case .tls(let tls): beginHandshake(tls)
    }
  }

  func serve(_ chain: any ActiveFilterChain) {
    var established = Transport(descriptor: -1, isWritable: false)
    swap(&established, &transport)
    var initial = ByteQueue()
    swap(&initial, &input)
    end()
    chain.serve(established, info, initial: initial)
  }

  func ready(_ events: IOEvents) {
    guard !isOver else { return }
    transport.note(events)
    if isInspected {
      inspect()
    } else if refusal != nil {
      readyWhileRefused()
    } else {
      continueHandshake()
    }
  }

  /// The connection was made to another listener's address. That one treats it as its own from the beginning, but does
  /// not hand it on.
  private func handOver(to other: ActiveListener) {
    worker.loop.deregister(transport.descriptor)
    guard other.adopt(&transport, info) else { return close(.local) }
    end()
    listener.handedOver()
  }

  /// Closes a connection that nobody serves yet.
  func close(_ reason: ServerCloseReason) {
    guard !isOver else { return }
    transport.close(worker.loop)
    input.clear(worker.loop.bufferPool)
    end()
    if let chain {
      chain.connectionEnded(info, openedAt: acceptedAt, reason, refusal)
    } else {
      listener.connectionLeft(info, openedAt: acceptedAt, isUnmatched: isUnmatched)
    }
  }

  private func end() {
    isOver = true
    if isInspected { endInspection() }
    timer?.disarm()
    listener.pendingEnded(self)
  }
}
