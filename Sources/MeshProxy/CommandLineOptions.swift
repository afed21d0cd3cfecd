import MeshAPI
import MeshConfig
import MeshPrimitives

/// The command line, as Envoy has it.
public struct CommandLineOptions: Sendable, Equatable {
  public enum Mode: String, Sendable, CaseIterable { case serve, validate }

  public var configPath: String?
  public var configYAML: String?
  public var mode = Mode.serve
  /// nil: what the processor quota allows.
  public var concurrency: Int?
  public var serviceCluster: String?
  public var serviceNode: String?
  public var logLevel = LogLevel.info
  /// Levels of single components of the process log, by name.
  public var componentLogLevels: [String: LogLevel] = [:]
  /// Seconds that connections get to end by themselves after SIGTERM; what is left then is cut.
  public var drainSeconds = 30
  /// Seconds of accepting on after SIGTERM while `/ready` fails already, so that whoever sends us traffic can turn away.
  public var lameDuckSeconds = 2
  /// How long access log lines may wait in memory, in milliseconds.
  public var fileFlushMilliseconds = 1000
  public var showsHelp = false
  public var showsVersion = false

  public init() {}

  /// Why a command line cannot be used: every mistake, in order.
  public struct Problems: Error, Equatable {
    public let messages: [String]
  }

  static let maximumConcurrency = 1024

  /// The proxy itself: what `bootstrap` says, unless the command line says otherwise.
  func node(of bootstrap: Bootstrap) -> Node {
    var node = bootstrap.node
    if let name = serviceNode { node.id = name }
    if let name = serviceCluster { node.cluster = name }
    return node
  }

  /// `arguments` without the program's name. Takes `--flag value` and `--flag=value`.
  public static func parse(_ arguments: [String]) throws(Problems) -> CommandLineOptions {
    var options = CommandLineOptions()
    var problems: [String] = []
    var index = 0
    while index < arguments.count {
      var name = arguments[index]
      var inline: String?
      index += 1
      if name.hasPrefix("--"), let equals = name.firstIndex(of: "=") {
        inline = String(name[name.index(after: equals)...])
        name = String(name[..<equals])
      }
      guard let flag = Flag.all.first(where: { $0.names.contains(name) }) else {
        problems.append("\(name): unknown flag\(suggestion(name)) (see --help)")
        continue
      }
      var value: String?
      if flag.placeholder != nil {
        if let inline {
          value = inline
        } else if index < arguments.count {
          value = arguments[index]
          index += 1
        } else {
          problems.append("\(name): needs a value (\(flag.placeholder ?? ""))")
          continue
        }
      } else if inline != nil {
        problems.append("\(name): takes no value")
        continue
      }
      if let problem = flag.apply(&options, value ?? "") { problems.append("\(name): \(problem)") }
    }
    guard problems.isEmpty else { throw Problems(messages: problems) }
    return options
  }

  private static func suggestion(_ name: String) -> String {
    let near = NearestName.of(name, in: Flag.all.flatMap(\.names).filter { $0.hasPrefix("--") })
    return near.map { ", did you mean \($0)?" } ?? ""
  }

  /// What `--help` prints.
  public static var help: String {
    var text = "usage: martlet-proxy -c <file> [flags]\n\n"
    for flag in Flag.all {
      let head = flag.names.joined(separator: ", ") + (flag.placeholder.map { " \($0)" } ?? "")
      text += "  \(head)\n      \(flag.help)\n"
    }
    return text
  }

  /// One flag: its names, what it takes, what it does, and its effect, which returns what is wrong with the value.
  struct Flag: Sendable {
    let names: [String]
    let placeholder: String?
    let help: String
    let apply: @Sendable (inout CommandLineOptions, String) -> String?

    static let all: [Flag] = [
      Flag(names: ["-c", "--config-path"], placeholder: "<file>", help: "the configuration: Envoy v3, YAML or JSON") {
        $0.configPath = $1
        return nil
      },
      Flag(names: ["--config-yaml"], placeholder: "<yaml>", help: "configuration as text, merged over the file") {
        $0.configYAML = $1
        return nil
      },
      Flag(
        names: ["--mode"], placeholder: "serve|validate",
        help: "validate: print everything that is wrong with the configuration and exit (default: serve)"
      ) {
        guard let mode = Mode(rawValue: $1) else { return "unknown mode \"\($1)\" (serve, validate)" }
        $0.mode = mode
        return nil
      },
      Flag(
        names: ["--concurrency"], placeholder: "<n>",
        help: "worker threads (default: the processors that the cgroup's quota and the affinity mask allow)"
      ) {
        guard let count = Int($1), (1...maximumConcurrency).contains(count) else {
          return "\"\($1)\" is no number of threads (1 to \(maximumConcurrency))"
        }
        $0.concurrency = count
        return nil
      },
      Flag(names: ["--service-cluster"], placeholder: "<name>", help: "node.cluster, in place of the configuration's") {
        $0.serviceCluster = $1
        return nil
      },
      Flag(names: ["--service-node"], placeholder: "<name>", help: "node.id, in place of the configuration's") {
        $0.serviceNode = $1
        return nil
      },
      Flag(
        names: ["-l", "--log-level"], placeholder: "<level>",
        help: "trace, debug, info, warning, error, critical or off (default: info)"
      ) {
        guard let level = LogLevel(name: $1) else {
          return "unknown level \"\($1)\" (\(LogLevel.allCases.map(\.description).joined(separator: ", ")))"
        }
        $0.logLevel = level
        return nil
      },
      Flag(
        names: ["--component-log-level"], placeholder: "<component:level,…>",
        help: "levels of single components of the log, such as traffic:debug,dns:trace (default: that of --log-level)"
      ) { setComponentLevels(&$0.componentLogLevels, $1) },
      Flag(
        names: ["--drain-time-s"], placeholder: "<seconds>",
        help: "after SIGTERM, the time requests in flight get to finish (default: 30)"
      ) { set(&$0.drainSeconds, $1) },
      Flag(
        names: ["--lame-duck-time-s"], placeholder: "<seconds>",
        help: "after SIGTERM, the time connections are still accepted while /ready fails already (default: 2)"
      ) { set(&$0.lameDuckSeconds, $1) },
      Flag(
        names: ["--file-flush-interval-msec"], placeholder: "<ms>",
        help: "how long access log lines may wait in memory (default: 1000)"
      ) {
        let problem = set(&$0.fileFlushMilliseconds, $1)
        return problem ?? ($0.fileFlushMilliseconds == 0 ? "must be at least 1" : nil)
      },
      Flag(names: ["--disable-hot-restart"], placeholder: nil, help: "accepted for Envoy's sake, has no effect") {
        _, _ in nil
      },
      Flag(names: ["--base-id"], placeholder: "<n>", help: "accepted for Envoy's sake, has no effect") { _, _ in nil },
      Flag(names: ["--version"], placeholder: nil, help: "print the version and exit") { options, _ in
        options.showsVersion = true
        return nil
      },
      Flag(names: ["-h", "--help"], placeholder: nil, help: "print this and exit") { options, _ in
        options.showsHelp = true
        return nil
      },
    ]

    private static func setComponentLevels(_ levels: inout [String: LogLevel], _ text: String) -> String? {
      let known = ProcessLog.standard.levels().map(\.component)
      for part in text.split(separator: ",", omittingEmptySubsequences: false) {
        let pair = part.split(separator: ":", omittingEmptySubsequences: false)
        guard pair.count == 2 else { return "\"\(part)\" is no component:level" }
        guard known.contains(String(pair[0])) else {
          return "unknown component \"\(pair[0])\" (\(known.joined(separator: ", ")))"
        }
        guard let level = LogLevel(name: pair[1]) else {
          return "unknown level \"\(pair[1])\" (\(LogLevel.allCases.map(\.description).joined(separator: ", ")))"
        }
        levels[String(pair[0])] = level
      }
      return nil
    }

    private static func set(_ field: inout Int, _ text: String) -> String? {
      guard let number = Int(text), (0...86_400_000).contains(number) else {
        return "\"\(text)\" is no whole number of 0 or more"
      }
      field = number
      return nil
    }
  }
}
