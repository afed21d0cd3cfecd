import Glibc
import MeshTesting
import Testing

/// The support that other tests lean on, leaned on itself.
@Suite("Test support", .timeLimit(.minutes(1)))
struct TestSupportTests {
  @Test("a program's output and ending can be waited for")
  func program() async throws {
    let program = try RunningProgram(
      "sh", ["-c", "echo out; echo err >&2; echo \"$WORD\"; pwd; exit 3"],
      environment: ["WORD": "chosen"], directory: "/usr")
    #expect(try await program.waitForEnd() == .exited(3))
    try await program.waitForOutput("chosen\n/usr\n")
    try await program.waitForOutput("err")
    await #expect(throws: TestFailure.self) { try await program.waitForOutput("never") }
    let port = try await program.waitForOutput("a word") { $0.contains("out") ? 7 : nil }
    #expect(port == 7)
  }

  @Test("a wait ends at its deadline, and a program that nobody wants any more is killed and reaped")
  func deadline() async throws {
    var program: RunningProgram? = try RunningProgram("sleep", ["1000"])
    await #expect(throws: TestFailure.self) {
      try await program?.waitForOutput("never", within: Deadline(.milliseconds(50)))
    }
    let id = try #require(program?.id)
    program = nil
    #expect(kill(id, 0) == -1 && errno == ESRCH)
  }

  @Test("listening sockets arrive as sd_listen_fds(3) describes")
  func listenDescriptors() async throws {
    let first = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    let second = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    defer {
      close(first)
      close(second)
    }
    let script = "test $LISTEN_PID = $$ && test $LISTEN_FDS = 2 && readlink /proc/$$/fd/3 /proc/$$/fd/4"
    let program = try RunningProgram("sh", ["-c", script], listenSockets: [second, first])
    #expect(try await program.waitForEnd() == .exited(0))
    #expect(program.output.split(separator: "\n").count == 2)
  }

  @Test("a scripted server and a raw connection understand each other")
  func connection() async throws {
    let server = try ScriptedServer { connection, number in
      let request = try connection.receive(through: "\r\n\r\n")
      if number == 0 {
        try connection.send(
          "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-end: yes\r\n\r\n")
        #expect(try connection.receiveToEnd().isEmpty)
      } else {
        #expect(request.hasPrefix("GET"))
        connection.reset()
      }
    }
    let port = server.port
    try await blocking {
      let client = try RawConnection(port: port)
      try client.send("GET / HTTP/1.1\r\n\r\n")
      let response = try client.receiveResponse()
      #expect(response.status == 200)
      #expect(response.text == "hello")
      #expect(response.trailers.first?.value == "yes")
      client.halfClose()
      let other = try RawConnection(port: port)
      try other.send("GET / HTTP/1.1\r\n\r\n")
      try other.receiveToEnd()
      #expect(other.receiveError == ECONNRESET)
    }
    #expect(server.accepted == 2)
    #expect(server.failures.isEmpty)
    server.stop()
    try await eventually("the port is closed") {
      try await blocking { (try? RawConnection(port: port)) == nil }
    }
  }

  @Test("a temporary directory goes with its owner")
  func directory() throws {
    var directory: TemporaryDirectory? = try TemporaryDirectory()
    let path = try #require(try directory?.write("a/b/c.txt", "text"))
    #expect(directory?.read("a/b/c.txt") == "text")
    #expect(access(path, R_OK) == 0)
    directory = nil
    #expect(access(path, R_OK) != 0)
  }
}
