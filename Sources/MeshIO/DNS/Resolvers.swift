import MeshPrimitives

/// A loop's resolvers: one for each way of resolving names. c-ares reads `/etc/resolv.conf` when a resolver is made, so
/// they are made anew when that file has changed; what the old ones were asked, they still answer.
public final class Resolvers {
  private let loop: EventLoop
  private let systemConfiguration: String
  private var state: FileState?
  private var lastLook: MonotonicTime?
  private var resolvers: [ResolverOptions: Resolver] = [:]
  /// Of the files before; each stays until it has answered.
  private var retired: [Resolver] = []

  /// How often the file is looked at.
  static let lookInterval = Nanoseconds.milliseconds(500)

  /// - Parameter systemConfiguration: where the system's name servers are written.
  public init(_ loop: EventLoop, systemConfiguration: String = "/etc/resolv.conf") {
    self.loop = loop
    self.systemConfiguration = systemConfiguration
  }

  /// The resolver for these options; valid until the loop's next turn, as the next call may make another.
  public func resolver(_ options: ResolverOptions) throws(ResolveError) -> Resolver {
    noticeChange()
    var options = options
    options.systemConfiguration = systemConfiguration
    if let known = resolvers[options] { return known }
    let made = try Resolver(loop, options)
    resolvers[options] = made
    return made
  }

  private func noticeChange() {
    if let lastLook, loop.now < lastLook + Self.lookInterval { return }
    lastLook = loop.now
    retired.removeAll(where: \.isIdle)
    let current = FileState(systemConfiguration)
    guard current != state else { return }
    state = current
    retired += resolvers.values.filter { !$0.isIdle }
    resolvers.removeAll()
  }
}
