import MeshAPI
import MeshConfig
import MeshIO

/// Reads a secret from a file with a `DiscoveryResponse`.
enum SecretFile {
  /// The secret called `name` in the file at `path`.
  static func read(_ path: String, name: String) throws(SecretProblem) -> Secret {
    let bytes: [UInt8]
    do { bytes = try FileContents.read(path, limit: 16 << 20) } catch {
      throw SecretProblem(path: path, message: error.reason)
    }
    let response: DiscoveryResponse
    do { response = try ConfigurationReader.read(DiscoveryResponse.self, bytes: bytes, file: path).message } catch {
      throw SecretProblem(path: path, message: error.problems.map(\.description).joined(separator: "; "))
    }
    var others: [String] = []
    for (index, resource) in response.resources.enumerated() {
      guard let secret: Secret = try? resource.unpack() else {
        throw SecretProblem(
          path: path, message: "resources[\(index)] is no secret (\(Secret.protoMessageName))")
      }
      if secret.name == name { return secret }
      others.append(secret.name)
    }
    throw SecretProblem(
      path: path,
      message: others.isEmpty
        ? "holds no secret" : "holds no secret \"\(name)\" (\(others.sorted().joined(separator: ", ")))")
  }
}
