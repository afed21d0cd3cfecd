import MeshRouting
import Synchronization

/// Concurrency limits of one cluster for one priority (`circuit_breakers.thresholds`). The counts belong to the cluster,
/// not to a configuration: shared by the workers, kept over updates. Threads: any.
public final class CircuitBreaker: Sendable {
  /// How many of each may exist at once.
  public struct Limits: Sendable, Equatable {
    public var connections = 1024
    public var pendingRequests = 1024
    public var requests = 1024
    /// Requests that are being sent once more.
    public var retries = 3
    /// Takes the place of `retries`; nil: it does not.
    public var retryBudget: RetryBudget?
    /// Connections to one endpoint (`per_host_thresholds`).
    public var connectionsPerEndpoint = Int.max
    /// Pools that have connections.
    public var pools = Int.max
    /// Whether statistics show what is left of them (`track_remaining`).
    public var tracksRemaining = false
    public init() {}
  }

  /// What may be sent once more, as a share of what is sent (`retry_budget`).
  public struct RetryBudget: Sendable, Equatable {
    /// Of the active and waiting requests, 0…100.
    public var percent = 20.0
    /// In any case.
    public var least = 3

    /// How many there may be.
    /// - Parameter active: requests that are active or wait, those that are sent once more among them.
    public func limit(active: Int) -> Int { max(least, Int(percent / 100 * Double(max(0, active)))) }
  }

  /// What the limits count.
  public let connections = Gate()
  public let pendingRequests = Gate()
  public let requests = Gate()
  public let retries = Gate()
  public let pools = Gate()

  public init() {}

  /// A count with a limit that the caller brings.
  public final class Gate: Sendable {
    private let count = Atomic<Int>(0)

    /// Takes one unless `limit` are taken. Whoever gets `true` owes one `leave`.
    @inline(__always)
    public func enter(limit: Int) -> Bool {
      if count.add(1, ordering: .relaxed).newValue <= limit { return true }
      count.subtract(1, ordering: .relaxed)
      return false
    }

    /// Takes one whatever the limit says: each worker may always have one connection, or it could serve nothing.
    @inline(__always)
    public func enterAlways() { count.add(1, ordering: .relaxed) }

    @inline(__always)
    public func leave() { count.subtract(1, ordering: .relaxed) }

    /// How many are taken now.
    public var current: Int { count.load(ordering: .relaxed) }
  }
}

/// Something for each priority.
public struct ByPriority<Value: Sendable>: Sendable {
  public var normal: Value
  public var high: Value

  public init(normal: Value, high: Value) {
    self.normal = normal
    self.high = high
  }

  @inlinable
  public subscript(priority: RoutePriority) -> Value {
    @inline(__always) get { priority == .normal ? normal : high }
    set { if priority == .normal { normal = newValue } else { high = newValue } }
  }
}

extension ByPriority: Equatable where Value: Equatable {}
