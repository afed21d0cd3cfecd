import MeshIO

/// `envoy.resource_monitors.injected_resource`: a file says what the pressure is.
final class InjectedMonitor: ResourceMonitor {
  private let path: String

  init(path: String) { self.path = path }

  func pressure() throws(ResourceFailure) -> Double {
    let text: String
    do { text = try FileContents.text(path, limit: 4096) } catch { throw ResourceFailure(reason: "\(error)") }
    let word = text.split(whereSeparator: \.isWhitespace).first.map(String.init) ?? ""
    guard let value = Double(word) else { throw ResourceFailure(reason: "\(path) holds no number") }
    guard value >= 0, value <= 1 else { throw ResourceFailure(reason: "\(path) holds no number from 0 to 1") }
    return value
  }
}
