import MeshAPI

/// What a secret is known by: its name and where it comes from.
struct SecretKey: Hashable, Sendable {
  enum Source: Hashable, Sendable {
    /// `static_resources.secrets`.
    case configuration
    /// A file with a `DiscoveryResponse`; `watching` is a directory in which a move means that it has changed, empty
    /// for the file's own.
    case file(String, watching: String)
  }

  var name: String
  var source: Source

  init(name: String, source: Source) {
    self.name = name
    self.source = source
  }

  /// nil if the source is none that there is.
  init?(_ reference: SdsSecretConfig) {
    name = reference.name
    guard reference.hasSdsConfig else {
      source = .configuration
      return
    }
    switch reference.sdsConfig.configSourceSpecifier {
    case .path(let path): source = .file(path, watching: "")
    case .pathConfigSource(let file): source = .file(file.path, watching: file.watchedDirectory.path)
    case nil: return nil
    }
  }
}
