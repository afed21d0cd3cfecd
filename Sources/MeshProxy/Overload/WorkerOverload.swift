import MeshHTTP
import MeshPrimitives

/// What a worker knows of the process's overload; there is one only if the configuration has an overload manager that does
/// something. Confined to the worker's thread.
final class WorkerOverload {
  let configuration: OverloadConfiguration
  private let worker: Worker
  private(set) var state = OverloadState()
  /// New requests may be refused: what is asked for every request.
  private(set) var refusesRequests = false
  /// Requests may be refused before they go to their upstream.
  private(set) var checksFilters = false
  /// New connections may be refused.
  private(set) var refusesConnections = false
  private let shedCounts: [StatLane<LoadShedStat>?]

  init(_ configuration: OverloadConfiguration, _ worker: Worker) {
    self.configuration = configuration
    self.worker = worker
    shedCounts = LoadShedPoint.allCases.map { point in
      configuration.points.first { $0.point == point }?.stats.lane(worker.index)
    }
  }

  func take(_ new: OverloadState) {
    state = new
    refusesRequests = new[.stopAcceptingRequests] > 0 || new[.decodingHeaders] > 0
    checksFilters = new[.downstreamFilterCheck] > 0
    refusesConnections = new[.rejectIncomingConnections] > 0 || new[.listenerAccept] > 0
  }

  /// Whether this one is turned away at a point; counted.
  func sheds(_ point: LoadShedPoint) -> Bool {
    guard isChosen(state[point]) else { return false }
    shedCounts[point.rawValue]?.add(.count)
    return true
  }

  /// Whether an action is for this one.
  func acts(_ action: OverloadAction) -> Bool { isChosen(state[action]) }

  private func isChosen(_ strength: Float) -> Bool {
    if strength <= 0 { return false }
    if strength >= 1 { return true }
    // 24 bits: as many as the strength has.
    return Float(worker.random.next() >> 40) < strength * Float(1 << 24)
  }

  /// Connections wait in the kernel. By degrees there is nothing between all and nothing.
  var suspendsAccepting: Bool { state[.stopAcceptingConnections] >= 1 }

  /// Whether a new request is answered with 503.
  func refusesRequest() -> Bool { sheds(.decodingHeaders) || acts(.stopAcceptingRequests) }

  /// Whether a connection that has been accepted is closed.
  func refusesConnection() -> Bool { sheds(.listenerAccept) || acts(.rejectIncomingConnections) }

  func countReset() { configuration.resets?.lane(worker.index).add(.count) }

  // MARK: Timeouts

  /// A timeout as it is now; nil, which is none at all, stays so.
  func reduced(_ timeout: Nanoseconds?, _ kind: TimeoutReduction.Kind) -> Nanoseconds? {
    let strength = state[.reduceTimeouts]
    guard strength > 0, let timeout, let reduction = configuration.reductions[kind] else { return timeout }
    return reduction.apply(to: timeout, strength: strength)
  }

  /// A connection's settings as they are now.
  func reduced(_ settings: ServerConnectionSettings) -> ServerConnectionSettings {
    var settings = settings
    settings.idleTimeout = reduced(settings.idleTimeout, .connectionIdle)
    settings.maximumDuration = reduced(settings.maximumDuration, .connectionMaximum)
    settings.flushTimeout = reduced(settings.flushTimeout, .streamFlush)
    return settings
  }
}
