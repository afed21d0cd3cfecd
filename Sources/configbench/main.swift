import MeshAPI
import MeshConfig
import Glibc
func status() -> String {
  let fd = open("/proc/self/status", O_RDONLY); var b = [UInt8](repeating: 0, count: 8192); let n = read(fd, &b, 8192); close(fd)
  return String(decoding: b[..<max(0, n)], as: UTF8.self).split(separator: "\n").filter { $0.hasPrefix("VmRSS") || $0.hasPrefix("VmHWM") || $0.hasPrefix("RssAnon") }.joined(separator: " ")
}
@inline(never) func run(_ path: String) {
  let clock = ContinuousClock()
  var boot: Bootstrap?
  let t = clock.measure {
    do { let l = try ConfigurationReader.readBootstrap(path: path, yaml: nil); boot = l.bootstrap; print("ok", l.bootstrap.staticResources.clusters.count, l.warnings.map(\.description)) } catch { print(error) }
  }
  print(t, status())
  _ = boot
}
print(status())
for _ in 0..<3 { run(CommandLine.arguments[1]) }
print(status())
