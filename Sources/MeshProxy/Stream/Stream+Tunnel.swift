import MeshHTTP

/// A stream that becomes a tunnel.
extension Stream {
  /// The request may have its tunnel, as far as configuration goes.
  /// - Parameter chain: the filters it meets; nil: those of other requests.
  func beginTunnel(_ chain: UpgradeFilters?) {
    upgradeChain = chain
    isCountedAsUpgrade = true
    count(.upgradeTotal)
    count(.upgradeActive)
  }

  /// The upstream has granted the tunnel. Its answer is on its way through the filters.
  func tunnelGranted() { isTunnelOpen = true }

  /// The stream is over.
  func forgetTunnel() {
    isTunnelOpen = false
    isResponseEnded = false
    upgradeChain = nil
    guard isCountedAsUpgrade else { return }
    isCountedAsUpgrade = false
    manager?.stats.subtract(.upgradeActive)
  }
}
