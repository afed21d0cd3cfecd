import MeshHTTP
import MeshIO
import MeshPrimitives

/// How an `ORIGINAL_DST` cluster finds where a connection was going (`OriginalDstLbConfig`).
public struct OriginalDestinationSettings: Sendable, Equatable {
  /// The header that says it; nil: none does.
  var header: HeaderName?
  /// What is connected to, whatever the port was; nil: the port.
  var port: UInt16?
  /// An address that was not used for so long is forgotten.
  var cleanupInterval = Nanoseconds.seconds(5)
}

/// The endpoints of an `ORIGINAL_DST` cluster as one worker has them: one for each address that clients were going to,
/// forgotten when nobody has gone there for a while. Confined to its worker.
final class OriginalDestinations: TimerTarget {
  private struct Entry {
    let endpoint: ActiveEndpoint
    var wasUsed = true
  }

  /// The most addresses at once: clients choose them.
  private static let limit = 10_000

  private unowned let cluster: ActiveCluster
  private let settings: OriginalDestinationSettings
  private var entries: [SocketAddress: Entry] = [:]
  private var timer: Timer?

  init(_ cluster: ActiveCluster, _ settings: OriginalDestinationSettings) {
    self.cluster = cluster
    self.settings = settings
  }

  /// The endpoint for a connection, or a request that came by it; nil if nothing says where it was going.
  func endpoint(for connection: ConnectionInfo?, _ headers: HeaderMap?) -> ActiveEndpoint? {
    guard var address = address(connection, headers) else { return nil }
    if let port = settings.port { address = SocketAddress(address.ip, port: port) }
    if let known = entries[address] {
      if !known.wasUsed { entries[address]?.wasUsed = true }
      return known.endpoint
    }
    guard entries.count < Self.limit else { return nil }
    // Every worker counts by itself.
    let endpoint = Endpoint(address: address, hostname: "", lanes: cluster.worker.index + 1)
    let weighted = WeightedEndpoint(endpoint: endpoint, weight: 1, health: .unknown, locality: .init())
    let made = ActiveEndpoint(weighted, cluster: cluster)
    entries[address] = Entry(endpoint: made)
    cluster.stats.add(.membershipTotal)
    cluster.stats.add(.membershipHealthy)
    let timer = timer ?? Timer(cluster.worker.loop, self)
    self.timer = timer
    if !timer.isArmed { timer.arm(after: settings.cleanupInterval) }
    return made
  }

  private func address(_ connection: ConnectionInfo?, _ headers: HeaderMap?) -> SocketAddress? {
    if let header = settings.header, let headers, let value = headers.value(header) {
      guard let address = SocketAddress(value.text), address.port != 0 || settings.port != nil else {
        cluster.stats.add(.originalDestinationInvalid)
        return nil
      }
      return address
    }
    // What the socket's own end is nobody has redirected.
    guard let connection, connection.localAddress != connection.directLocalAddress, !connection.localAddress.isUnix
    else { return nil }
    return connection.localAddress
  }

  func timerFired(_ tag: UInt8) {
    for (address, entry) in entries {
      if entry.wasUsed || entry.endpoint.isInUse {
        entries[address]?.wasUsed = false
      } else {
        forget(address, entry)
      }
    }
    if !entries.isEmpty { timer?.arm(after: settings.cleanupInterval) }
  }

  private func forget(_ address: SocketAddress, _ entry: Entry) {
    entries[address] = nil
    cluster.stats.subtract(.membershipTotal)
    cluster.stats.subtract(.membershipHealthy)
    entry.endpoint.drain()
  }

  /// Forgets everything; connections end as they become free.
  func drain() {
    for (address, entry) in entries { forget(address, entry) }
    timer?.disarm()
  }
}
