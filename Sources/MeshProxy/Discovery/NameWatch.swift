import MeshIO
import MeshPrimitives

/// The names of one cluster: asks for each, says when one has other addresses than before, and asks again. Addresses
/// that once were good are kept while DNS fails. On the main thread.
final class NameWatch {
  /// Told of answers.
  protocol Listener: AnyObject {
    /// A lookup begins.
    func lookupBegan()
    /// A name was looked up; all names of the cluster have had an answer if `isComplete`.
    func lookupEnded(_ name: String, _ outcome: Outcome, isComplete: Bool)
  }

  enum Outcome {
    /// The addresses now are these.
    case addresses
    /// The name does not exist, or has no addresses of the family.
    case nothing(ResolveError)
    /// No answer; what was known stays.
    case failure(ResolveError)
  }

  /// Addresses as they were last known.
  private(set) var addresses: [String: [IPAddress]]
  private unowned let listener: any Listener
  private let settings: DNSSettings
  private let resolvers: Resolvers
  private let loop: EventLoop
  private var lookups: [Lookup] = []
  private var unanswered: Set<String>
  private var isStarted = false

  /// - Parameter known: addresses of the names from before; used until there are others.
  init(
    _ listener: any Listener, names: Set<String>, settings: DNSSettings, resolvers: Resolvers, loop: EventLoop,
    known: [String: [IPAddress]]
  ) {
    self.listener = listener
    self.settings = settings
    self.resolvers = resolvers
    self.loop = loop
    addresses = known.filter { names.contains($0.key) }
    unanswered = names
  }

  func start(_ random: inout Random) {
    guard !isStarted else { return }
    isStarted = true
    lookups = unanswered.sorted().map { Lookup(self, $0, settings, loop, Random(seed: random.next())) }
    for lookup in lookups { lookup.ask() }
  }

  private func ended(_ name: String, _ result: Result<ResolvedAddresses, ResolveError>) {
    unanswered.remove(name)
    let outcome: Outcome
    switch result {
    case .success(let answer):
      addresses[name] = answer.addresses
      outcome = .addresses
    case .failure(let error) where error.kind == .notFound:
      outcome = .nothing(error)
    case .failure(let error):
      outcome = .failure(error)
    }
    listener.lookupEnded(name, outcome, isComplete: unanswered.isEmpty)
  }

  /// The name has no addresses any more.
  func forget(_ name: String) { addresses[name] = [] }

  /// The name is to be asked for again soon: its answer was no use.
  func distrust(_ name: String) { lookups.first { $0.name == name }?.distrust() }

  /// One name.
  private final class Lookup: TimerTarget {
    let name: String
    private unowned let watch: NameWatch
    private let settings: DNSSettings
    private var schedule: RefreshSchedule
    private var random: Random
    private var timer: Timer?
    private var isDistrusted = false
    private var isAsking = false

    init(_ watch: NameWatch, _ name: String, _ settings: DNSSettings, _ loop: EventLoop, _ random: Random) {
      self.watch = watch
      self.name = name
      self.settings = settings
      self.random = random
      schedule = RefreshSchedule(settings)
      timer = Timer(loop, self)
    }

    func distrust() { isDistrusted = true }

    func timerFired(_ tag: UInt8) { ask() }

    func ask() {
      // Asked again for want of room, it is the same lookup.
      if !isAsking { watch.listener.lookupBegan() }
      isAsking = true
      do {
        try watch.resolvers.resolver(settings.resolver).resolve(name, family: settings.family) { [weak self] in
          self?.answered($0)
        }
      } catch {
        // No resolver could be made: later, perhaps. Not now: whoever starts the lookups is not ready for answers.
        watch.loop.defer { [weak self] in self?.answered(.failure(error)) }
      }
    }

    private func answered(_ result: Result<ResolvedAddresses, ResolveError>) {
      // Nobody was asked: too many others are being asked for. That is no answer, and it passes.
      if case .failure(let error) = result, error.kind == .overloaded {
        timer?.arm(after: .milliseconds(5 + random.below(20)))
        return
      }
      isAsking = false
      isDistrusted = false
      watch.ended(name, result)
      let wait: Nanoseconds
      switch result {
      case .success(let answer): wait = schedule.afterSuccess(timeToLive: answer.timeToLive, &random)
      case .failure(let error) where error.kind == .notFound && !isDistrusted:
        wait = schedule.afterSuccess(timeToLive: .zero, &random)
      case .failure: wait = schedule.afterFailure(&random)
      }
      timer?.arm(after: wait)
    }
  }
}
