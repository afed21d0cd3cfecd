import MeshAPI

/// Finds the secrets that one TLS context refers to.
struct SecretLookup {
  /// `static_resources.secrets`, by name.
  let configured: [String: SecretContent]
  let store: SecretStore
  /// Files are not read again.
  let isUpdate: Bool

  /// - Parameter path: where the secret is referred to.
  func content(_ reference: SdsSecretConfig, _ path: String) throws(SecretProblem) -> SecretContent {
    guard let key = SecretKey(reference) else {
      throw SecretProblem(path: "\(path).sds_config", message: "must say where the secret comes from")
    }
    if key.source == .configuration {
      if let content = configured[key.name] { return content }
      throw SecretProblem(
        path: "\(path).name", message: "unknown secret \"\(key.name)\" (static_resources.secrets has no such name)")
    }
    if isUpdate, let known = store.known(key) { return known }
    do { return try store.content(ofFile: key) } catch {
      throw SecretProblem(path: path, message: error.path.isEmpty ? error.message : "\(error.path): \(error.message)")
    }
  }
}
