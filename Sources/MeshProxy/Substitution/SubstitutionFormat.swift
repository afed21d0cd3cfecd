import MeshHTTP
import MeshIO
import MeshPrimitives
import SwiftProtobuf

/// Why a format is not understood.
public struct FormatProblem: Error, Equatable, Sendable, CustomStringConvertible {
  /// Where in the text, in bytes.
  public let offset: Int
  /// What is wrong there, what is allowed, and what was probably meant.
  public let message: String
  /// In a JSON format, which of its strings this is about: `.address.port`, `.list[2]`. Empty otherwise.
  public var path: String

  public init(offset: Int, message: String, path: String = "") {
    self.offset = offset
    self.message = message
    self.path = path
  }

  /// `at byte 17: …`
  public var description: String { "at byte \(offset): \(message)" }
}

/// Text with operators (`%REQ(:METHOD)%`), compiled once, in Envoy's language
/// (`envoy.config.core.v3.SubstitutionFormatString`): the lines of access logs, the values of headers, the bodies of
/// local replies. `docs/access-log.md` lists the operators. Immutable; shared by all threads.
public struct SubstitutionFormat: Sendable {
  /// What a format's output is for, which decides what happens to bytes that peers have chosen, and what stands for a
  /// value that is not known.
  public enum Use: Sendable {
    /// A line of an access log: such bytes are escaped (see `SubstitutionOutput`), an unknown value is `-`.
    case accessLog
    /// The value of a header: such bytes stay (a `HeaderMap` keeps control characters out), an unknown value is nothing.
    case headerValue
    /// Text for a client: such bytes stay, an unknown value is `-`.
    case body
  }

  /// Envoy's default line.
  public static let defaultText =
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% "
    + "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    + "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" "
    + "\"%UPSTREAM_HOST%\"\n"

  /// One thing to write. Plain bits, so that walking the steps touches no reference count.
  struct Step {
    enum Action: UInt8 {
      /// Text that is the same every time.
      case text
      /// A value as text; `-` if it is not known.
      case value
      /// A value as text; nothing if it is not known.
      case valueOrNothing
      /// A value as JSON of its own type; `null` if it is not known.
      case json
      /// As `json`; takes back everything since the last `member` if the value is not known.
      case jsonOrNothing
      /// The beginning of an object's member or an array's element that may be taken back: a comma if it is not the
      /// first, then this text.
      case member
      /// `{` of an object that is taken back, with its `member`, if it stays empty.
      case open
      case close
    }

    var action: Action
    /// What is written.
    var operation: SubstitutionOperator = .unknown
    /// The header and the one to take in its absence, if they are interned.
    var name = HeaderID.other
    var alternative = HeaderID.other
    /// The place of the text in `texts`, of a header that is not interned in `names`, of a time format in `times`, of a
    /// metadata key or query parameter in `keys`, of a group in `groups`; a mask; time points; -1: none.
    var index: Int32 = -1
    /// The place of the alternative header in `names`; -1: there is none, or it is interned.
    var alternativeIndex: Int32 = -1
    /// How many bytes of text, or how many of a value at most.
    var length: UInt32 = .max
  }

  /// The steps and what they refer to.
  final class Program: Sendable {
    let steps: [Step]
    /// Whether there are only texts and values.
    let isPlain: Bool
    let escaping: SubstitutionOutput.Escaping
    /// How deep objects that may be taken back lie in each other.
    let depth: Int
    /// The texts, one behind the other, with 16 bytes behind the last that may be read.
    let texts: [UInt8]
    let names: [HeaderName]
    let times: [SubstitutionTimeFormat]
    let keys: [[String]]
    /// The alternatives of `%COALESCE%`.
    let groups: [[Step]]

    init(
      steps: [Step], escaping: SubstitutionOutput.Escaping, depth: Int, texts: [UInt8], names: [HeaderName],
      times: [SubstitutionTimeFormat], keys: [[String]], groups: [[Step]]
    ) {
      self.steps = steps
      isPlain = steps.allSatisfy { $0.action == .text || $0.action == .value }
      self.escaping = escaping
      self.depth = depth
      self.texts = texts
      self.names = names
      self.times = times
      self.keys = keys
      self.groups = groups
    }
  }

  let program: Program

  /// Compiles a format. Nothing is appended to what the text says: the line of a log ends with its own line feed.
  /// - Parameters:
  ///   - text: the format. At most 65,536 bytes.
  ///   - use: what the output is for.
  ///   - omitsEmpty: an unknown value is nothing instead of `-` (`omit_empty_values`).
  ///   - environment: what `%ENVIRONMENT(NAME)%` is, asked once, here.
  ///   - hostName: what `%HOSTNAME%` is.
  public static func compile(
    _ text: String, for use: Use = .accessLog, omitsEmpty: Bool = false,
    environment: @escaping (String) -> String? = { CurrentProcess.environment($0) },
    hostName: @autoclosure () -> String = CurrentProcess.hostName
  ) -> Result<SubstitutionFormat, FormatProblem> {
    var compiler = SubstitutionCompiler(
      escaping: use == .accessLog ? .log : .none, omitsEmpty: omitsEmpty || use == .headerValue,
      environment: environment, hostName: hostName())
    do {
      try compiler.add(Array(text.utf8))
      return .success(SubstitutionFormat(program: compiler.program))
    } catch {
      return .failure(error)
    }
  }

  /// Compiles a JSON format: an object whose strings are formats. Each line of the output is one object. Members are
  /// sorted by name; a string that is one operator becomes a value of the operator's type, or `null` if it is not known;
  /// any other string with operators stays a string.
  /// - Parameters:
  ///   - structure: the object. At most 65,536 bytes of JSON, 32 levels deep.
  ///   - omitsEmpty: leaves members out whose value is not known, and objects that are empty then.
  public static func compile(
    json structure: Google_Protobuf_Struct, omitsEmpty: Bool = false,
    environment: @escaping (String) -> String? = { CurrentProcess.environment($0) },
    hostName: @autoclosure () -> String = CurrentProcess.hostName
  ) -> Result<SubstitutionFormat, FormatProblem> {
    var compiler = SubstitutionCompiler(
      escaping: .json, omitsEmpty: omitsEmpty, environment: environment, hostName: hostName())
    do {
      try compiler.add(structure)
      return .success(SubstitutionFormat(program: compiler.program))
    } catch {
      return .failure(error)
    }
  }

  /// The default line, compiled.
  public static let standard: SubstitutionFormat = {
    switch compile(defaultText) {
    case .success(let format): return format
    case .failure(let problem): preconditionFailure("the default format: \(problem)")
    }
  }()

  /// What is written if it is the same every time; nil if there is an operator to evaluate. Whoever has a faster way to
  /// write literals asks once, when its configuration is compiled.
  public var literal: [UInt8]? {
    guard program.steps.allSatisfy({ $0.action == .text }) else { return nil }
    return program.steps.reduce(into: []) { $0 += program.texts[Int($1.index)..<Int($1.index) + Int($1.length)] }
  }
}
