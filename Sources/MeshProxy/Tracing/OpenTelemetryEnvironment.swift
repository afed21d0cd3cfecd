import MeshIO
import MeshPrimitives

/// What the environment says of traces, for where the configuration leaves it open (OpenTelemetry specification,
/// "Environment Variable Specification" and "OTLP Exporter Configuration"). What has no sense is left out, with a word
/// in `warnings`. A value; read when a configuration is compiled.
struct OpenTelemetryEnvironment: Sendable {
  private let variable: @Sendable (String) -> String?
  private(set) var warnings: [String] = []

  /// - Parameter variable: the value of a variable; nil: it is not set.
  init(_ variable: @escaping @Sendable (String) -> String? = { CurrentProcess.environment($0) }) {
    self.variable = variable
  }

  /// An empty variable counts as none.
  private func value(_ name: String) -> String? {
    guard let value = variable(name)?.trimmed, !value.isEmpty else { return nil }
    return value
  }

  // MARK: Who this is

  /// `OTEL_SERVICE_NAME`.
  var serviceName: String? { value("OTEL_SERVICE_NAME") }

  /// `OTEL_RESOURCE_ATTRIBUTES`: `key=value,key=value`, both percent-encoded.
  mutating func resourceAttributes() -> [(name: String, value: String)] {
    pairs("OTEL_RESOURCE_ATTRIBUTES")
  }

  /// - Returns: what a variable lists, percent-encoding resolved.
  private mutating func pairs(_ name: String) -> [(name: String, value: String)] {
    guard let text = value(name) else { return [] }
    var pairs: [(name: String, value: String)] = []
    for part in text.split(separator: ",") {
      let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let key = pair.first.map { String($0).trimmed.percentDecoded } ?? ""
      guard pair.count == 2, !key.isEmpty else {
        // Not the text itself: it may be a secret.
        warnings.append("\(name): a part of it is no key=value")
        continue
      }
      pairs.append((key, String(pair[1]).trimmed.percentDecoded))
    }
    return pairs
  }

  // MARK: What is kept

  /// `OTEL_TRACES_SAMPLER` with `OTEL_TRACES_SAMPLER_ARG`; nil: not set, or not known.
  mutating func sampler() -> TraceSampler? {
    guard let name = value("OTEL_TRACES_SAMPLER") else { return nil }
    switch name {
    case "always_on": return .alwaysOn
    case "always_off": return .alwaysOff
    case "traceidratio": return ratio()
    case "parentbased_always_on": return .parentBased(root: .alwaysOn)
    case "parentbased_always_off": return .parentBased(root: .alwaysOff)
    case "parentbased_traceidratio": return .parentBased(root: ratio())
    default:
      warnings.append("OTEL_TRACES_SAMPLER: \"\(name)\" is not known here")
      return nil
    }
  }

  private mutating func ratio() -> TraceSampler {
    guard let text = value("OTEL_TRACES_SAMPLER_ARG") else { return .alwaysOn }
    guard let ratio = Double(text), (0...1).contains(ratio) else {
      warnings.append("OTEL_TRACES_SAMPLER_ARG: \"\(text)\" is no number from 0 to 1")
      return .alwaysOn
    }
    return .ratio(Fraction(UInt32((ratio * 1_000_000).rounded()), of: .million))
  }

  // MARK: Where spans go

  /// A collector that the environment names.
  struct Exporter: Sendable, Equatable {
    var isGRPC: Bool
    /// https.
    var isSecure: Bool
    /// A name or an address, IPv6 without brackets.
    var host: String
    var port: UInt16
    /// Of HTTP.
    var path: String
    var headers: [Header] = []
    /// In milliseconds.
    var timeout: UInt64 = 10_000
    /// File with the authorities that vouch for the collector; nil: the system's.
    var certificates: String?

    struct Header: Sendable, Equatable {
      var name: String
      var value: String
    }

    /// `host`, `:authority`.
    var authority: String {
      let name = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
      return port == (isSecure ? 443 : 80) ? name : "\(name):\(port)"
    }
  }

  /// The variable for traces, or the one for all signals.
  private func exporterValue(_ name: String) -> (name: String, value: String)? {
    for name in ["OTEL_EXPORTER_OTLP_TRACES_\(name)", "OTEL_EXPORTER_OTLP_\(name)"] {
      if let value = value(name) { return (name, value) }
    }
    return nil
  }

  /// What is wrong with a variable without which nothing can be exported.
  struct Problem: Error, Equatable {
    let message: String
  }

  /// The collector; nil if no variable names one.
  mutating func exporter() throws(Problem) -> Exporter? {
    guard let (name, url) = exporterValue("ENDPOINT") else { return nil }
    var isGRPC = false
    if let (variable, text) = exporterValue("PROTOCOL") {
      switch text {
      case "grpc": isGRPC = true
      case "http/protobuf": break
      default:
        throw Problem(message: "the environment's \(variable) is \"\(text)\" (grpc and http/protobuf are supported)")
      }
    }
    guard var exporter = endpoint(url, isGRPC: isGRPC) else {
      throw Problem(message: "the environment's \(name) is no URL of a collector: \"\(url)\"")
    }
    if !isGRPC, name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
      // The base of the paths of all signals.
      exporter.path += exporter.path.hasSuffix("/") ? "v1/traces" : "/v1/traces"
    }
    if let (variable, _) = exporterValue("HEADERS") {
      for (name, value) in pairs(variable) {
        guard name.utf8.allSatisfy(\.isHeaderNameByte), value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
          warnings.append("\(variable): a part of it is no header")
          continue
        }
        exporter.headers.append(.init(name: name.lowercased(), value: value))
      }
    }
    if let (variable, text) = exporterValue("TIMEOUT") {
      if let milliseconds = UInt64(text) {
        exporter.timeout = milliseconds
      } else {
        warnings.append("\(variable): \"\(text)\" is no number of milliseconds")
      }
    }
    exporter.certificates = exporterValue("CERTIFICATE")?.value
    for name in ["COMPRESSION", "CLIENT_CERTIFICATE", "CLIENT_KEY"] {
      if let (variable, text) = exporterValue(name), text != "none" {
        warnings.append("\(variable) is not supported")
      }
    }
    return exporter
  }

  /// - Returns: nil if the text is no URL of http or https, or, for gRPC, host and port alone.
  private func endpoint(_ url: String, isGRPC: Bool) -> Exporter? {
    var rest = Substring(url)
    let isSecure: Bool
    if let scheme = url.range(of: "://") {
      switch url[..<scheme.lowerBound].lowercased() {
      case "http": isSecure = false
      case "https": isSecure = true
      default: return nil
      }
      rest = url[scheme.upperBound...]
    } else {
      guard isGRPC else { return nil }
      isSecure = exporterValue("INSECURE")?.value.lowercased() != "true"
    }
    let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    var path = String(rest[authority.endIndex...].prefix { $0 != "?" && $0 != "#" })
    if path.isEmpty { path = "/" }
    var host = authority
    var port: UInt16 = isSecure ? 443 : 80
    if let colon = authority.lastIndex(of: ":"), !authority.hasSuffix("]") {
      guard let number = UInt16(authority[authority.index(after: colon)...]), number > 0 else { return nil }
      port = number
      host = authority[..<colon]
    }
    if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
    guard !host.isEmpty, host.utf8.allSatisfy({ $0.isHeaderNameByte || $0 == UInt8(ascii: ":") }),
      path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
    else { return nil }
    return Exporter(isGRPC: isGRPC, isSecure: isSecure, host: String(host), port: port, path: path)
  }
}

extension String {
  fileprivate var trimmed: String {
    let isSpace = { (character: Character) in character == " " || character == "\t" }
    return String(drop(while: isSpace).reversed().drop(while: isSpace).reversed())
  }

  /// With percent-encoding resolved; what is no UTF-8 then becomes U+FFFD.
  fileprivate var percentDecoded: String {
    let source = Array(utf8)
    let bytes = [UInt8](unsafeUninitializedCapacity: source.count) { room, count in
      count = source.withUnsafeBufferPointer { $0.percentDecode(into: room) }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Where `text` begins and ends in this; nil: it does not occur.
  fileprivate func range(of text: String) -> Range<Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
      start = index(after: start)
    }
    return nil
  }
}

extension UInt8 {
  /// A character of a token (RFC 9110 §5.6.2).
  fileprivate var isHeaderNameByte: Bool {
    switch self {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
    case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"), 0x27,
      UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "^"),
      UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
      true
    default: false
    }
  }
}
