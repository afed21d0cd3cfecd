import MeshTesting

/// A program of Tests/Peers: real clients and servers, whose packages Tests/requirements.txt pins.
enum PythonPeer {
  private static let known = Monitor<String?>(nil)
  private static let root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(4)
    .joined(separator: "/")

  /// A Python that has the packages: that of .venv, or the one in PATH.
  private static func interpreter() async throws -> String {
    if let known = known.read({ $0 }) { return known }
    for python in [root + "/.venv/bin/python", "python3"] {
      guard let program = try? RunningProgram(python, ["-c", "import grpc, h2, opentelemetry.proto, websockets"]),
        try await program.waitForEnd(within: Deadline(.seconds(60))) == .exited(0)
      else { continue }
      known.change { $0 = python }
      return python
    }
    throw TestFailure("no Python has the packages of Tests/requirements.txt")
  }

  private static func start(_ script: String, _ arguments: [String]) async throws -> RunningProgram {
    try RunningProgram(await interpreter(), ["\(root)/Tests/Peers/\(script)"] + arguments)
  }

  /// Starts a server and waits until it says where it serves.
  static func serve(_ script: String, _ arguments: [String] = []) async throws -> (
    program: RunningProgram, port: UInt16
  ) {
    let program = try await start(script, arguments)
    let port = try await program.waitForOutput("its port", within: Deadline(.seconds(60))) { output -> UInt16? in
      guard let line = output.split(separator: "\n").first(where: { $0.hasPrefix("PORT ") }), output.contains("\n")
      else { return nil }
      return UInt16(line.dropFirst(5))
    }
    return (program, port)
  }

  /// Runs a client to its end, which has to be a good one.
  static func run(_ script: String, _ arguments: [String], within span: Duration = .seconds(100)) async throws {
    _ = try await output(script, arguments, within: span)
  }

  /// The same; returns what the client has printed.
  static func output(
    _ script: String, _ arguments: [String], within span: Duration = .seconds(100)
  ) async throws -> String {
    let program = try await start(script, arguments)
    let ending = try await program.waitForEnd(within: Deadline(span))
    guard ending == .exited(0) else { throw TestFailure("\(script) \(arguments): \(ending)\n\(program.logs)") }
    return program.output
  }
}
