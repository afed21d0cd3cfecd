import Glibc
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshIO

@Suite("System")
struct SystemTests {
  private static let mountinfo2 = """
    22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
    30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate

    """
  private static let mountinfo1 = """
    22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
    31 30 0:27 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro shared:11 - cgroup cgroup rw,cpu,cpuacct
    32 30 0:28 /docker/abc /sys/fs/cgroup/memory ro shared:12 - cgroup cgroup rw,memory

    """

  private static func count(_ affinity: Int, _ files: [String: String]) -> Int {
    ProcessorQuota.evaluate(affinity: affinity) { files[$0] }.count
  }

  @Test("without control groups the affinity mask decides")
  func noGroups() {
    #expect(Self.count(6, [:]) == 6)
    #expect(Self.count(6, ["/proc/self/cgroup": "0::/\n"]) == 6)
    #expect(Self.count(6, ["/proc/self/cgroup": "", "/proc/self/mountinfo": Self.mountinfo2]) == 6)
    #expect(Self.count(6, ["/proc/self/cgroup": "nonsense\n:::::\n0::", "/proc/self/mountinfo": "- - -\n"]) == 6)
    #expect(ProcessorQuota.availableProcessors().count >= 1)
  }

  @Test("version 2: rounded up, the tightest ancestor wins")
  func unified() {
    var files = ["/proc/self/cgroup": "0::/a/b\n", "/proc/self/mountinfo": Self.mountinfo2]
    files["/sys/fs/cgroup/a/b/cpu.max"] = "max 100000\n"
    #expect(Self.count(8, files) == 8)
    files["/sys/fs/cgroup/a/b/cpu.max"] = "150000 100000\n"
    #expect(Self.count(8, files) == 2)
    #expect(Self.count(1, files) == 1)
    files["/sys/fs/cgroup/a/cpu.max"] = "50000 100000\n"
    #expect(Self.count(8, files) == 1)
    files["/sys/fs/cgroup/a/cpu.max"] = "800000 100000\n"
    files["/sys/fs/cgroup/a/b/cpu.max"] = "400000 100000\n"
    files["/sys/fs/cgroup/cpu.max"] = "300000 100000\n"
    #expect(Self.count(8, files) == 3)
    for nonsense in ["", "x y", "1", "0 0", "-5 100000", "100000 0", "99999999999999999999 1"] {
      files["/sys/fs/cgroup/a/b/cpu.max"] = nonsense
      #expect(Self.count(8, files) == 3)
    }
    let explanation = ProcessorQuota.evaluate(affinity: 8) { files[$0] }.explanation
    #expect(explanation == "3 by the CPU quota of /sys/fs/cgroup (3.0 of 8 processors)")
  }

  @Test("version 1, with the container's group mounted at the top")
  func versionOne() {
    var files = [
      "/proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc/inner\n",
      "/proc/self/mountinfo": Self.mountinfo1,
    ]
    files["/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us"] = "250000\n"
    files["/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us"] = "100000\n"
    #expect(Self.count(8, files) == 3)
    files["/sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_quota_us"] = "-1\n"
    files["/sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_period_us"] = "100000\n"
    #expect(Self.count(8, files) == 3)
    files["/sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_quota_us"] = "90000\n"
    #expect(Self.count(8, files) == 1)
    files["/proc/self/cgroup"] = "4:cpu,cpuacct:/../elsewhere\n"
    #expect(Self.count(8, files) == 3)
  }

  @Test("files are read whole, up to a limit")
  func reading() throws {
    let directory = try TemporaryDirectory()
    for size in [0, 1, 4095, 4096, 4097, 300_000] {
      let text = String(repeating: "x", count: size)
      let path = try directory.write("file", text)
      #expect(try FileContents.text(path, limit: 300_000) == text)
      if size > 0 { #expect(throws: SystemError.self) { try FileContents.read(path, limit: size - 1) } }
    }
    #expect(try !FileContents.text("/proc/self/status").isEmpty)
    #expect(throws: SystemError("open", errno: ENOENT, "/nowhere")) { try FileContents.read("/nowhere") }
    #expect(SystemError("open", errno: ENOENT, "/nowhere").description == "open /nowhere: No such file or directory")
  }

  @Test("an append-only file can be rotated, and survives the loss of its directory")
  func appending() throws {
    let directory = try TemporaryDirectory()
    let file = try AppendFile(directory.file("log"))
    #expect(file.write("one\n") == 4)
    rename(directory.file("log"), directory.file("log.1"))
    file.write("two\n")
    try file.reopen()
    file.write("three\n")
    #expect(directory.read("log.1") == "one\ntwo\n")
    #expect(directory.read("log") == "three\n")
    #expect(throws: SystemError.self) { try AppendFile("/nowhere/log") }
  }

  @Test("descriptors, memory and limits can be read")
  func process() throws {
    #expect(try #require(CurrentProcess.openDescriptors) > 2)
    #expect(CurrentProcess.raiseDescriptorLimit() > 2)
    #expect(CurrentProcess.id == getpid())
    #expect(CurrentProcess.executablePath?.isEmpty == false)
    #expect(!CurrentProcess.hostName.isEmpty)
    #expect(CurrentProcess.memory.resident > 1 << 20)
    let memory = CurrentProcess.memory(
      fromRollup: "x\nRss:    12 kB\nPss:  5 kB\nAnonymous: 99999999999999999999 kB\nPss: x kB\n")
    #expect(memory.resident == 12 * 1024 && memory.proportional == 5 * 1024 && memory.anonymous == 0)
  }

  @Test("a descriptor is closed when its owner lets go of it")
  func descriptor() throws {
    let raw = dup(0)
    do {
      let owned = FileDescriptor(taking: raw)
      #expect(owned.raw == raw)
    }
    #expect(fcntl(raw, F_GETFD) == -1 || raw >= 0)  // another test may have reused the number
    let kept = FileDescriptor(taking: dup(0)).release()
    #expect(fcntl(kept, F_GETFD) >= 0)
    close(kept)
  }
}
