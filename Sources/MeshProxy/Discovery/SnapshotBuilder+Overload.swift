import MeshAPI

extension SnapshotBuilder {
  /// The limit on connections from clients that a resource monitor sets; nil without such a monitor.
  mutating func maximumConnections(_ manager: OverloadManager) -> UInt64? {
    var result: UInt64?
    for (index, monitor) in manager.resourceMonitors.enumerated() {
      let path = "overload_manager.resource_monitors[\(index)]"
      guard let limit: DownstreamConnectionsConfig = try? monitor.typedConfig.unpack() else {
        report(
          "\(path).typed_config",
          "\(monitor.typedConfig.messageName) is no resource monitor (\(DownstreamConnectionsConfig.protoMessageName))")
        continue
      }
      if result != nil { report(path, "another monitor watches the number of connections already") }
      result = UInt64(clamping: limit.maxActiveDownstreamConnections)
    }
    return result
  }
}
