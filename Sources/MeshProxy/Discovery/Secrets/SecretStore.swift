import MeshAPI
import MeshIO
import MeshPrimitives

/// Secrets that come from files, what depends on them, and the keys of session tickets. A secret has a life of its own:
/// when it changes, every TLS context that it is in is made anew for new connections, without a new configuration and
/// without touching a connection. A secret that cannot be used leaves the last good one in force. Confined to the main
/// thread.
final class SecretStore: TimerTarget {
  /// How long the process's own key seals tickets.
  private static let rotation = Nanoseconds.seconds(12 * 3600)

  /// What makes and finds the contexts that are in use.
  private var recipes: [TLSContextRecipe] = []
  /// Contexts of a configuration that is not in force yet, where one before it had the same transport: they keep its
  /// cell, because whoever finds nothing changed goes on with what it has.
  private var pending: [(recipe: TLSContextRecipe, context: TLSContext)] = []
  /// The last good content of each secret from a file that something refers to.
  private var contents: [SecretKey: SecretContent] = [:]
  private var watches: SecretWatches?
  private var loop: EventLoop?
  private var rotationTimer: Timer?
  private let log = Log.config
  /// Of the process; nil if the system has no randomness, and then no tickets are given out.
  let ownTicketKeys = TLSTicketKeys()

  init() {}

  /// From now on changes of files are seen, and ticket keys replaced. Without this, secrets are read once.
  func follow(on loop: EventLoop) {
    self.loop = loop
    watches = SecretWatches(loop) { [weak self] in self?.changed($0) }
    rotationTimer = Timer(loop, self)
    rotationTimer?.arm(after: Self.rotation)
  }

  func timerFired(_ tag: UInt8) {
    ownTicketKeys?.rotate()
    rotationTimer?.arm(after: Self.rotation)
  }

  // MARK: Contexts

  /// A configuration is compiled: what an earlier one had begun and nobody has taken is forgotten.
  func beginConfiguration() { pending = [] }

  /// Makes the context of a recipe, and keeps it up to date for as long as somebody has the cell.
  func begin(_ recipe: TLSContextRecipe) throws(SecretProblem) -> TLSContextCell {
    let context = try recipe.make(self)
    recipes.removeAll { $0.cell == nil }
    if let cell = recipes.first(where: { $0.identity == recipe.identity })?.cell {
      recipe.cell = cell
      pending.append((recipe, context))
      return cell
    }
    let cell = TLSContextCell(context)
    recipe.cell = cell
    keep(recipe)
    return cell
  }

  /// The configuration that was compiled last is in force.
  func takeConfiguration() {
    for (recipe, context) in pending {
      recipes.removeAll { $0.identity == recipe.identity }
      recipe.cell?.current = context
      keep(recipe)
    }
    pending = []
  }

  private func keep(_ recipe: TLSContextRecipe) {
    if let context = recipe.cell?.current { recipe.stats.show(recipe.ends(of: context)) }
    recipes.append(recipe)
    for directory in recipe.watchedDirectories { watches?.watch(directory, .recipe(recipe.identity)) }
  }

  /// The content of a secret from a file, as it is there now; if that is no good, as it was when it last was.
  func content(ofFile key: SecretKey) throws(SecretProblem) -> SecretContent {
    do {
      let content = try read(key)
      contents[key] = content
      return content
    } catch {
      guard let last = contents[key] else { throw error }
      log.error("secret \"\(key.name)\": \(error.path): \(error.message); the last good one stays")
      return last
    }
  }

  private func read(_ key: SecretKey) throws(SecretProblem) -> SecretContent {
    guard case .file(let path, let directory) = key.source else {
      throw SecretProblem(path: "", message: "unknown secret \"\(key.name)\"")
    }
    // Watched before it is read, so that no change is missed.
    watches?.watch(file: path, orDirectory: directory, .secret(key))
    let secret = try SecretFile.read(path, name: key.name)
    let below = SecretContent.watchedDirectory(of: secret)
    for file in SecretContent.files(of: secret) { watches?.watch(file: file, orDirectory: below, .secret(key)) }
    return try SecretContent.load(secret)
  }

  // MARK: Changes

  private func changed(_ what: Set<SecretWatches.Subject>) {
    recipes.removeAll { $0.cell == nil }
    var affected: Set<TLSContextRecipe.Identity> = []
    for subject in what {
      switch subject {
      case .recipe(let recipe): affected.insert(recipe)
      case .secret(let key):
        let users = recipes.filter { $0.uses(key) }
        guard !users.isEmpty else {
          contents[key] = nil
          watches?.forget(subject)
          continue
        }
        do {
          contents[key] = try read(key)
          log.info("secret \"\(key.name)\" has been read again")
          for user in users { affected.insert(user.identity) }
        } catch {
          log.error("secret \"\(key.name)\": \(error.path): \(error.message); the last good one stays")
        }
      }
    }
    for recipe in recipes where affected.contains(recipe.identity) { remake(recipe) }
  }

  private func remake(_ recipe: TLSContextRecipe) {
    do {
      let context = try recipe.make(self, isUpdate: true)
      recipe.cell?.current = context
      recipe.stats.factory.lane(recipe.stats.mainLane).add(.updatedBySecret)
      recipe.stats.show(recipe.ends(of: context))
      log.info("\(recipe.owner): new connections have the new TLS context")
    } catch {
      log.error("\(recipe.owner): \(error.path): \(error.message); the last good TLS context stays")
    }
  }

  // MARK: What is shown

  /// Every context that is in use.
  var contexts: [TLSContext] { recipes.compactMap { $0.cell?.current } }

  /// Whole days until the first certificate ends, authorities included; nil if there is none.
  /// - Parameter now: seconds since 1970.
  func daysUntilFirstEnd(at now: Int64) -> Int64? {
    contexts.flatMap { $0.ownCertificates.map(\.facts) + $0.authorities.prefix(1) }.map { $0.daysLeft(at: now) }.min()
  }

  /// The last good content of a secret.
  func known(_ key: SecretKey) -> SecretContent? { contents[key] }
}
