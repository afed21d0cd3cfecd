import MeshPrimitives

/// `RANDOM`: any healthy endpoint. Weights do not count, as in Envoy.
struct RandomBalancer {
  private var hosts: [ActiveEndpoint] = []

  mutating func update(_ endpoints: [ActiveEndpoint]) { hosts = endpoints.filter(\.isHealthy) }

  /// The endpoint for the next request; nil if none is healthy.
  func pick(_ random: inout Random) -> ActiveEndpoint? {
    hosts.isEmpty ? nil : hosts[random.index(hosts.count)]
  }
}
