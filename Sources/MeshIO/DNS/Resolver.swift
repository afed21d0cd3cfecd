internal import CCAres
import Glibc
import MeshPrimitives

/// How names are resolved.
public struct ResolverOptions: Hashable, Sendable {
  /// The servers to ask; empty: those of `/etc/resolv.conf`.
  public var servers: [SocketAddress] = []
  /// `servers` are asked only where `/etc/resolv.conf` names none.
  public var serversAreFallback = false
  /// Questions go over TCP.
  public var usesTCP = false
  /// Names are taken as they are; otherwise the search domains of `/etc/resolv.conf` are tried too.
  public var ignoresSearchDomains = false
  /// The servers take turns; otherwise the second is asked when the first fails.
  public var rotates = false
  /// For the first try of each server; later tries wait longer.
  public var timeout: Nanoseconds = .seconds(2)
  /// Tries of each server.
  public var tries = 3
  /// Names resolved at the same time; more fail with `overloaded`.
  public var maximumPending = 1024
  /// Where the system's name servers are written.
  public var systemConfiguration = "/etc/resolv.conf"

  public init() {}
}

/// Resolves names on an event loop: `/etc/hosts` (or the file that the environment's CARES_HOSTS names) first, then DNS,
/// by c-ares. Address literals are their own answer.
///
/// Completions run on the loop's thread after `resolve` has returned, each once, and never after the resolver is gone.
public final class Resolver: TimerTarget {
  /// The most addresses taken from one answer.
  public static let maximumAddresses = 1024

  private let loop: EventLoop
  private let sockets: ResolverSockets
  private let maximumPending: Int
  private let hintFlags: Int32
  private var pending = 0
  private var deadline: Timer?
  private var settled: [(Result<ResolvedAddresses, ResolveError>, (Result<ResolvedAddresses, ResolveError>) -> Void)] =
    []

  /// Reads `/etc/resolv.conf` and its like; once, so a resolver is replaced when they change.
  public init(_ loop: EventLoop, _ options: ResolverOptions = ResolverOptions()) throws(ResolveError) {
    self.loop = loop
    maximumPending = options.maximumPending
    // c-ares reads the variable itself, but fails where it is asked to and there is none.
    hintFlags = ARES_AI_NOSORT | (CurrentProcess.environment("CARES_HOSTS") == nil ? 0 : ARES_AI_ENVHOSTS)
    sockets = try ResolverSockets(loop, options)
    deadline = Timer(loop, self)
    sockets.activity = { [unowned(unsafe) self] in self.afterActivity() }
  }

  deinit {
    sockets.activity = {}
    sockets.close()
  }

  /// The number of names being resolved.
  public var pendingCount: Int { pending }

  /// Whether everyone who has asked has been answered.
  public var isIdle: Bool { pending == 0 && settled.isEmpty }

  /// Looks a name up.
  /// - Parameter completion: on the loop's thread, after this call has returned.
  public func resolve(
    _ host: String, family: LookupFamily = .auto,
    completion: @escaping (Result<ResolvedAddresses, ResolveError>) -> Void
  ) {
    if let literal = IPAddress(host) {
      return settle(.success(ResolvedAddresses(addresses: [literal], timeToLive: .zero)), completion)
    }
    // 255 octets on the wire (RFC 1035 §2.3.4); a C string ends at a zero byte.
    guard !host.isEmpty, host.utf8.count <= 254, !host.utf8.contains(0) else {
      return settle(.failure(ResolveError(.badName, host, "not a host name")), completion)
    }
    guard pending < maximumPending else {
      return settle(.failure(ResolveError(.overloaded, host, "too many names are being resolved")), completion)
    }
    pending += 1
    ask(Self.steps(family, host)[...], host) { [unowned(unsafe) self] result in
      self.pending -= 1
      self.settle(result, completion)
    }
  }

  /// The families to ask for, one after the other until one has addresses.
  private static func steps(_ family: LookupFamily, _ host: String) -> [Int32] {
    switch family {
    case .v4Only: return [AF_INET]
    case .v6Only: return [AF_INET6]
    case .v4Preferred: return [AF_INET, AF_INET6]
    case .all: return [AF_UNSPEC]
    case .auto:
      let name = host.lowercased()
      let isLocal = name == "localhost" || name.hasSuffix(".localhost")
      return isLocal ? [AF_INET, AF_INET6] : [AF_INET6, AF_INET]
    }
  }

  private func ask(
    _ steps: ArraySlice<Int32>, _ host: String, _ done: @escaping (Result<ResolvedAddresses, ResolveError>) -> Void
  ) {
    guard let family = steps.first else { return done(.failure(ResolveError(.notFound, host, "no address"))) }
    sockets.query(host, family: family, flags: hintFlags) { [unowned(unsafe) self] result in
      if case .failure(let error) = result, steps.count > 1 {
        // Not from within c-ares: it is walking its lists.
        self.loop.defer { [weak self] in
          self?.ask(steps.dropFirst(), host) { later in
            // That the name has no address of one family says nothing while the other could not be asked for.
            if case .failure(let last) = later, last.kind == .notFound, error.kind != .notFound {
              done(.failure(error))
            } else {
              done(later)
            }
          }
        }
      } else {
        done(result)
      }
    }
    afterActivity()
  }

  private func settle(
    _ result: Result<ResolvedAddresses, ResolveError>,
    _ completion: @escaping (Result<ResolvedAddresses, ResolveError>) -> Void
  ) {
    settled.append((result, completion))
    // One delivery for all that settles until then.
    if settled.count == 1 { loop.defer { [weak self] in self?.deliver() } }
  }

  private func deliver() {
    let batch = settled
    settled = []
    for (result, completion) in batch { completion(result) }
  }

  public func timerFired(_ tag: UInt8) { sockets.process() }

  private func afterActivity() {
    if let wait = sockets.nextTimeout { deadline?.arm(after: wait) } else { deadline?.disarm() }
  }
}
