import MeshAPI
import MeshPrimitives

/// What the overload manager watches and does (`envoy.config.overload.v3.OverloadManager`), checked. Immutable; shared by
/// all threads.
final class OverloadConfiguration: Sendable {
  /// A resource that is watched.
  struct Resource: Sendable {
    let name: String
    let kind: Kind
    let stats: StatBlock<ResourceStat>
  }

  /// How a resource is watched.
  enum Kind: Sendable {
    /// The process's own memory, of so many bytes.
    case heap(maximum: UInt64)
    /// The control group's memory, of so many bytes at most.
    case controlGroupMemory(maximum: UInt64?)
    /// Processors: the machine's, or the control group's.
    case processors(isContainer: Bool)
    /// Connections from clients. They have a limit of their own, and trigger nothing.
    case connections(ConnectionLimit)
    /// A file that says it.
    case injected(path: String)
  }

  /// What sets an action or a load shed point off: a resource by its position, and how.
  typealias Triggers = [(resource: Int, trigger: OverloadTrigger)]

  struct Action: Sendable {
    let action: OverloadAction
    let triggers: Triggers
    let stats: StatBlock<OverloadActionStat>
  }

  struct Point: Sendable {
    let point: LoadShedPoint
    let triggers: Triggers
    let stats: StatBlock<LoadShedStat>
  }

  /// What it was compiled from: two of the same are the same.
  let message: OverloadManager
  let refreshInterval: Nanoseconds
  let resources: [Resource]
  let actions: [Action]
  let points: [Point]
  let reductions: [TimeoutReduction.Kind: TimeoutReduction]
  /// Streams that hold fewer bytes are not reset; nil: none is.
  let leastHeldToReset: Int?
  /// `envoy.overload_actions.reset_high_memory_stream.count`.
  let resets: StatBlock<StreamResetStat>?
  /// `overload.<shrink_heap>.shrink_count`.
  let shrinks: StatBlock<HeapShrinkStat>?
  private let leases: [StatsLease]

  init(
    message: OverloadManager, resources: [Resource], actions: [Action], points: [Point],
    reductions: [TimeoutReduction.Kind: TimeoutReduction], resets: StatBlock<StreamResetStat>?,
    shrinks: StatBlock<HeapShrinkStat>?,
    leases: [StatsLease]
  ) {
    self.message = message
    refreshInterval = message.hasRefreshInterval ? Nanoseconds(message.refreshInterval) : .seconds(1)
    self.resources = resources
    self.actions = actions
    self.points = points
    self.reductions = reductions
    let power = message.bufferFactoryConfig.minimumAccountToTrackPowerOfTwo
    leastHeldToReset = message.hasBufferFactoryConfig ? 1 << Int(min(power, 56)) : nil
    self.resets = resets
    self.shrinks = shrinks
    self.leases = leases
  }

  /// The lowest pressure of a resource at which anything happens; nil if nothing does.
  func onset(ofResource index: Int) -> Double? {
    (actions.flatMap(\.triggers) + points.flatMap(\.triggers)).filter { $0.resource == index }.map(\.trigger.onset)
      .min()
  }

  /// Whether there is anything for workers to do.
  var concernsWorkers: Bool { !actions.isEmpty || !points.isEmpty }

  /// Whether codecs have to ask before they look at what they have read.
  var isAskedByCodecs: Bool { points.contains { $0.point.isAskedByCodec } }
}

/// How strong each action and each load shed point is now, 0 to 1. What workers are told.
struct OverloadState: Sendable, Equatable {
  private var actions = [Float](repeating: 0, count: OverloadAction.allCases.count)
  private var points = [Float](repeating: 0, count: LoadShedPoint.allCases.count)

  subscript(action: OverloadAction) -> Float {
    get { actions[action.rawValue] }
    set { actions[action.rawValue] = newValue }
  }

  subscript(point: LoadShedPoint) -> Float {
    get { points[point.rawValue] }
    set { points[point.rawValue] = newValue }
  }
}
