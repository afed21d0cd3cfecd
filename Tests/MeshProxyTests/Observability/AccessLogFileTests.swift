import Glibc
import MeshIO
import MeshPrimitives
import MeshTesting
import Synchronization
import Testing

@testable import MeshProxy

@Suite struct AccessLogFileTests {
  let directory: TemporaryDirectory

  init() throws {
    // As the program does at its start: a log's reader that leaves is an error of the write, not the end of the process.
    CurrentProcess.ignoreWriteSignals()
    directory = try TemporaryDirectory()
  }

  // MARK: Buffers

  @Test func linesWaitForTheIntervalAndThenGoTogether() async throws {
    let files = AccessLogFiles(flushInterval: .milliseconds(30))
    let file = try files.file(directory.file("log"))
    let loop = try EventLoop()
    let buffer = AccessLogBuffer(file: file, loop: loop)
    buffer.append("one\n")
    buffer.append("two\n")
    #expect(files.flushAndWait())
    #expect(directory.read("log") == "")
    let deadline = Deadline()
    while files.statistics.total(.flushedByTimer) == 0, !deadline.hasPassed { loop.turn(upTo: .milliseconds(50)) }
    #expect(files.flushAndWait())
    #expect(directory.read("log") == "one\ntwo\n")
    #expect(files.statistics.total(.flushedByTimer) == 1)
    #expect(files.statistics.total(.writeBuffered) == 2)
    #expect(files.statistics.total(.writeCompleted) == 1)
    #expect(files.statistics.total(.writeTotalBuffered) == 0)
    // Empty again: no timer runs.
    #expect(loop.registrations == 0)
    let waits = loop.waits
    loop.turn(upTo: .milliseconds(60))
    #expect(loop.waits == waits + 1)
    #expect(files.statistics.total(.flushedByTimer) == 1)
  }

  @Test func aFullBlockGoesAtOnce() throws {
    let files = AccessLogFiles(flushInterval: .seconds(3600))
    let loop = try EventLoop()
    let buffer = AccessLogBuffer(file: try files.file(directory.file("log")), loop: loop)
    let line = String(repeating: "x", count: 1023) + "\n"
    for _ in 0..<63 { buffer.append(line) }
    #expect(files.statistics.total(.writeBuffered) == 0)
    buffer.append(line)
    #expect(files.statistics.total(.writeBuffered) == 64)
    #expect(files.flushAndWait())
    #expect(directory.read("log") == String(repeating: line, count: 64))
    #expect(files.statistics.total(.flushedByTimer) == 0)
  }

  @Test func aLineOverTheBlockStaysWhole() throws {
    let files = AccessLogFiles()
    let loop = try EventLoop()
    let buffer = AccessLogBuffer(file: try files.file(directory.file("log")), loop: loop)
    let long = String(repeating: "y", count: 300_000) + "\n"
    buffer.append("short\n")
    buffer.append(long)
    buffer.append("short\n")
    buffer.flush()
    buffer.flush()
    #expect(files.flushAndWait())
    #expect(directory.read("log") == "short\n\(long)short\n")
  }

  @Test func aBufferThatGoesAwayLosesNothing() throws {
    let files = AccessLogFiles(flushInterval: .seconds(3600))
    let loop = try EventLoop()
    var buffer: AccessLogBuffer? = AccessLogBuffer(file: try files.file(directory.file("log")), loop: loop)
    buffer?.append("last words\n")
    buffer = nil
    #expect(files.flushAndWait())
    #expect(directory.read("log") == "last words\n")
  }

  @Test func aFormatThatWritesNothingIsHarmless() throws {
    let files = AccessLogFiles()
    let loop = try EventLoop()
    let buffer = AccessLogBuffer(file: try files.file(directory.file("log")), loop: loop)
    let format = try SubstitutionFormat.compile("").get()
    for _ in 0..<10 { buffer.write(format, ExampleSource.example()) }
    buffer.flush()
    #expect(files.flushAndWait())
    #expect(directory.read("log") == "")
  }

  @Test func formattedLines() throws {
    let files = AccessLogFiles()
    let loop = try EventLoop()
    let buffer = AccessLogBuffer(file: try files.file(directory.file("log")), loop: loop)
    let source = ExampleSource.example()
    for _ in 0..<1_000 { buffer.write(.standard, source) }
    buffer.flush()
    #expect(files.flushAndWait())
    #expect(directory.read("log") == String(repeating: source.line(.standard), count: 1_000))
  }

  // MARK: Files

  @Test func onePathIsOneFileWhileItIsUsed() throws {
    let files = AccessLogFiles()
    let path = directory.file("log")
    let one = try files.file(path)
    #expect(try files.file(path) === one)
    #expect(try files.file(directory.file("other")) !== one)
    let out = try files.file("/dev/stdout")
    #expect(try files.file("/dev/stdout") === out)
    #expect(try files.file("/dev/stderr") !== out)
    #expect(one.path == path && out.path == "/dev/stdout")
    weak var gone: AccessLogFile?
    do { gone = try files.file(directory.file("gone")) }
    #expect(gone == nil)
    _ = try files.file(directory.file("gone"))
  }

  @Test func whatCannotBeOpenedIsSaid() throws {
    let files = AccessLogFiles()
    for (path, reason) in [
      (directory.file("none/log"), "No such file or directory"), (directory.path, "Is a directory"),
      ("", "Invalid argument"), ("\(directory.file("cut"))\u{0}off", "Invalid argument"),
    ] {
      let error = #expect(throws: SystemError.self) { try files.file(path) }
      #expect(error?.reason == reason)
      #expect(error?.description == "open \(path): \(reason)" || path.isEmpty)
    }
    #expect(access(directory.file("cut"), F_OK) != 0)
  }

  @Test func checkingAConfigurationTouchesNothing() throws {
    let files = AccessLogFiles(opensFiles: false)
    let file = try files.file(directory.file("log"))
    #expect(access(directory.file("log"), F_OK) != 0)
    #expect(file.path == directory.file("log"))
  }

  @Test func whatIsThereIsKept() throws {
    try directory.write("log", "before\n")
    let files = AccessLogFiles()
    let loop = try EventLoop()
    let buffer = AccessLogBuffer(file: try files.file(directory.file("log")), loop: loop)
    buffer.append("after\n")
    buffer.flush()
    #expect(files.flushAndWait())
    #expect(directory.read("log") == "before\nafter\n")
  }

  @Test func withoutFilesThereIsNoThread() {
    let files = AccessLogFiles()
    #expect(files.flushAndWait(upTo: .zero))
  }

  /// It needs descriptors, of which there may be none left when there is something to write.
  @Test func aFileBringsTheThreadThatWritesIt() throws {
    let files = AccessLogFiles()
    _ = try files.file(directory.file("log"))
    #expect(files.flushAndWait())
  }

  // MARK: Rotation

  @Test func linesBeforeAReopeningAreInTheOldFile() throws {
    let files = AccessLogFiles()
    let loop = try EventLoop()
    let buffer = AccessLogBuffer(file: try files.file(directory.file("log")), loop: loop)
    buffer.append("old\n")
    buffer.flush()
    rename(directory.file("log"), directory.file("log.1"))
    files.reopenAll()
    buffer.append("new\n")
    buffer.flush()
    #expect(files.flushAndWait())
    #expect(directory.read("log.1") == "old\n")
    #expect(directory.read("log") == "new\n")
    #expect(files.statistics.total(.reopenFailed) == 0)
  }

  @Test func aReopeningThatFailsKeepsTheOldFile() throws {
    try directory.write("sub/log", "")
    let files = AccessLogFiles()
    let loop = try EventLoop()
    let buffer = AccessLogBuffer(file: try files.file(directory.file("sub/log")), loop: loop)
    rename(directory.file("sub"), directory.file("moved"))
    files.reopenAll()
    buffer.append("still\n")
    buffer.flush()
    #expect(files.flushAndWait())
    #expect(directory.read("moved/log") == "still\n")
    #expect(files.statistics.total(.reopenFailed) == 1)
  }

  /// Workers write while the file is rotated again and again: every line is somewhere, once, whole, and each worker's are
  /// in order.
  @Test func rotationUnderLoadLosesNothing() async throws {
    let files = AccessLogFiles(flushInterval: .milliseconds(1))
    let path = directory.file("log")
    let file = try files.file(path)
    let workers = 4
    let written = (0..<workers).map { _ in Count() }
    let rotations = Count()
    var threads: [LoopThread] = []
    for worker in 0..<workers {
      let written = written[worker]
      threads.append(
        try LoopThread.start(name: "test-\(worker)") {
          guard let loop = try? EventLoop() else { return }
          let buffer = AccessLogBuffer(file: file, loop: loop)
          while rotations.value < 25 || written.value < 5_000 {
            let line = written.value
            buffer.append("\(worker) \(line) \(String(repeating: "z", count: line % 90))\n")
            written.value = line + 1
            if line % 100 == 0 { loop.turn() }
          }
          buffer.flush()
        })
    }
    try await blocking {
      while rotations.value < 25 {
        usleep(1_000)
        rename(path, "\(path).\(rotations.value + 1)")
        files.reopenAll()
        rotations.value += 1
      }
    }
    for thread in threads { thread.join() }
    #expect(try await blocking { files.flushAndWait(upTo: .seconds(10)) })
    var next = [Int](repeating: 0, count: workers)
    var lines = 0
    for part in (1...rotations.value).map({ "log.\($0)" }) + ["log"] {
      for line in directory.read(part).split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
        let words = line.split(separator: " ", omittingEmptySubsequences: false)
        let worker = try #require(words.count == 3 ? Int(words[0]) : nil)
        #expect(Int(words[1]) == next[worker])
        #expect(words[2].utf8.count == next[worker] % 90)
        next[worker] += 1
        lines += 1
      }
    }
    #expect(next == written.map(\.value))
    #expect(files.statistics.total(.writeBuffered) == Int64(lines))
    #expect(files.statistics.total(.writeDropped) == 0)
    #expect(files.statistics.total(.writeTotalBuffered) == 0)
  }

  /// A number that one thread changes and others read.
  private final class Count: Sendable {
    private let cell = Atomic(0)
    var value: Int {
      get { cell.load(ordering: .acquiring) }
      set { cell.store(newValue, ordering: .releasing) }
    }
  }

  // MARK: Trouble

  /// A reader that does not read: the worker goes on, memory is bounded, the lines that were not dropped arrive.
  @Test func aSlowReaderHoldsUpNobody() async throws {
    let path = directory.file("pipe")
    mkfifo(path, 0o600)
    let reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    try #require(reader >= 0)
    defer { close(reader) }
    let files = AccessLogFiles()
    let loop = try EventLoop()
    let buffer = AccessLogBuffer(file: try files.file(path), loop: loop)
    let line = String(repeating: "l", count: 1023) + "\n"
    let total = 40 * 1024
    for _ in 0..<total { buffer.append(line) }
    buffer.flush()
    let dropped = files.statistics.total(.writeDropped)
    #expect(dropped > 20 * 1024)
    #expect(files.statistics.total(.writeTotalBuffered) <= Int64(AccessLogFile.maximumPending))
    #expect(try await blocking { files.flushAndWait(upTo: .milliseconds(50)) } == false)

    // The reader wakes up.
    let expected = (total - Int(dropped)) * 1024
    let received = try await blocking {
      var chunk = [UInt8](repeating: 0, count: 1 << 16)
      var received = 0
      let deadline = Deadline()
      while received < expected, !deadline.hasPassed {
        var ready = pollfd(fd: reader, events: Int16(POLLIN), revents: 0)
        guard poll(&ready, 1, deadline.milliseconds) > 0 else { break }
        let count = read(reader, &chunk, chunk.count)
        guard count > 0 else { break }
        received += count
      }
      return received
    }
    #expect(received == expected)
    #expect(try await blocking { files.flushAndWait() })
    #expect(files.statistics.total(.writeTotalBuffered) == 0)
    #expect(files.statistics.total(.writeBuffered) + dropped == Int64(total))
  }

  /// A disk that is full: what waits is kept, tried again, and written when there is room, in order.
  @Test func aFullDiskLosesNothingUntilTheBound() async throws {
    let path = directory.file("log")
    symlink("/dev/full", path)
    let files = AccessLogFiles()
    let loop = try EventLoop()
    let buffer = AccessLogBuffer(file: try files.file(path), loop: loop)
    buffer.append("one\n")
    buffer.flush()
    #expect(try await blocking { files.flushAndWait(upTo: .milliseconds(100)) } == false)
    #expect(files.statistics.total(.writeFailed) >= 2)
    #expect(files.statistics.total(.writeTotalBuffered) == 4)
    buffer.append("two\n")
    buffer.flush()
    unlink(path)
    files.reopenAll()
    buffer.append("three\n")
    buffer.flush()
    #expect(try await blocking { files.flushAndWait() })
    #expect(directory.read("log") == "one\ntwo\nthree\n")
    #expect(files.statistics.total(.writeTotalBuffered) == 0)
    #expect(files.statistics.total(.writeDropped) == 0)
  }

  /// A pipe that takes a part of what it is given (a standard output that its owner has made non-blocking): what is left
  /// is written later, and no line is torn.
  @Test func partsOfABlockAreMadeWhole() async throws {
    let path = directory.file("pipe")
    mkfifo(path, 0o600)
    let reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    try #require(reader >= 0)
    defer { close(reader) }
    let files = AccessLogFiles()
    let file = try files.file(path)
    try #require(makeWriterNonBlocking(path))
    let loop = try EventLoop()
    let buffer = AccessLogBuffer(file: file, loop: loop)
    var expected = ""
    for number in 0..<3_000 {
      let line = "\(number) \(String(repeating: "p", count: number % 173))\n"
      buffer.append(line)
      expected += line
    }
    buffer.flush()
    // Tried again, and again.
    try await eventually("three attempts") { files.statistics.total(.writeFailed) >= 3 }
    #expect(files.statistics.total(.writeTotalBuffered) > 0)
    let received = try await blocking { [expected] in
      var received: [UInt8] = []
      var chunk = [UInt8](repeating: 0, count: 5_000)
      let deadline = Deadline()
      while received.count < expected.utf8.count, !deadline.hasPassed {
        var ready = pollfd(fd: reader, events: Int16(POLLIN), revents: 0)
        guard poll(&ready, 1, deadline.milliseconds) > 0 else { break }
        let count = read(reader, &chunk, chunk.count)
        guard count > 0 else { break }
        received += chunk[..<count]
      }
      return received
    }
    #expect(received == Array(expected.utf8))
    #expect(try await blocking { files.flushAndWait() })
    #expect(files.statistics.total(.writeTotalBuffered) == 0)
  }

  /// Finds the descriptor by which this process writes to a pipe.
  private func makeWriterNonBlocking(_ path: String) -> Bool {
    for descriptor in Int32(3)..<1024 {
      var target = [CChar](repeating: 0, count: 4096)
      let length = readlink("/proc/self/fd/\(descriptor)", &target, target.count)
      guard length > 0, String(decoding: target[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self) == path else {
        continue
      }
      let flags = fcntl(descriptor, F_GETFL)
      if flags & O_ACCMODE == O_WRONLY { return fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0 }
    }
    return false
  }

  /// The bound is on what waits, not on what was ever written.
  @Test func aFileThatKeepsUpLosesNothing() async throws {
    let files = AccessLogFiles()
    let loop = try EventLoop()
    let buffer = AccessLogBuffer(file: try files.file("/dev/null"), loop: loop)
    let line = String(repeating: "l", count: 1023) + "\n"
    for _ in 0..<40 {
      for _ in 0..<1_024 { buffer.append(line) }
      #expect(try await blocking { files.flushAndWait() })
    }
    #expect(files.statistics.total(.writeDropped) == 0)
    #expect(files.statistics.total(.writeTotalBuffered) == 0)
  }

  /// One file that cannot be written does not keep the others from being written.
  @Test func troubleWithOneFileIsNotTheOthers() async throws {
    symlink("/dev/full", directory.file("bad"))
    let files = AccessLogFiles()
    let loop = try EventLoop()
    let bad = AccessLogBuffer(file: try files.file(directory.file("bad")), loop: loop)
    let good = AccessLogBuffer(file: try files.file(directory.file("good")), loop: loop)
    bad.append("lost\n")
    bad.flush()
    good.append("kept\n")
    good.flush()
    try await eventually("the good file is written") { directory.read("good") == "kept\n" }
    #expect(files.statistics.total(.writeCompleted) == 1)
  }

  @Test func statisticsAreShownUnderEnvoysNames() throws {
    let store = StatsStore(lanes: 3)
    let files = AccessLogFiles(stats: store)
    let loop = try EventLoop()
    let buffer = AccessLogBuffer(file: try files.file(directory.file("log")), loop: loop)
    buffer.append("line\n")
    buffer.flush()
    #expect(files.flushAndWait())
    var output: [UInt8] = []
    store.renderText(into: &output)
    #expect(
      String(decoding: output, as: UTF8.self) == """
        filesystem.flushed_by_timer: 0
        filesystem.reopen_failed: 0
        filesystem.write_buffered: 1
        filesystem.write_completed: 1
        filesystem.write_dropped: 0
        filesystem.write_failed: 0
        filesystem.write_total_buffered: 0

        """)
  }
}

extension AccessLogBuffer {
  fileprivate func append(_ line: String) {
    var line = line
    line.withUTF8 { append($0) }
  }
}
