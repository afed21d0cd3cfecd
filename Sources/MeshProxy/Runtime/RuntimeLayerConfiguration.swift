import MeshAPI
import MeshPrimitives
import SwiftProtobuf

/// A layer of the runtime as the configuration describes it (`envoy.config.bootstrap.v3.RuntimeLayer`), checked.
struct RuntimeLayerConfiguration: Sendable, Equatable {
  enum Source: Sendable, Equatable {
    /// `static_layer`.
    case fixed([String: RuntimeEntry])
    /// `disk_layer`.
    case disk(Disk)
    /// `admin_layer`.
    case admin
  }

  /// Where a disk layer's files are.
  struct Disk: Sendable, Hashable {
    /// The symbolic link that is renamed into place, without a slash at its end.
    let link: String
    /// Below the link's target; empty: the target itself.
    let subdirectory: String
    let appendsServiceCluster: Bool

    /// The directory whose files are the keys.
    func directory(serviceCluster: String) -> String {
      var path = link
      if !subdirectory.isEmpty { path += "/\(subdirectory)" }
      if appendsServiceCluster, !serviceCluster.isEmpty { path += "/\(serviceCluster)" }
      return path
    }

    /// The directory in which the link is replaced.
    var parent: String {
      guard let slash = link.lastIndex(of: "/") else { return "." }
      return slash == link.startIndex ? "/" : String(link[..<slash])
    }

    /// The link's name in that directory.
    var name: String { link.split(separator: "/").last.map(String.init) ?? link }
  }

  let name: String
  let source: Source

  /// Compiles the layers of a configuration.
  /// - Parameter report: takes what is wrong, with its place below `layered_runtime`.
  static func compile(
    _ runtime: LayeredRuntime, report: (_ path: String, _ message: String) -> Void
  ) -> [RuntimeLayerConfiguration] {
    var result: [RuntimeLayerConfiguration] = []
    var firstOfName: [String: Int] = [:]
    var firstAdmin: Int?
    for (index, layer) in runtime.layers.enumerated() {
      let path = "layers[\(index)]"
      if let first = firstOfName[layer.name] {
        report("\(path).name", "\"\(layer.name)\" is the name of layers[\(first)] already (names must be unique)")
      } else {
        firstOfName[layer.name] = index
      }
      switch layer.layerSpecifier {
      case .staticLayer(let values):
        var entries: [String: RuntimeEntry] = [:]
        for (key, value) in values.fields {
          flatten(value, key, "\(path).static_layer[\"\(key)\"]", into: &entries, report)
        }
        result.append(.init(name: layer.name, source: .fixed(entries)))
      case .diskLayer(let disk):
        var link = disk.symlinkRoot
        while link.count > 1, link.hasSuffix("/") { link.removeLast() }
        if link.isEmpty || link == "/" {
          report("\(path).disk_layer.symlink_root", "must be the path of a symbolic link")
        }
        result.append(
          .init(
            name: layer.name,
            source: .disk(
              .init(
                link: link, subdirectory: disk.subdirectory, appendsServiceCluster: disk.appendServiceCluster))))
      case .adminLayer:
        if let firstAdmin {
          report(
            "\(path).admin_layer", "layers[\(firstAdmin)] is an admin layer already (there may be at most one)")
        }
        firstAdmin = firstAdmin ?? index
        result.append(.init(name: layer.name, source: .admin))
      case nil:
        report(path, "must be a static_layer, a disk_layer or an admin_layer")
      }
    }
    return result
  }

  /// Envoy's rules: a mapping with `numerator` or `denominator` is a fraction, other mappings are parts of keys.
  private static func flatten(
    _ value: Google_Protobuf_Value, _ key: String, _ path: String, into entries: inout [String: RuntimeEntry],
    _ report: (_ path: String, _ message: String) -> Void
  ) {
    var entry: RuntimeEntry?
    switch value.kind {
    case .numberValue(let number):
      let isWhole = number.rounded() == number && abs(number) < 1e15
      entry = RuntimeEntry(isWhole ? "\(Int64(number))" : "\(number)")
    case .boolValue(let value): entry = RuntimeEntry(value ? "true" : "false")
    case .stringValue(let text): entry = RuntimeEntry(text)
    case .structValue(let mapping) where mapping.fields["numerator"] != nil || mapping.fields["denominator"] != nil:
      guard let fraction = Self.fraction(mapping) else {
        return report(
          path, "must have a numerator (0 to 4294967295) and a denominator (HUNDRED, TEN_THOUSAND, MILLION), no more")
      }
      entry = fraction
    case .structValue(let mapping):
      for (name, value) in mapping.fields {
        flatten(value, "\(key).\(name)", "\(path)[\"\(name)\"]", into: &entries, report)
      }
      return
    case .listValue, .nullValue, nil:
      return report(path, "must be a number, a boolean, text, a fraction or a mapping of such values")
    }
    if entries.updateValue(entry ?? RuntimeEntry(""), forKey: key) != nil {
      report(path, "\"\(key)\" is given twice in this layer")
    }
  }

  private static func fraction(_ mapping: StructValue) -> RuntimeEntry? {
    var numerator: UInt32 = 0
    var denominator = Fraction.Denominator.hundred
    var name = "HUNDRED"
    for (key, value) in mapping.fields {
      switch (key, value.kind) {
      case ("numerator", .numberValue(let number)):
        guard let exact = UInt32(exactly: number) else { return nil }
        numerator = exact
      case ("denominator", .stringValue(let text)):
        guard let known = Fraction.Denominator(name: text) else { return nil }
        (denominator, name) = (known, text)
      default: return nil
      }
    }
    return RuntimeEntry(
      Fraction(numerator, of: denominator), text: "{\"numerator\":\(numerator),\"denominator\":\"\(name)\"}")
  }
}
