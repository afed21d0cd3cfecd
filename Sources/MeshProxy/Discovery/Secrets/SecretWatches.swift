import MeshIO
import MeshPrimitives

/// The directories in which a move may mean that a secret has changed. Confined to the main thread.
final class SecretWatches {
  /// Who wants to know.
  enum Subject: Hashable {
    case secret(SecretKey)
    case recipe(TLSContextRecipe.Identity)
  }

  private final class Watched {
    var watch: DirectoryWatch?
    /// For each subject the names that matter; nil: all.
    var subjects: [Subject: Set<String>?] = [:]
  }

  private let loop: EventLoop
  private let report: (Set<Subject>) -> Void
  private var directories: [String: Watched] = [:]
  /// What has changed and is not reported yet.
  private var changed: Set<Subject> = []

  /// - Parameter report: called on the loop's thread, once for all that changed at one time.
  init(_ loop: EventLoop, _ report: @escaping (Set<Subject>) -> Void) {
    self.loop = loop
    self.report = report
  }

  deinit { for watched in directories.values { watched.watch?.close() } }

  /// Any move into the directory is a change of the subject.
  func watch(_ directory: String, _ subject: Subject) { add(directory, nil, subject) }

  /// A move of the file is a change of the subject; where `directory` is not empty, any move into that.
  func watch(file: String, orDirectory directory: String, _ subject: Subject) {
    if !directory.isEmpty { return add(directory, nil, subject) }
    let slash = file.lastIndex(of: "/")
    let parent = slash.map { String(file[..<$0]) } ?? "."
    let name = slash.map { String(file[file.index(after: $0)...]) } ?? file
    add(parent.isEmpty ? "/" : parent, name, subject)
  }

  /// The subject is gone.
  func forget(_ subject: Subject) {
    for (directory, watched) in directories {
      watched.subjects[subject] = nil
      guard watched.subjects.isEmpty else { continue }
      watched.watch?.close()
      directories[directory] = nil
    }
  }

  private func add(_ directory: String, _ name: String?, _ subject: Subject) {
    let watched = directories[directory] ?? Watched()
    if watched.watch == nil {
      do {
        watched.watch = try DirectoryWatch(directory, loop: loop) { [weak self] in self?.happened($0, in: directory) }
      } catch {
        Log.config.warning("changes of secrets in \(directory) are not seen: \(error)")
      }
    }
    directories[directory] = watched
    if let name, let names = watched.subjects[subject] ?? [] {
      watched.subjects[subject] = .some(names.union([name]))
    } else {
      watched.subjects[subject] = .some(nil)
    }
  }

  private func happened(_ event: DirectoryWatch.Event, in directory: String) {
    guard let watched = directories[directory] else { return }
    switch event {
    case .moved(let name):
      for (subject, names) in watched.subjects where names?.contains(name) ?? true { note(subject) }
    case .overflow:
      for subject in watched.subjects.keys { note(subject) }
    case .gone:
      // Perhaps there is another one in its place: whoever reads the secret again watches that.
      watched.watch?.close()
      watched.watch = nil
      for subject in watched.subjects.keys { note(subject) }
    }
  }

  /// Several files of one secret are moved one after the other: they are read when all that is there was seen.
  private func note(_ subject: Subject) {
    if changed.isEmpty {
      loop.defer { [weak self] in
        guard let self else { return }
        let all = changed
        changed = []
        report(all)
      }
    }
    changed.insert(subject)
  }
}
