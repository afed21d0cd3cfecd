import MeshIO
import MeshPrimitives
import MeshTesting
import Testing

@testable import MeshProxy

@Suite("Resource monitors")
struct ResourceMonitorTests {
  private static let unified = [
    "/proc/self/cgroup": "0::/a/b\n",
    "/proc/self/mountinfo": "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
  ]

  private static func pressure(_ files: [String: String], maximum: UInt64? = nil) -> Double? {
    try? ControlGroupMemoryMonitor(maximum: maximum) { files[$0] }.pressure()
  }

  @Test("a control group of version 2: what cannot be taken back, of its limit")
  func unifiedMemory() {
    var files = Self.unified
    #expect(Self.pressure(files) == nil)
    files["/sys/fs/cgroup/a/b/memory.current"] = "1000\n"
    // Without a limit there is no pressure.
    files["/sys/fs/cgroup/a/b/memory.max"] = "max\n"
    #expect(Self.pressure(files) == 0)
    files["/sys/fs/cgroup/a/b/memory.max"] = "2000\n"
    #expect(Self.pressure(files) == 0.5)
    files["/sys/fs/cgroup/a/b/memory.stat"] = "anon 5\ninactive_file 500\nactive_file 100\n"
    #expect(Self.pressure(files) == 0.25)
    files["/sys/fs/cgroup/a/b/memory.stat"] = "inactive_file 99999\n"
    #expect(Self.pressure(files) == 0)
  }

  @Test("a configured limit holds if it is lower")
  func maximum() {
    var files = Self.unified
    files["/sys/fs/cgroup/a/b/memory.current"] = "1000"
    files["/sys/fs/cgroup/a/b/memory.max"] = "2000"
    #expect(Self.pressure(files, maximum: 1000) == 1)
    #expect(Self.pressure(files, maximum: 8000) == 0.5)
    files["/sys/fs/cgroup/a/b/memory.max"] = "max"
    #expect(Self.pressure(files, maximum: 4000) == 0.25)
  }

  @Test("a group above that is nearer to its limit counts")
  func ancestors() {
    var files = Self.unified
    files["/sys/fs/cgroup/a/b/memory.current"] = "100"
    files["/sys/fs/cgroup/a/b/memory.max"] = "1000"
    files["/sys/fs/cgroup/a/memory.current"] = "900"
    files["/sys/fs/cgroup/a/memory.max"] = "1000"
    #expect(Self.pressure(files) == 0.9)
  }

  @Test("version 1")
  func versionOne() {
    let files = [
      "/proc/self/cgroup": "5:memory:/docker/abc\n",
      "/proc/self/mountinfo":
        "32 30 0:28 /docker/abc /sys/fs/cgroup/memory ro shared:12 - cgroup cgroup rw,memory\n",
      "/sys/fs/cgroup/memory/memory.usage_in_bytes": "600\n",
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": "1000\n",
      "/sys/fs/cgroup/memory/memory.stat": "inactive_file 7\ntotal_inactive_file 100\n",
    ]
    #expect(Self.pressure(files) == 0.5)
    var unlimited = files
    unlimited["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "9223372036854771712\n"
    #expect(Self.pressure(unlimited) == 0)
    var nonsense = files
    nonsense["/sys/fs/cgroup/memory/memory.usage_in_bytes"] = "much\n"
    #expect(Self.pressure(nonsense) == nil)
  }

  private final class Usages {
    var next = ProcessorUsage(used: 0, available: 0)
  }

  @Test("processors: a twentieth of what is new")
  func processors() throws {
    let usages = Usages()
    let monitor = ProcessorMonitor { () throws(ResourceFailure) in usages.next }
    usages.next = ProcessorUsage(used: 50, available: 100)
    #expect(abs(try monitor.pressure() - 0.025) < 1e-9)
    // Nothing new.
    #expect(abs(try monitor.pressure() - 0.025) < 1e-9)
    for step in 1...200 {
      usages.next = ProcessorUsage(used: 50 + 80 * Double(step), available: 100 + 100 * Double(step))
      _ = try monitor.pressure()
    }
    #expect(abs(try monitor.pressure() - 0.8) < 0.001)
    // A counter that goes back is no reason to believe anything.
    usages.next = ProcessorUsage(used: 1, available: 1)
    #expect(abs(try monitor.pressure() - 0.8) < 0.001)
  }

  @Test("a file says it")
  func injected() throws {
    let directory = try TemporaryDirectory()
    let monitor = InjectedMonitor(path: directory.file("pressure"))
    #expect(throws: ResourceFailure.self) { try monitor.pressure() }
    try directory.write("pressure", " 0.25\n")
    #expect(try monitor.pressure() == 0.25)
    for text in ["", "much", "-0.1", "1.1", "nan", "0.5x"] {
      try directory.write("pressure", text)
      #expect(throws: ResourceFailure.self) { try monitor.pressure() }
    }
  }

  @Test("the heap is what this process has in memory")
  func heap() throws {
    let resident = try #require(CurrentProcess.ownResidentMemory)
    #expect((0.2...1.5).contains(try HeapMonitor(maximum: resident * 2).pressure()))
    #expect(try HeapMonitor(maximum: 1).pressure() > 1000)
  }

  private final class Memory: ResourceMonitor {
    var used = 0.0
    /// What is free, and goes with the next release.
    var free = 0.0
    var releases = 0
    func pressure() throws(ResourceFailure) -> Double { used + free }
    func release() {
      releases += 1
      free = 0
    }
  }

  @Test("memory that is only kept is no pressure")
  func usedMemory() throws {
    let loop = try EventLoop()
    let memory = Memory()
    let monitor = UsedMemoryMonitor(memory, onset: 0.8, loop: loop) { memory.release() }
    (memory.used, memory.free) = (0.3, 0.4)
    #expect(try monitor.pressure() == 0.7)
    #expect(memory.releases == 0)
    memory.free = 0.6
    #expect(try monitor.pressure() == 0.3)
    #expect(memory.releases == 1)
    // Not again and again.
    memory.free = 0.6
    #expect(try monitor.pressure() > 0.8)
    #expect(memory.releases == 1)
  }
}
