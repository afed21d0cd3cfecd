import MeshIO
import MeshPrimitives

/// Keeps the process's runtime values up to date: reads disk layers again when their link is replaced, and takes changes
/// from the admin interface. Confined to the main thread.
final class RuntimeLoader {
  fileprivate struct Watched {
    let watch: DirectoryWatch
    /// Made for the configuration that is being prepared.
    let isNew: Bool
    /// The links in the directory.
    var names: Set<String> = []
  }

  private let runtime: Runtime
  private let loop: EventLoop
  private let stats: StatLane<RuntimeStat>
  private let log: Log
  private var serviceCluster = ""
  private var configuration: [RuntimeLayerConfiguration] = []
  /// What a disk layer's directory held when it could last be read.
  private var lastGood: [RuntimeLayerConfiguration.Disk: [String: RuntimeEntry]] = [:]
  private var overrides: [String: RuntimeEntry] = [:]
  /// By directory.
  private var watches: [String: Watched] = [:]
  private var isLoadScheduled = false

  /// - Parameter lane: the statistics' lane of the main thread.
  init(_ runtime: Runtime, loop: EventLoop, store: StatsStore, lane: Int, log: Log = .main) {
    self.runtime = runtime
    self.loop = loop
    self.log = log
    stats = store.scope("runtime", prometheus: PrometheusScope("envoy_runtime"), RuntimeStat.self).lane(lane)
  }

  deinit { for watched in watches.values { watched.watch.close() } }

  /// The layers of the configuration in force, in order, with their values: disk layers that are missing are left out.
  var layers: [Runtime.Layer] { runtime.layers }

  /// The layers of a new configuration, with everything that could fail done. Let go of it, and nothing has happened.
  final class Preparation {
    fileprivate let layers: [RuntimeLayerConfiguration]
    fileprivate var watches: [String: Watched]
    fileprivate var isTaken = false

    fileprivate init(_ layers: [RuntimeLayerConfiguration]) {
      self.layers = layers
      watches = [:]
    }

    deinit {
      guard !isTaken else { return }
      for watched in watches.values where watched.isNew { watched.watch.close() }
    }
  }

  /// Watches what the layers of a new configuration need watched.
  /// - Throws: if a disk layer's directory cannot be.
  func prepare(_ layers: [RuntimeLayerConfiguration]) throws(SystemError) -> Preparation {
    let preparation = Preparation(layers)
    for case .disk(let disk) in layers.map(\.source) {
      let directory = disk.parent
      if preparation.watches[directory] == nil {
        if let known = watches[directory] {
          preparation.watches[directory] = Watched(watch: known.watch, isNew: false)
        } else {
          let watch = try DirectoryWatch(directory, loop: loop) { [weak self] in self?.happened($0, in: directory) }
          preparation.watches[directory] = Watched(watch: watch, isNew: true)
        }
      }
      preparation.watches[directory]?.names.insert(disk.name)
    }
    return preparation
  }

  /// Takes the layers. What was set through the admin interface stays, if there still is a layer for it.
  func apply(_ preparation: Preparation, serviceCluster: String) {
    preparation.isTaken = true
    for (directory, watched) in watches where preparation.watches[directory] == nil { watched.watch.close() }
    watches = preparation.watches
    configuration = preparation.layers
    self.serviceCluster = serviceCluster
    if !hasAdminLayer { overrides = [:] }
    load()
  }

  /// Whether `POST /runtime_modify` has a layer to write to.
  var hasAdminLayer: Bool { configuration.contains { $0.source == .admin } }

  /// Sets keys in the admin layer; an empty value takes the key out of it.
  /// - Returns: false if there is no admin layer.
  func modify(_ changes: [(name: String, value: String)]) -> Bool {
    guard hasAdminLayer else { return false }
    for (name, value) in changes { overrides[name] = value.isEmpty ? nil : RuntimeEntry(value) }
    load(readsDisk: false)
    return true
  }

  private func happened(_ event: DirectoryWatch.Event, in directory: String) {
    switch event {
    case .moved(let name): if watches[directory]?.names.contains(name) != true { return }
    case .overflow: break
    case .gone:
      log.warning("runtime: \(directory) is gone; changes of the runtime's files are no longer seen")
      watches.removeValue(forKey: directory)?.watch.close()
      return
    }
    // Several renames in a row are one change.
    guard !isLoadScheduled else { return }
    isLoadScheduled = true
    loop.defer { [weak self] in
      self?.isLoadScheduled = false
      self?.load()
    }
  }

  private func load(readsDisk: Bool = true) {
    var layers: [Runtime.Layer] = []
    var good: [RuntimeLayerConfiguration.Disk: [String: RuntimeEntry]] = [:]
    var hasFailed = false
    for layer in configuration {
      switch layer.source {
      case .fixed(let entries): layers.append(.init(name: layer.name, entries: entries))
      case .admin: layers.append(.init(name: layer.name, entries: overrides))
      case .disk(let disk):
        do throws(RuntimeDirectory.Failure) {
          good[disk] =
            try readsDisk
            ? RuntimeDirectory.read(disk.directory(serviceCluster: serviceCluster)) : lastGood[disk]
        } catch {
          if case .missing = error {
          } else {
            hasFailed = true
            good[disk] = lastGood[disk]
            log.error("runtime: layer \(layer.name) is not read again, its values stay as they were: \(error)")
          }
        }
        if let entries = good[disk] { layers.append(.init(name: layer.name, entries: entries)) }
      }
    }
    lastGood = good
    runtime.update(layers)
    count(layers, hasFailed: hasFailed)
  }

  private func count(_ layers: [Runtime.Layer], hasFailed: Bool) {
    stats.add(hasFailed ? .loadError : .loadSuccess)
    stats.add(lastGood.isEmpty ? .overrideDirectoryMissing : .overrideDirectoryExists)
    stats.set(.layers, Int64(layers.count))
    stats.set(.keys, Int64(Set(layers.flatMap(\.entries.keys)).count))
    stats.set(.adminOverridesActive, overrides.isEmpty ? 0 : 1)
  }
}
