/// Where the current context of one configured transport is found: the main thread replaces it when a secret changes,
/// workers take it for each new connection. Any thread.
public final class TLSContextCell: Sendable {
  private let context: Locked<TLSContext?>

  /// - Parameter context: nil as long as a secret that it needs has not come.
  public init(_ context: TLSContext?) { self.context = Locked(context) }

  /// For new connections; nil if a secret is missing.
  public var current: TLSContext? {
    get { context.withLock { $0 } }
    set { context.withLock { $0 = newValue } }
  }
}
