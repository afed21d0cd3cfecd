import MeshPrimitives

/// What header mutations are applied to.
public protocol HeaderMutationTarget: ~Copyable {
  /// Whether there is a field line of this name.
  func contains(_ name: HeaderName) -> Bool
  /// Removes all field lines of this name.
  mutating func remove(_ name: HeaderName)
  /// Adds a field line.
  mutating func append(_ name: HeaderName, _ value: Bytes)
  /// Replaces all field lines of this name by one, or adds it.
  mutating func set(_ name: HeaderName, _ value: Bytes)
}

/// One header to add or to overwrite.
public struct HeaderAddition: Sendable {
  /// Envoy's `HeaderValueOption.append_action`.
  public enum Action: UInt8, Sendable {
    /// Add a line; what is there stays.
    case append
    /// Add a line only if there is none.
    case addIfAbsent
    /// Replace what is there, or add.
    case overwriteOrAdd
    /// Replace what is there; without anything there, nothing.
    case overwriteIfPresent

    /// Whether what is there decides if anything is done.
    @inlinable var isConditional: Bool { self == .addIfAbsent || self == .overwriteIfPresent }
    @inlinable var overwrites: Bool { self == .overwriteOrAdd || self == .overwriteIfPresent }
  }

  public let name: HeaderName
  /// As it is sent: `%%` is already `%`.
  public let value: [UInt8]
  public let action: Action
}

/// The changes that a route makes to the headers of a request or a response, level by level: weighted cluster, route,
/// virtual host, route configuration, so that the general overrides the special (Envoy without
/// `most_specific_header_mutations_wins`).
public struct HeaderMutations: Sendable {
  /// The changes of one level: first the removals, then whatever overwrites, then whatever adds. What is there before the
  /// overwriting decides about `addIfAbsent` and `overwriteIfPresent`.
  public struct Level: Sendable {
    public let removals: [HeaderName]
    /// Those that overwrite come first. At most 64.
    public let additions: [HeaderAddition]

    static let maximumAdditions = 64
    var isEmpty: Bool { removals.isEmpty && additions.isEmpty }
  }

  /// Levels that change something.
  public let levels: [Level]

  public init() { levels = [] }

  init(levels: [Level]) { self.levels = levels.filter { !$0.isEmpty } }

  @inlinable
  public var isEmpty: Bool { levels.isEmpty }

  /// Makes the changes.
  @inlinable
  public func apply<T: HeaderMutationTarget & ~Copyable>(to target: inout T) {
    for level in levels {
      for name in level.removals { target.remove(name) }
      var skipped: UInt64 = 0
      var bit: UInt64 = 1
      for addition in level.additions {
        if addition.action.isConditional, target.contains(addition.name) == (addition.action == .addIfAbsent) {
          skipped |= bit
        }
        bit <<= 1
      }
      bit = 1
      for addition in level.additions {
        if skipped & bit == 0 {
          addition.value.withUnsafeBufferPointer { value in
            if addition.action.overwrites {
              target.set(addition.name, value)
            } else {
              target.append(addition.name, value)
            }
          }
        }
        bit <<= 1
      }
    }
  }
}
