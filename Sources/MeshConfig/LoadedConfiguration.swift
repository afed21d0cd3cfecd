import MeshAPI
import SwiftProtobuf

/// A message that was read, with the text it came from. The text's tree takes a multiple of the text's size: let go of
/// this value, and keep only `message`, when the configuration is in place.
public struct LoadedConfiguration<Content: Message>: Sendable {
  /// What was read.
  public let message: Content
  /// What is doubtful, in the order of the text.
  public let warnings: [ConfigurationProblem]
  let sources: SourceTexts

  /// An error with the part of the message that `path` leads to, with its place in the text. `path` uses the schema's
  /// field names: `static_resources.clusters[0].name`,
  /// `static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].name`,
  /// `typed_per_filter_config["envoy.filters.http.buffer"].disabled`. When it leads beyond what the text says, the place
  /// is the nearest part that is there. For semantic checks made elsewhere, such as a route to an unknown cluster.
  public func problem(
    at path: String, _ message: String, severity: ConfigurationProblem.Severity = .error
  ) -> ConfigurationProblem {
    let place = sources.locate(ConfigurationPath(parsing: path))
    return ConfigurationProblem(
      file: sources.name(place.source), position: place.position, path: path, message: message, severity: severity)
  }
}

/// The bootstrap of this proxy, with the text it came from.
public typealias LoadedBootstrap = LoadedConfiguration<Bootstrap>

extension LoadedConfiguration where Content == Bootstrap {
  /// What was read.
  public var bootstrap: Bootstrap { message }
}

/// One or more texts that make up one message, later ones merged over earlier ones.
struct SourceTexts: Sendable {
  var documents: [SourceDocument]

  func name(_ source: Int) -> String { source < documents.count ? documents[source].file : "" }

  struct Place {
    var source: Int
    var position: SourcePosition?
    /// What the text says there; nil when the position is only that of the nearest part.
    var shown: String?
  }

  /// Finds the text that decides the value at `path`. Lists are joined when messages are merged, so that an index beyond
  /// the items of the first text counts on in the next one; of anything else the last text that has it wins.
  func locate(_ path: ConfigurationPath) -> Place {
    var best = Place(source: 0, position: documents.first.map { $0.position($0.root) })
    var bestSteps = 0
    var steps = path.steps
    for (source, document) in documents.enumerated() {
      let found = document.resolve(steps)
      if found.steps > bestSteps || found.steps == steps.count {
        bestSteps = found.steps
        best = Place(
          source: source, position: document.position(found.node),
          shown: found.steps == steps.count ? document.shown(found.node) : nil)
      }
      if steps.prefix(found.steps).contains(where: \.isIndex) {
        // The item is in this text, and no other text says anything about it.
        break
      }
      if found.steps < steps.count, case .index(let index) = steps[found.steps], document.kind(found.node) == .list {
        steps[found.steps] = .index(index - document.count(found.node))
      }
    }
    return best
  }
}

extension ConfigurationPath.Step {
  fileprivate var isIndex: Bool { if case .index = self { true } else { false } }
}
