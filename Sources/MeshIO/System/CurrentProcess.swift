internal import CLinux
import Glibc

/// This process, as the kernel sees it.
public enum CurrentProcess {
  public static var id: Int32 { clinux_getpid() }

  /// A variable of the environment. Read at start, before threads run: the environment is not protected.
  public static func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

  /// Removes a variable from the environment, so that children do not see it. Before threads run.
  public static func unsetEnvironment(_ name: String) { unsetenv(name) }

  /// All of the environment as `NAME=value`.
  public static var environment: [String] {
    var entries: [String] = []
    while let entry = clinux_environment_entry(Int32(entries.count)) { entries.append(String(cString: entry)) }
    return entries
  }

  public static var hostName: String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
      guard let base = buffer.baseAddress, gethostname(base, 255) == 0 else { return "localhost" }
      base[255] = 0
      return String(cString: base)
    }
  }

  /// The program's own file.
  public static var executablePath: String? {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 4096) { buffer in
      guard let base = buffer.baseAddress else { return nil }
      let count = readlink("/proc/self/exe", base, 4095)
      guard count > 0 else { return nil }
      base[count] = 0
      return String(cString: base)
    }
  }

  /// Descriptors open now; nil where `/proc` is missing.
  public static var openDescriptors: Int? {
    let count = clinux_open_descriptors()
    return count < 0 ? nil : Int(count)
  }

  /// Raises the soft limit of open descriptors to the hard one.
  /// - Returns: the limit now in force.
  @discardableResult
  public static func raiseDescriptorLimit() -> Int { max(0, Int(clinux_raise_descriptor_limit())) }

  /// A write to a closed connection shall be an error, not the end of the process; so shall one to a file that has
  /// reached the limit of file sizes (`LimitFSIZE`).
  public static func ignoreWriteSignals() {
    _ = clinux_ignore_signal(SIGPIPE)
    _ = clinux_ignore_signal(SIGXFSZ)
  }

  /// Memory in use.
  public struct Memory: Equatable, Sendable {
    /// Resident bytes, shared ones counted in full.
    public var resident: UInt64 = 0
    /// Resident bytes, shared ones divided by the number of sharers; 0 where the kernel does not tell.
    public var proportional: UInt64 = 0
    /// Resident bytes of no file.
    public var anonymous: UInt64 = 0
  }

  /// What `malloc` has, of all threads.
  public struct Heap: Equatable, Sendable {
    /// Bytes that are in use.
    public var allocated: UInt64 = 0
    /// Bytes that were taken from the kernel.
    public var size: UInt64 = 0
    /// Bytes of those that are not in use.
    public var free: UInt64 = 0
  }

  /// Takes the locks of all of malloc's arenas for a moment: for people who ask, not for every event.
  public static var heap: Heap {
    var heap = Heap()
    clinux_heap(&heap.allocated, &heap.size, &heap.free)
    return heap
  }

  /// Gives the system back what only the reading of a configuration needed: free pages of the heap, and the pages of code
  /// (clean ones, which come back from the page cache as they are used again). Takes about a millisecond. Any thread.
  public static func releaseUnusedMemory() { clinux_release_memory() }

  /// Gives the system back what malloc keeps of memory that is free, of all threads. Takes milliseconds, and the locks of
  /// malloc's arenas: for moments when memory is short. Any thread.
  public static func releaseFreeHeap() { clinux_release_heap() }

  /// Resident memory of no file, in bytes: what a kernel without memory cannot take back; nil where `/proc` is missing.
  /// Cheap.
  public static var ownResidentMemory: UInt64? {
    guard let text = try? FileContents.text("/proc/self/statm", limit: 4096) else { return nil }
    // size resident shared …, in pages (proc_pid_statm(5)); shared is what belongs to files.
    let pages = text.split(separator: " ").prefix(3).compactMap { UInt64($0) }
    guard pages.count == 3 else { return nil }
    return (pages[1] - min(pages[1], pages[2])) * UInt64(max(1, sysconf(Int32(_SC_PAGESIZE))))
  }

  /// Reads `/proc/self/smaps_rollup`. Takes about a millisecond: for people who ask, not for every event.
  public static var memory: Memory {
    guard let text = try? FileContents.text("/proc/self/smaps_rollup", limit: 1 << 16) else { return Memory() }
    return memory(fromRollup: text)
  }

  static func memory(fromRollup text: String) -> Memory {
    var memory = Memory()
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard words.count == 3, words[2] == "kB", let value = UInt64(words[1]), value < 1 << 50 else { continue }
      switch words[0] {
      case "Rss:": memory.resident = value * 1024
      case "Pss:": memory.proportional = value * 1024
      case "Anonymous:": memory.anonymous = value * 1024
      default: break
      }
    }
    return memory
  }
}
