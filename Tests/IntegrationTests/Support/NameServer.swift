import Glibc
import MeshTesting

/// A DNS server that one program uses instead of the system's: it runs in a mount namespace with an `/etc/resolv.conf` of
/// its own. Needs root.
final class NameServer: Sendable {
  /// Whether this user may make a mount namespace, and listen on port 53.
  static let isPossible = geteuid() == 0 && system("unshare --mount true 2>/dev/null") == 0

  private static let count = Monitor(0)

  let server: ScriptedNameServer
  private let directory: TemporaryDirectory

  init(_ script: @escaping @Sendable (ScriptedNameServer.Question) -> ScriptedNameServer.Answer) throws {
    // resolv.conf(5) knows no ports: an address of the test's own.
    let number = Self.count.change { count in
      count += 1
      return count
    }
    let host = "127.\(53 + number % 64).\(getpid() >> 8 & 0xff).\(getpid() & 0xff | 1)"
    self.host = host
    server = try ScriptedNameServer(host: host, port: 53, script)
    directory = try TemporaryDirectory()
    try directory.write("resolv.conf", "nameserver \(host)\n")
  }

  private let host: String

  /// Those who ask this server, by its `resolv.conf`, ask `other` from now on.
  func redirect(to other: NameServer) throws {
    try directory.write("resolv.conf", "nameserver \(other.host)\noptions timeout:1\n")
  }

  /// The command that a program's own command is appended to.
  var wrapper: [String] {
    [
      "unshare", "--mount", "sh", "-c",
      "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"", directory.file("resolv.conf"),
    ]
  }
}
