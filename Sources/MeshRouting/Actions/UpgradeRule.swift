import MeshPrimitives

/// What a route says to requests for a tunnel of one kind (`RouteAction.UpgradeConfig`).
public struct UpgradeRule: Sendable {
  /// In lower case: `websocket`, `connect`.
  public let type: [UInt8]
  /// Whether such requests are served, whatever the connection manager says.
  public let isEnabled: Bool
  /// A CONNECT ends here; nil: it is passed on.
  public let termination: Termination?

  /// What becomes of a CONNECT that ends here (`connect_config`).
  public struct Termination: Sendable {
    /// A POST is served as a CONNECT is.
    public let takesPost: Bool
  }
}
