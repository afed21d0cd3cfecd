import MeshAPI
import SwiftProtobuf

/// Reads configurations strictly: everything that is not understood is an error, all errors are reported at once, each
/// with its file, line, column and path.
public enum ConfigurationReader {
  /// How many problems are listed at most; what lies beyond is counted.
  public static let problemLimit = 100
  /// Longest configuration file, in bytes.
  public static let fileLimit = 64 << 20
  /// Deep enough for `YAMLParser.depthLimit` levels of `google.protobuf.Struct`, which takes three messages a level.
  static let messageDepthLimit = 256

  /// Reads the bootstrap from a file, from text, or from both: the text is then merged over the file as protobuf merges
  /// messages (lists are joined, other values replaced). `yaml` is what `--config-yaml` gives, and is called so in
  /// messages; when empty it counts as not given.
  public static func readBootstrap(
    path: String?, yaml: String?
  ) throws(ConfigurationErrors) -> LoadedBootstrap {
    var texts: [(file: String, bytes: [UInt8])] = []
    if let path {
      do { texts.append((path, try FileReader.read(path, limit: fileLimit))) } catch {
        throw ConfigurationErrors(problems: [ConfigurationProblem(file: path, message: error.message)])
      }
    }
    if let yaml, !yaml.isEmpty { texts.append(("--config-yaml", Array(yaml.utf8))) }
    guard !texts.isEmpty else {
      throw ConfigurationErrors(problems: [
        ConfigurationProblem(file: "", message: "there is no configuration (give --config-path or --config-yaml)")
      ])
    }
    return try read(Bootstrap.self, texts)
  }

  /// Reads any message of the schema from YAML or JSON. `file` names the text in messages.
  public static func read<M: Message>(
    _ type: M.Type, bytes: [UInt8], file: String
  ) throws(ConfigurationErrors) -> LoadedConfiguration<M> {
    try read(type, [(file, bytes)])
  }

  private static func read<M: Message>(
    _ type: M.Type, _ texts: [(file: String, bytes: [UInt8])]
  ) throws(ConfigurationErrors) -> LoadedConfiguration<M> {
    let schema = Schema.embedded()
    guard let root = schema.message(named: M.protoMessageName) else {
      throw ConfigurationErrors(problems: [
        ConfigurationProblem(file: texts[0].file, message: "\(M.protoMessageName) is not in the schema")
      ])
    }
    var documents: [SourceDocument] = []
    var syntax: [ConfigurationProblem] = []
    for text in texts {
      do { documents.append(try YAMLParser.parse(text.bytes, file: text.file)) } catch { syntax.append(error) }
    }
    guard syntax.isEmpty else { throw ConfigurationErrors(problems: syntax) }

    var findings = Findings(limit: problemLimit)
    var wires: [[UInt8]] = []
    for (source, document) in documents.enumerated() {
      var transcoder = Transcoder(schema: schema, document: document, source: source, findings: findings)
      transcoder.run(root)
      findings = transcoder.findings
      wires.append(transcoder.wire.bytes)
    }
    var message = M()
    var options = BinaryDecodingOptions()
    options.messageDepthLimit = messageDepthLimit
    do {
      for wire in wires { try message.merge(serializedBytes: wire, options: options) }
      // Merged messages must be written anew, so that each single field is there once.
      if wires.count > 1 { wires = [try message.serializedBytes()] }
    } catch {
      let problem = ConfigurationProblem(file: texts[0].file, message: "cannot be decoded: \(error)")
      throw ConfigurationErrors(problems: [problem])
    }
    let sources = SourceTexts(documents: documents)
    // Beyond the limit nothing more would be listed.
    if findings.uncounted == 0 { validate(wires[0], root, schema, sources, &findings) }

    let sorted = findings.all.enumerated().sorted { a, b in
      let (x, y) = (a.element, b.element)
      if x.source != y.source { return x.source < y.source }
      if let p = x.position, let q = y.position, p != q { return p < q }
      return a.offset < b.offset
    }
    var errors: [ConfigurationProblem] = []
    var warnings: [ConfigurationProblem] = []
    for (_, finding) in sorted {
      let problem = ConfigurationProblem(
        file: sources.name(finding.source), position: finding.position, path: finding.path.description,
        message: finding.message, severity: finding.severity)
      if finding.severity == .error { errors.append(problem) } else { warnings.append(problem) }
    }
    guard errors.isEmpty else {
      if findings.uncounted > 0 {
        errors.append(ConfigurationProblem(file: texts[0].file, message: "… and at least \(findings.uncounted) more"))
      }
      throw ConfigurationErrors(problems: errors)
    }
    return LoadedConfiguration(message: message, warnings: warnings, sources: sources)
  }

  /// Adds what the values mean together, except where a problem found before explains it.
  private static func validate(
    _ wire: [UInt8], _ root: Int, _ schema: Schema, _ sources: SourceTexts, _ findings: inout Findings
  ) {
    var explained = Set<String>()
    var mistyped = Set<String>()
    for finding in findings.all where finding.severity == .error {
      explained.insert(finding.path.description)
      if finding.covers == .siblings { mistyped.insert(ConfigurationPath(finding.path.steps.dropLast()).description) }
    }
    var found = findings
    var validator = WireValidator(schema: schema) { kind, path, message in
      if !explained.isEmpty {
        for count in 0...path.steps.count
        where explained.contains(ConfigurationPath(Array(path.steps.prefix(count))).description) {
          return
        }
      }
      let parent = kind == .missing ? ConfigurationPath(path.steps.dropLast()) : path
      if kind == .missing || kind == .missingMember, mistyped.contains(parent.description) { return }
      let place = sources.locate(path)
      let given = kind == .missing ? place.shown.map { "; here it is \($0)" } ?? "" : ""
      found.add(
        Findings.Finding(
          source: place.source, position: place.position, path: path,
          message: message + given,
          severity: kind == .doubtful ? .warning : .error))
    }
    wire.withUnsafeBytes { validator.validate($0, root) }
    findings = found
  }
}
