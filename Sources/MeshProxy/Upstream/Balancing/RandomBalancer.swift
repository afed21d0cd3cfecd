import MeshPrimitives

/// `RANDOM`: any endpoint. Weights do not count, as in Envoy.
struct RandomBalancer {
  private var hosts: [ActiveEndpoint] = []

  init() {}
  init(_ hosts: [ActiveEndpoint]) { self.hosts = hosts }

  /// The endpoint for the next request; nil if there is none.
  func pick(_ random: inout Random) -> ActiveEndpoint? {
    hosts.isEmpty ? nil : hosts[random.index(hosts.count)]
  }
}
