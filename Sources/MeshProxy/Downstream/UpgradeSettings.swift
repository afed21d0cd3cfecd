/// What a connection manager says to requests for a tunnel of one kind (`HttpConnectionManager.UpgradeConfig`).
struct UpgradeSettings: Sendable {
  /// In lower case: `websocket`, `connect`.
  let type: [UInt8]
  /// Whether they are served where their route does not say.
  let isEnabled: Bool
  /// The filters that they meet; nil: those of other requests.
  let chain: UpgradeFilters?
}
