import MeshHTTP
import MeshPrimitives
import MeshRouting

/// Requests that turn their stream into a tunnel: which of them are served.
extension ConnectionManager {
  /// Lets a request for a tunnel begin, or refuses it.
  @inline(never)
  func openTunnel(_ stream: Stream, _ headers: HeaderMap, _ start: RequestStart) {
    stream.resolveRoute()
    // Without a route it is like any other request without one.
    if let route = stream.info.route {
      guard let admission = admission(headers, start.tunnel, route) else { return refuseTunnel(stream) }
      stream.beginTunnel(admission.chain)
    }
    if configuration.logging.logsNewRequests { stream.logStart() }
    stream.makeFilters()
    guard passesGates(stream, headers) else { return }
    stream.requestPath.headers(stream, endStream: start.endStream)
  }

  /// Asks the gates at the front of the chain, unless the stream has a chain of its own.
  /// - Returns: false if the request has been answered.
  func passesGates(_ stream: Stream, _ headers: HeaderMap) -> Bool {
    stream.upgradeChain != nil || configuration.gates.admit(stream, headers, configuration.routeFilters)
  }

  func refuseTunnel(_ stream: Stream) {
    stats.add(.requestUpgradeRefused)
    stream.sendLocalReply(.upgradeRefused)
  }

  /// What a request for a tunnel meets that is served.
  struct TunnelAdmission {
    /// Nil: the filters of other requests.
    let chain: UpgradeFilters?
  }

  /// Nil: it is not served. The route has the last word; what answers itself has no objection of its own.
  func admission(_ headers: HeaderMap, _ tunnel: TunnelKind, _ route: RouteEntry) -> TunnelAdmission? {
    guard let type = Self.type(of: tunnel, headers) else { return nil }
    let own = configuration.upgrades.first { $0.type.withUnsafeBufferPointer { type.equalsIgnoringCase($0) } }
    var isEnabled = own?.isEnabled ?? false
    if case .forward(let action) = route.action, let rule = action.upgrade(type) { isEnabled = rule.isEnabled }
    return isEnabled ? TunnelAdmission(chain: own?.chain) : nil
  }

  /// What configurations call a tunnel; nil if the request asks for several.
  private static func type(of tunnel: TunnelKind, _ headers: HeaderMap) -> Bytes? {
    switch tunnel {
    case .none: nil
    case .connect: Bytes("connect")
    case .upgrade: headers.isRepeated(.upgrade) ? nil : headers.value(.upgrade)
    }
  }
}
