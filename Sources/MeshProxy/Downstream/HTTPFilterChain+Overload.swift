import MeshHTTP

/// What the overload manager does to connections of HTTP.
extension HTTPFilterChain {
  func timeoutsChanged() {
    let configuration = manager.configuration
    let overload = worker.overload
    settings = overload?.reduced(configuration.connection) ?? configuration.connection
    manager.streamIdleTimeout =
      overload?.reduced(configuration.streamIdleTimeout, .streamIdle) ?? configuration.streamIdleTimeout
    for connection in connections { connection.take(timeoutsOf: settings) }
  }

  func forEachStream(_ body: (Stream) -> Void) {
    for connection in connections { connection.forEachReceiver { if let stream = $0 as? Stream { body(stream) } } }
  }

  // MARK: ServerConnectionHandler

  func mayDispatch(on connection: any ServerConnection, isFirst: Bool) -> DispatchLeave {
    guard let overload = worker.overload else { return .granted }
    if isFirst, overload.sheds(.creatingCodec) {
      manager.stats.add(.requestOverloadClose)
      return .close
    }
    if connection.protocolVersion == .http2 {
      if overload.sheds(.http2GoAwayAndClose) { return .goAwayAndClose }
      return overload.sheds(.http2GoAway) ? .goAway : .granted
    }
    guard overload.sheds(.http1Dispatch) else { return .granted }
    manager.stats.add(.requestOverloadClose)
    return .abort
  }

  func refuseForOverload(_ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap) {
    manager.refuse(sender, connection, headers, .overloadedDispatch)
  }
}
