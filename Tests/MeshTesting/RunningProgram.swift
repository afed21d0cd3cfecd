import Glibc
import Synchronization

/// Held while a program is started, and while a descriptor exists that is not close-on-exec yet: a child that inherits
/// the other end of a connection would keep it open.
let spawning = Mutex(())

/// A program that a test started. Its output is gathered and can be waited for; it is killed and reaped when the test
/// lets go of it.
public final class RunningProgram: Sendable {
  /// How a program ended.
  public enum Ending: Equatable, Sendable {
    case exited(Int32)
    case killed(signal: Int32)
  }

  public let id: pid_t
  private let name: String
  private let state = Monitor(State())

  private struct State: Sendable {
    var output: [UInt8] = []
    var error: [UInt8] = []
    var openStreams = 2
    var ending: Ending?

    /// Nothing will change any more.
    var isOver: Bool { ending != nil && openStreams == 0 }
  }

  /// The directory in which the build has put the programs (where the running tests are).
  public static var buildDirectory: String {
    var path = [CChar](repeating: 0, count: 4096)
    let count = max(0, readlink("/proc/self/exe", &path, path.count - 1))
    let text = String(decoding: path[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return text.lastIndex(of: "/").map { String(text[..<$0]) } ?? "."
  }

  /// A program that this package builds.
  public static func built(_ name: String) -> String { "\(buildDirectory)/\(name)" }

  /// Starts a program.
  /// - Parameters:
  ///   - path: with a slash, a file; without, looked up in PATH.
  ///   - environment: added to this process's own; an empty value removes a variable.
  ///   - listenSockets: become descriptors 3, 4, … with LISTEN_FDS and LISTEN_PID as sd_listen_fds(3) has them.
  public init(
    _ path: String, _ arguments: [String] = [], environment: [String: String] = [:], directory: String? = nil,
    listenSockets: [Int32] = []
  ) throws {
    name = path.split(separator: "/").last.map(String.init) ?? path
    var command = [path] + arguments
    var variables = environment
    var preparations = ""
    if let directory {
      preparations += "cd \"$MARTLET_TEST_DIRECTORY\" || exit 127; unset MARTLET_TEST_DIRECTORY; "
      variables["MARTLET_TEST_DIRECTORY"] = directory
    }
    if !listenSockets.isEmpty {
      // Only the process itself knows its id.
      preparations += "LISTEN_PID=$$; export LISTEN_PID; "
      variables["LISTEN_FDS"] = "\(listenSockets.count)"
    }
    // The shell becomes the program, so the process id stays.
    if !preparations.isEmpty { command = ["/bin/sh", "-c", preparations + "exec \"$@\"", "sh"] + command }
    let outputs = try Self.pipe()
    let errors = try Self.pipe()
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, outputs.write, 1)
    posix_spawn_file_actions_adddup2(&actions, errors.write, 2)
    // First away from the low numbers, so that no source is overwritten before it is copied.
    let sources = listenSockets.map { fcntl($0, F_DUPFD_CLOEXEC, 3 + Int32(listenSockets.count)) }
    defer { for fd in sources { close(fd) } }
    for (index, fd) in sources.enumerated() { posix_spawn_file_actions_adddup2(&actions, fd, 3 + Int32(index)) }

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var noSignals = sigset_t()
    sigemptyset(&noSignals)
    posix_spawnattr_setsigmask(&attributes, &noSignals)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))

    var child = pid_t()
    let result = Self.withCStrings(command) { argv in
      Self.withCStrings(Self.environment(adding: variables)) { envp in
        spawning.withLock { _ in posix_spawnp(&child, command[0], &actions, &attributes, argv, envp) }
      }
    }
    close(outputs.write)
    close(errors.write)
    guard result == 0 else {
      close(outputs.read)
      close(errors.read)
      throw TestFailure("cannot start \(path): errno \(result)")
    }
    id = child
    Self.gather(outputs.read, state) { $0.output += $1 }
    Self.gather(errors.read, state) { $0.error += $1 }
    startThread { [state, child] in
      var status: Int32 = 0
      while waitpid(child, &status, 0) < 0, errno == EINTR {}
      let signal = status & 0x7f
      state.change { $0.ending = signal == 0 ? .exited(status >> 8 & 0xff) : .killed(signal: signal) }
    }
  }

  deinit {
    signal(SIGKILL)
    _ = state.wait(Deadline(.seconds(5))) { $0.ending }
  }

  /// What it has written to standard output and standard error so far.
  public var output: String { state.read { String(decoding: $0.output, as: UTF8.self) } }
  public var errorOutput: String { state.read { String(decoding: $0.error, as: UTF8.self) } }

  /// Both outputs, for failure messages.
  public var logs: String { "--- \(name) (\(id)) stdout:\n\(output)--- stderr:\n\(errorOutput)---" }

  public var ending: Ending? { state.read { $0.ending } }

  /// It has ended, and everything that it has said is here.
  public var isComplete: Bool { state.read { $0.isOver } }

  /// Sends a signal, unless the program has ended.
  public func signal(_ number: Int32) { if ending == nil { kill(id, number) } }

  /// Waits until either output contains `text`.
  public func waitForOutput(_ text: String, within deadline: Deadline = Deadline()) async throws {
    let pattern = Array(text.utf8)
    try await wait("output \(text.debugDescription)", deadline) { state in
      firstRange(of: pattern, in: state.output) ?? firstRange(of: pattern, in: state.error)
    }
  }

  /// Waits until `find` finds something in one of the outputs (for example the port that was chosen).
  public func waitForOutput<T: Sendable>(
    _ what: String, within deadline: Deadline = Deadline(), _ find: @escaping @Sendable (_ output: String) -> T?
  ) async throws -> T {
    try await wait(what, deadline) { state in
      find(String(decoding: state.output, as: UTF8.self)) ?? find(String(decoding: state.error, as: UTF8.self))
    }
  }

  /// Waits for the program's end.
  @discardableResult
  public func waitForEnd(within deadline: Deadline = Deadline()) async throws -> Ending {
    try await wait("its end", deadline) { $0.ending }
  }

  /// Sends SIGKILL and waits for the end.
  public func killAndWait() async throws {
    signal(SIGKILL)
    try await waitForEnd()
  }

  @discardableResult
  private func wait<T: Sendable>(
    _ what: String, _ deadline: Deadline, _ condition: @escaping @Sendable (State) -> T?
  ) async throws -> T {
    let found: T?? = try await blocking { [state] in
      state.wait(deadline) { state -> T?? in
        if let found = condition(state) { return .some(.some(found)) }
        return state.isOver ? .some(nil) : nil
      }
    }
    switch found {
    case .some(.some(let found)): return found
    case .some(nil): throw TestFailure("\(name) ended (\(ending.map { "\($0)" } ?? "")) without \(what)\n\(logs)")
    case nil: throw TestFailure("deadline passed waiting for \(what)\n\(logs)")
    }
  }

  private static func gather(
    _ fd: Int32, _ state: Monitor<State>, _ append: @escaping @Sendable (inout State, ArraySlice<UInt8>) -> Void
  ) {
    startThread {
      var chunk = [UInt8](repeating: 0, count: 65536)
      while true {
        let count = read(fd, &chunk, chunk.count)
        if count < 0, errno == EINTR { continue }
        if count <= 0 { break }
        state.change { append(&$0, chunk[..<count]) }
      }
      close(fd)
      state.change { $0.openStreams -= 1 }
    }
  }

  private static func pipe() throws -> (read: Int32, write: Int32) {
    var ends: [Int32] = [-1, -1]
    return try spawning.withLock { _ in
      guard Glibc.pipe(&ends) == 0 else { throw TestFailure("pipe: errno \(errno)") }
      for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
      return (ends[0], ends[1])
    }
  }

  private static func environment(adding variables: [String: String]) -> [String] {
    var merged: [String: String] = [:]
    for entry in TemporaryDirectory.contents("/proc/self/environ").split(separator: "\0") {
      let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      if parts.count == 2 { merged[String(parts[0])] = String(parts[1]) }
    }
    for (name, value) in variables { merged[name] = value.isEmpty ? nil : value }
    return merged.map { "\($0.key)=\($0.value)" }
  }

  private static func withCStrings<R>(
    _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> R
  ) -> R {
    var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) } + [nil]
    defer { for pointer in pointers { free(pointer) } }
    return body(&pointers)
  }
}
