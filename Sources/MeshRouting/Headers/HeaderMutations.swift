import MeshAPI
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
  /// Appends what `format` makes of the message as it is now; what is not known becomes nothing.
  mutating func write(_ format: any HeaderValueFormat, into buffer: inout [UInt8])
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
  /// As it is sent: `%%` is already `%`. Meaningless with a format.
  public let value: [UInt8]
  /// What the value is made with for each message; nil for one that is always the same.
  public let format: (any HeaderValueFormat)?
  /// Whether the header is added although a format makes nothing (`keep_empty_value`).
  public let keepsEmpty: Bool
  public let action: Action
}

/// The changes that a route makes to the headers of a request or a response, level by level: weighted cluster, route,
/// virtual host, route configuration, so that the general overrides the special; with
/// `most_specific_header_mutations_wins` weighted cluster, route configuration, virtual host, route.
public struct HeaderMutations: Sendable {
  /// The changes of one level: first the removals, then whatever overwrites, then whatever adds. What is there after the
  /// removals decides about `addIfAbsent` and `overwriteIfPresent`, and is what formats see.
  public struct Level: Sendable {
    public let removals: [HeaderName]
    /// Those that overwrite come first. At most 64.
    public let additions: [HeaderAddition]
    /// Some value is made with a format.
    @usableFromInline let isFormatted: Bool

    init(removals: [HeaderName], additions: [HeaderAddition]) {
      self.removals = removals
      self.additions = additions
      isFormatted = additions.contains { $0.format != nil }
    }

    static let maximumAdditions = 64
    var isEmpty: Bool { removals.isEmpty && additions.isEmpty }
  }

  /// Levels that change something.
  public let levels: [Level]

  public init() { levels = [] }

  /// Compiles headers to add, for whoever adds some beside routes: local replies.
  /// - Parameters:
  ///   - path: where the list stands; the problems' paths begin with it.
  ///   - formats: as `RouteTable.build` takes it.
  public static func build(
    adding options: [HeaderValueOption], path: String, formats: @escaping RouteTable.FormatCompiler
  ) -> Result<HeaderMutations, RouteProblems> {
    var compiler = HeaderCompiler(formats: formats)
    let level = Level(removals: [], additions: compiler.additions(options, path))
    guard compiler.problems.isEmpty else { return .failure(RouteProblems(problems: compiler.problems)) }
    return .success(HeaderMutations(levels: [level]))
  }

  /// Compiles headers to add and to remove, in fields named like a route's (`request_headers_to_add`).
  /// - Parameter path: where these fields stand.
  public static func build(
    requestAdding options: [HeaderValueOption], removing names: [String], path: String,
    formats: @escaping RouteTable.FormatCompiler
  ) -> Result<HeaderMutations, RouteProblems> {
    var compiler = HeaderCompiler(formats: formats)
    let level = compiler.level(add: options, remove: names, kind: "request", pathPrefix: "\(path).")
    guard compiler.problems.isEmpty else { return .failure(RouteProblems(problems: compiler.problems)) }
    return .success(HeaderMutations(levels: [level]))
  }

  /// A name that somebody else wants to be added to a message; nil if it must not be: no name, or one that has to do with
  /// the connection, the framing or the request line.
  public static func changeableName(_ name: String) -> HeaderName? {
    var compiler = HeaderCompiler(formats: RouteTable.refuseFormats)
    return compiler.changeable(name, "")
  }

  init(levels: [Level]) { self.levels = levels.filter { !$0.isEmpty } }

  @inlinable
  public var isEmpty: Bool { levels.isEmpty }

  /// Makes the changes.
  @inlinable
  public func apply<T: HeaderMutationTarget & ~Copyable>(to target: inout T) {
    for level in levels {
      for name in level.removals { target.remove(name) }
      if level.isFormatted {
        Self.applyFormatted(level, to: &target)
        continue
      }
      let skipped = Self.skipped(level, target)
      var bit: UInt64 = 1
      for addition in level.additions {
        if skipped & bit == 0 {
          addition.value.withUnsafeBufferPointer { Self.add(addition, $0, to: &target) }
        }
        bit <<= 1
      }
    }
  }

  /// The additions, one bit each, that what is there forbids.
  @usableFromInline
  static func skipped<T: HeaderMutationTarget & ~Copyable>(_ level: Level, _ target: borrowing T) -> UInt64 {
    var skipped: UInt64 = 0
    var bit: UInt64 = 1
    for addition in level.additions {
      if addition.action.isConditional, target.contains(addition.name) == (addition.action == .addIfAbsent) {
        skipped |= bit
      }
      bit <<= 1
    }
    return skipped
  }

  /// All values are made before the first change.
  @usableFromInline
  static func applyFormatted<T: HeaderMutationTarget & ~Copyable>(_ level: Level, to target: inout T) {
    var skipped = skipped(level, target)
    var values: [UInt8] = []
    var ends: [Int] = []
    var bit: UInt64 = 1
    for addition in level.additions {
      let start = values.count
      if let format = addition.format {
        if skipped & bit == 0 { target.write(format, into: &values) }
        if values.count == start, !addition.keepsEmpty { skipped |= bit }
      } else {
        values += addition.value
      }
      ends.append(values.count)
      bit <<= 1
    }
    bit = 1
    var start = 0
    for (addition, end) in zip(level.additions, ends) {
      if skipped & bit == 0 {
        values.withUnsafeBufferPointer { add(addition, $0.slice(start, end - start), to: &target) }
      }
      start = end
      bit <<= 1
    }
  }

  @inlinable @inline(__always)
  static func add<T: HeaderMutationTarget & ~Copyable>(
    _ addition: HeaderAddition, _ value: Bytes, to target: inout T
  ) {
    if addition.action.overwrites { target.set(addition.name, value) } else { target.append(addition.name, value) }
  }
}
