import MeshTesting

/// Tests/Peers/span_collector.py: takes spans and decodes them with the formats' own means.
final class SpanCollectorPeer: Sendable {
  private let program: RunningProgram
  let port: UInt16

  private init(_ program: RunningProgram, _ port: UInt16) {
    self.program = program
    self.port = port
  }

  /// - Parameter kind: `http` or `grpc`.
  static func start(_ kind: String, port: UInt16 = 0) async throws -> SpanCollectorPeer {
    let (program, port) = try await PythonPeer.serve("span_collector.py", [kind, "\(port)"])
    return SpanCollectorPeer(program, port)
  }

  /// What it has said: lines that begin with one of `EXPORT`, `SPAN`, `WRONG`.
  func lines(_ kind: String) -> [String] { Self.lines(kind, of: program.output) }

  private static func lines(_ kind: String, of output: String) -> [String] {
    output.split(separator: "\n").filter { $0.hasPrefix(kind + " ") }.map { String($0.dropFirst(kind.count + 1)) }
  }

  /// Waits for the first `count` spans, as JSON.
  func spans(_ count: Int, within deadline: Deadline = Deadline(.seconds(30))) async throws -> [String] {
    try await program.waitForOutput("\(count) spans", within: deadline) { output in
      let spans = Self.lines("SPAN", of: output)
      return spans.count >= count && output.hasSuffix("\n") ? spans : nil
    }
  }
}

/// A collector that does what a test's script says with each export, over HTTP.
final class ScriptedCollector: Sendable {
  private let server: ScriptedServer
  private let state = Monitor((bodies: [[UInt8]](), count: 0))

  /// - Parameter answer: called with the number of the export, from 0; true: the connection goes on.
  init(
    port: UInt16 = 0, _ answer: @escaping @Sendable (RawConnection, _ export: Int, RawRequest) throws -> Bool
  ) throws {
    let state = state
    server = try ScriptedServer(port: port) { connection, _ in
      while let request = try? connection.receiveRequest(within: Deadline(.seconds(60))) {
        let number = state.change { state in
          state.bodies.append(request.body)
          state.count += 1
          return state.count - 1
        }
        guard try answer(connection, number, request) else { return }
      }
    }
  }

  var port: UInt16 { server.port }
  /// How many exports have come.
  var count: Int { state.read { $0.count } }
  var bodies: [[UInt8]] { state.read { $0.bodies } }
  func stop() { server.stop() }
}
