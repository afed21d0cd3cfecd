import Glibc
import MeshIO
import MeshPrimitives
import MeshTesting
import Testing

@Suite("Directories", .timeLimit(.minutes(1)))
struct DirectoryTests {
  @Test("a listing has files and directories by name; links count as what they lead to")
  func listing() throws {
    let directory = try TemporaryDirectory()
    try directory.write("b", "")
    try directory.write("a/inner", "")
    symlink("a", directory.file("link"))
    symlink("nowhere", directory.file("dangling"))
    mkfifo(directory.file("pipe"), 0o600)
    let entries = try DirectoryListing.entries(of: directory.path)
    #expect(entries.map(\.name) == ["a", "b", "link"])
    #expect(entries.map(\.isDirectory) == [true, false, true])
  }

  @Test("a listing is bounded, and says what is wrong")
  func listingErrors() throws {
    let directory = try TemporaryDirectory()
    for number in 0..<20 { try directory.write("file-\(number)", "") }
    #expect(throws: SystemError("list", errno: EFBIG, directory.path)) {
      try DirectoryListing.entries(of: directory.path, limit: 64)
    }
    #expect(throws: SystemError("list", errno: ENOENT, "/nonexistent")) {
      try DirectoryListing.entries(of: "/nonexistent")
    }
  }

  @Test("what is renamed into a directory is seen; what is written there is not")
  func moves() throws {
    let directory = try TemporaryDirectory()
    try directory.write("watched/keep", "")
    let loop = try EventLoop()
    var events: [DirectoryWatch.Event] = []
    let watch = try DirectoryWatch(directory.file("watched"), loop: loop) { events.append($0) }
    try directory.write("watched/written", "1")
    symlink("v1", directory.file("watched/new"))
    rename(directory.file("watched/new"), directory.file("watched/current"))
    let deadline = ProcessClock.monotonic() + .seconds(10)
    while events.isEmpty, ProcessClock.monotonic() < deadline { loop.turn(upTo: .milliseconds(50)) }
    #expect(events == [.moved("current")])
    for name in ["keep", "written", "current"] { unlink(directory.file("watched/\(name)")) }
    rmdir(directory.file("watched"))
    while events.count < 2, ProcessClock.monotonic() < deadline { loop.turn(upTo: .milliseconds(50)) }
    #expect(events == [.moved("current"), .gone])
    watch.close()
    #expect(loop.registrations == 0)
  }

  @Test("a directory that is not there cannot be watched")
  func missing() throws {
    let loop = try EventLoop()
    #expect(throws: SystemError("watch", errno: ENOENT, "/nonexistent")) {
      try DirectoryWatch("/nonexistent", loop: loop) { _ in }
    }
    #expect(loop.registrations == 0)
  }
}
