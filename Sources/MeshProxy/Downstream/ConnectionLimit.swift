import MeshPrimitives
import Synchronization

/// How many connections from clients may be open at once: to one listener (runtime key
/// `envoy.resource_limits.listener.NAME.connection_limit`), or to all of them together
/// (`envoy.resource_monitors.global_downstream_max_connections`, else runtime key
/// `overload.global_downstream_max_connections`). One count for all workers, kept over configuration updates. Any thread.
public final class ConnectionLimit: Sendable {
  private let count = Atomic<Int>(0)
  private let runtimeValue: RuntimeValue
  /// `UInt64.max`: not configured, the runtime decides.
  private let configured = Atomic<UInt64>(.max)

  init(_ runtimeValue: RuntimeValue) { self.runtimeValue = runtimeValue }

  /// Takes a limit from the configuration, which the runtime does not change; nil: the runtime's value holds again.
  func configure(_ maximum: UInt64?) { configured.store(maximum ?? .max, ordering: .relaxed) }

  /// The limit now; `UInt64.max`: none.
  public var maximum: UInt64 {
    let configured = self.configured.load(ordering: .relaxed)
    return configured == .max ? runtimeValue.integer(or: .max) : configured
  }

  /// Counts a connection unless the limit is reached. Whoever gets `true` owes one `leave`.
  func enter() -> Bool {
    let now = count.add(1, ordering: .relaxed).newValue
    if UInt64(clamping: now) <= maximum { return true }
    leave()
    return false
  }

  /// Counts a connection whatever the limit says (`ignore_global_conn_limit`).
  func enterAlways() { count.add(1, ordering: .relaxed) }

  func leave() { count.subtract(1, ordering: .relaxed) }

  /// Open connections.
  public var current: Int { count.load(ordering: .relaxed) }
}
