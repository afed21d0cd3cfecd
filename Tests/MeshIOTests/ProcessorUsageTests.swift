import MeshPrimitives
import Testing

@testable import MeshIO

@Suite("Processor usage")
struct ProcessorUsageTests {
  @Test("the machine's")
  func machine() {
    let files = ["/proc/stat": "cpu  100 5 45 850 10 0 0 0 0 0\ncpu0 1 2 3 4\n"]
    #expect(ProcessorUsage.machine { files[$0] } == ProcessorUsage(used: 150, available: 1000))
    for nonsense in ["", "cpu", "cpu 1 2", "intr 1 2 3 4", "cpu a b c d"] {
      #expect(ProcessorUsage.machine { _ in nonsense } == nil)
    }
    #expect(ProcessorUsage.machine() != nil)
  }

  @Test("a control group's, of version 2 and 1")
  func groups() {
    var files = [
      "/proc/self/cgroup": "0::/a\n",
      "/proc/self/mountinfo": "30 22 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n",
      "/sys/fs/cgroup/a/cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
    ]
    let now = MonotonicTime(nanoseconds: 10_000_000_000)
    #expect(
      ProcessorUsage.controlGroup(at: now, processors: 1.5) { files[$0] } == ProcessorUsage(used: 2.5, available: 15))
    files = [
      "/proc/self/cgroup": "4:cpu,cpuacct:/b\n",
      "/proc/self/mountinfo": "31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct ro shared:11 - cgroup cgroup rw,cpu,cpuacct\n",
      "/sys/fs/cgroup/cpu,cpuacct/b/cpuacct.usage": "3000000000\n",
    ]
    #expect(ProcessorUsage.controlGroup(at: now, processors: 2) { files[$0] } == ProcessorUsage(used: 3, available: 20))
    #expect(ProcessorUsage.controlGroup(at: now, processors: 2) { _ in nil } == nil)
    // The quota need not be whole.
    let quota = [
      "/proc/self/cgroup": "0::/a\n",
      "/proc/self/mountinfo": "30 22 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n",
      "/sys/fs/cgroup/a/cpu.max": "150000 100000\n",
    ]
    #expect(ProcessorQuota.capacity(affinity: 4) { quota[$0] } == 1.5)
    #expect(ProcessorQuota.capacity(affinity: 4) { _ in nil } == 4)
  }
}
