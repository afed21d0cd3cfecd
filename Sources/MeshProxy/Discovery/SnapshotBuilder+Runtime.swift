import MeshAPI

extension SnapshotBuilder {
  /// The runtime's layers (`layered_runtime`).
  mutating func runtimeLayers(_ bootstrap: Bootstrap) -> [RuntimeLayerConfiguration] {
    RuntimeLayerConfiguration.compile(bootstrap.layeredRuntime) { report("layered_runtime.\($0)", $1) }
  }
}
