import MeshIO
import MeshPrimitives
import MeshProxy

@main
struct MartletProxy {
  static func main() {
    let options: CommandLineOptions
    do {
      options = try CommandLineOptions.parse(Array(CommandLine.arguments.dropFirst()))
    } catch {
      CurrentProcess.complain(error.messages.joined(separator: "\n") + "\n")
      CurrentProcess.exit(2)
    }
    if options.showsHelp { CurrentProcess.say(CommandLineOptions.help) }
    if options.showsVersion { CurrentProcess.say("martlet-proxy \(Proxy.version)\n") }
    if options.showsHelp || options.showsVersion { CurrentProcess.exit(0) }
    ProcessLog.standard.setLevel(options.logLevel)
    if options.mode == .validate { CurrentProcess.exit(Proxy.validate(options)) }
    CurrentProcess.exit(Proxy.serve(options))
  }
}
