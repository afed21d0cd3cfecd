import MeshIO
import MeshPrimitives
public struct AccessLogConfiguration: Sendable { let file: AccessLogFile; let format: SubstitutionFormat }
public struct FormatProblem: Error { var description = "" }
public struct SubstitutionFormat: Sendable { static let defaultText = ""; static func compile(_ t: String) -> Result<SubstitutionFormat, FormatProblem> { .success(.init()) } }
public final class AccessLogFile: Sendable {}
final class AccessLogFiles { init(flushInterval: Nanoseconds, opensFiles: Bool = true) {}; func file(_ p: String) throws -> AccessLogFile { AccessLogFile() }; func reopenAll() {}; func flushAndWait() {} }
final class AccessLogBuffer { init(file: AccessLogFile, loop: EventLoop) {}; func flush() {} }
struct AccessLogLane { init(_ c: AccessLogConfiguration, _ w: Worker) {}; func write(_ s: Stream) {} }
final class AdminServer { init(loop: EventLoop, context: Proxy, descriptors: [Int32], address: SocketAddress) {}; func startAccepting() {} }
