import Glibc
import MeshIO
import MeshPrimitives
import MeshProxy

@main
struct MartletProxy {
  /// Exit status: 0 after serving or a valid configuration, 1 after a failure, 2 for a command line that is wrong.
  static func main() {
    do {
      let options = try CommandLineOptions.parse(Array(CommandLine.arguments.dropFirst()))
      if options.showsHelp || options.showsVersion {
        AppendFile.standardOutput().write(options.showsHelp ? CommandLineOptions.help : "\(Proxy.versionLine)\n")
        exit(0)
      }
      ProcessLog.standard.setLevel(options.logLevel)
      for (component, level) in options.componentLogLevels {
        _ = ProcessLog.standard.setLevel(level, component: component)
      }
      exit(options.mode == .validate ? Proxy.validate(options) : Proxy.serve(options))
    } catch {
      AppendFile.standardError().write(error.messages.map { "martlet-proxy: \($0)\n" }.joined())
      exit(2)
    }
  }
}
