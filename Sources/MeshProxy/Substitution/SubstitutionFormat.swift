import MeshHTTP
import MeshIO
import MeshPrimitives

/// Why a format is not understood.
public struct FormatProblem: Error, Equatable, Sendable, CustomStringConvertible {
  /// Where in the text, in bytes.
  public let offset: Int
  /// What is wrong there, what is allowed, and what was probably meant.
  public let message: String

  public init(offset: Int, message: String) {
    self.offset = offset
    self.message = message
  }

  /// `at byte 17: …`
  public var description: String { "at byte \(offset): \(message)" }
}

/// What a line is made from: a stream, or whatever stands for one.
protocol SubstitutionSource: AnyObject {
  var info: StreamInfo { get }
  var requestHeaders: HeaderMap { get }
  var responseHeaders: HeaderMap? { get }
}

extension Stream: SubstitutionSource {}

/// The format of an access log's lines: text with operators (`%REQ(:METHOD)%`), compiled once, in Envoy's language
/// (`envoy.config.core.v3.SubstitutionFormatString.text_format_source`). `docs/access-log.md` lists the operators.
///
/// Nothing is appended to what the text says: it ends with its own line feed. A value that is not known is written as
/// `-`, an empty one as nothing. What peers say is escaped; see `SubstitutionOutput`. Immutable; shared by all threads.
public struct SubstitutionFormat: Sendable {
  /// Envoy's default line.
  public static let defaultText =
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% "
    + "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    + "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" "
    + "\"%UPSTREAM_HOST%\"\n"

  /// One thing to write. Plain bits, so that walking the steps touches no reference count.
  struct Step {
    /// What is written; nil for text that is the same in every line.
    var operation: SubstitutionOperator?
    /// The header and the one to take in its absence, if they are interned.
    var name = HeaderID.other
    var alternative = HeaderID.other
    /// The place of the text in `texts`, of a header that is not interned in `names`, of a time format in `times`, of a
    /// metadata key in `keys`; -1: none.
    var index: Int32 = -1
    /// The place of the alternative header in `names`; -1: there is none, or it is interned.
    var alternativeIndex: Int32 = -1
    /// How many bytes of text, or how many of a value at most.
    var length: UInt32 = .max
  }

  /// The steps and what they refer to.
  final class Program: Sendable {
    let steps: [Step]
    /// The texts, one behind the other, with 16 bytes behind the last that may be read.
    let texts: [UInt8]
    let names: [HeaderName]
    let times: [SubstitutionTimeFormat]
    let keys: [String]

    init(
      steps: [Step], texts: [UInt8], names: [HeaderName], times: [SubstitutionTimeFormat], keys: [String]
    ) {
      self.steps = steps
      self.texts = texts
      self.names = names
      self.times = times
      self.keys = keys
    }
  }

  let program: Program

  /// Compiles a format.
  /// - Parameters:
  ///   - text: the format. At most 65,536 bytes.
  ///   - environment: what `%ENVIRONMENT(NAME)%` is, asked once, here.
  ///   - hostName: what `%HOSTNAME%` is.
  public static func compile(
    _ text: String, environment: (String) -> String? = { CurrentProcess.environment($0) },
    hostName: @autoclosure () -> String = CurrentProcess.hostName
  ) -> Result<SubstitutionFormat, FormatProblem> {
    var compiler = SubstitutionCompiler(Array(text.utf8))
    do {
      return .success(SubstitutionFormat(program: try compiler.compile(environment, hostName)))
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
}
