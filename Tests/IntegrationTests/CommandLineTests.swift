import MeshTesting
import Testing

@Suite("Command line", .timeLimit(.minutes(2)))
struct CommandLineTests {
  private struct Result {
    var status: RunningProgram.Ending
    var output: String
    var errors: String
  }

  private func run(_ arguments: [String]) async throws -> Result {
    let program = try RunningProgram(RunningProxy.path, arguments)
    // The deadline is the test: none of this may begin to serve.
    let ending = try await program.waitForEnd(within: Deadline(.seconds(30)))
    _ = try? await program.waitForOutput("\u{0}")
    return Result(status: ending, output: program.output, errors: program.errorOutput)
  }

  @Test func versionAndHelp() async throws {
    let version = try await run(["--version"])
    #expect(version.status == .exited(0))
    #expect(version.output.wholeMatch(of: /martlet-proxy \d+\.\d+\.\d+\n/) != nil, "\(version.output)")
    #expect(version.errors.isEmpty)
    let help = try await run(["--help"])
    #expect(help.status == .exited(0))
    for flag in [
      "-c, --config-path", "--config-yaml", "--mode", "--concurrency", "--service-cluster", "--service-node",
      "-l, --log-level", "--component-log-level", "--drain-time-s", "--disable-hot-restart", "--base-id", "--version",
      "-h, --help",
    ] { #expect(help.output.contains("  \(flag)"), "\(flag)") }
  }

  @Test func everyMistakeIsNamed() async throws {
    let result = try await run(["--concurency", "2", "--mode", "test", "-l", "loud", "--drain-time-s=-1", "--base-id"])
    #expect(result.status == .exited(2))
    #expect(result.output.isEmpty)
    let lines = result.errors.split(separator: "\n")
    #expect(lines.allSatisfy { $0.hasPrefix("martlet-proxy: ") })
    #expect(result.errors.contains("--concurency: unknown flag, did you mean --concurrency?"))
    #expect(result.errors.contains("--mode: unknown mode \"test\" (serve, validate)"))
    #expect(result.errors.contains("-l: unknown level \"loud\""))
    #expect(result.errors.contains("--drain-time-s: \"-1\""))
    #expect(result.errors.contains("--base-id: needs a value"))
  }

  @Test func levelsOfComponentsAreChecked() async throws {
    let result = try await run([
      "--component-log-level", "trafic:debug", "--component-log-level=traffic:loud", "--component-log-level", "traffic",
      "--component-log-level", "traffic:debug,", "--component-log-level", "dns:trace,io:off",
    ])
    #expect(result.status == .exited(2))
    let lines = result.errors.split(separator: "\n")
    #expect(lines.count == 4, "\(lines)")
    #expect(lines[0].contains("--component-log-level: unknown component \"trafic\" (admin, config, ") == true)
    #expect(lines[1].contains("unknown level \"loud\""))
    #expect(lines[2].contains("\"traffic\" is no component:level"))
    #expect(lines[3].contains("\"\" is no component:level"))
  }

  @Test(arguments: ["serve", "validate"])
  func withoutAConfigurationThereIsNothingToDo(_ mode: String) async throws {
    let nothing = try await run(["--mode", mode])
    #expect(nothing.status == .exited(1))
    #expect(nothing.errors.contains("there is no configuration (give --config-path or --config-yaml)"))
    let missing = try await run(["--mode", mode, "-c", "/nonexistent/proxy.yaml"])
    #expect(missing.status == .exited(1))
    #expect(missing.errors.contains("/nonexistent/proxy.yaml: cannot be read: No such file or directory"))
  }

  @Test func aValidConfigurationIsSaidToBeSo() async throws {
    let directory = try TemporaryDirectory()
    var configuration = ProxyConfiguration(backend: 1)
    configuration.listeners[0].accessLogs = [(directory.file("access.log"), nil)]
    let path = try directory.write("proxy.yaml", configuration.yaml)
    let result = try await run(["--mode", "validate", "-c", path])
    #expect(result.status == .exited(0), "\(result.errors)")
    #expect(result.output == "\(path): the configuration is valid\n")
    #expect(result.errors.isEmpty)
    // Nothing is opened for it.
    #expect(!TemporaryDirectory.names(directory.path).contains("access.log"))
  }

  /// A log that cannot be written would keep the process from starting.
  @Test func anAccessLogThatCannotBeWrittenIsAnError() async throws {
    let directory = try TemporaryDirectory()
    try directory.write("directory/file", "")
    for (log, reason) in [
      ("/nonexistent/access.log", "No such file or directory"), (directory.file("directory"), "Is a directory"),
      (directory.file("directory/file/log"), "Not a directory"),
    ] {
      var configuration = ProxyConfiguration(backend: 1)
      configuration.listeners[0].accessLogs = [(log, nil)]
      let path = try directory.write("proxy.yaml", configuration.yaml)
      let result = try await run(["--mode", "validate", "-c", path])
      #expect(result.status == .exited(1))
      #expect(result.errors.hasPrefix(path + ":"))
      #expect(result.errors.contains(".access_log[0].typed_config.path: open "))
      #expect(result.errors.contains("open \(log): \(reason)"), "\(result.errors)")
    }
  }

  /// From the reader, the validation and the building of the snapshot: all of them, each with its place.
  @Test func everyErrorIsNamedWithItsPlace() async throws {
    let directory = try TemporaryDirectory()
    var configuration = ProxyConfiguration(backend: 1)
    configuration.listeners[0].fields = ["per_connection_bufer_limit_bytes: 5", "tcp_backlog_size: many"]
    configuration.clusters[0].fields = ["connect_timeout: soon"]
    let path = try directory.write("proxy.yaml", configuration.yaml)
    let result = try await run(["--mode", "validate", "-c", path])
    #expect(result.status == .exited(1))
    #expect(result.output.isEmpty)
    let lines = result.errors.split(separator: "\n").map(String.init)
    for line in lines {
      #expect(
        line.hasPrefix(path + ":") && line.dropFirst(path.count).prefixMatch(of: /:\d+:\d+: \S+: ./) != nil, "\(line)")
    }
    #expect(lines.count == 3, "\(result.errors)")
    #expect(result.errors.contains("\(path):6:5: static_resources.listeners[0].per_connection_bufer_limit_bytes: "))
    #expect(result.errors.contains("did you mean \"per_connection_buffer_limit_bytes\""), "\(result.errors)")

    var references = ProxyConfiguration(backend: 1)
    references.listeners[0].routes = [
      "{match: {prefix: /a}, route: {cluster: bakend}}", "{match: {prefix: /b}, route: {cluster: nowhere}}",
    ]
    try directory.write("proxy.yaml", references.yaml)
    let unresolved = try await run(["--mode", "validate", "-c", path])
    #expect(unresolved.status == .exited(1))
    #expect(
      unresolved.errors.contains("unknown cluster \"bakend\" (did you mean \"backend\"?)"), "\(unresolved.errors)")
    #expect(unresolved.errors.contains("unknown cluster \"nowhere\""))
    // Serving ends the same way.
    let serving = try await run(["-c", path])
    #expect(serving.status == .exited(1))
    #expect(serving.errors.contains("unknown cluster \"nowhere\""))
  }

  /// Two of a kind at one place, of which only one could work.
  @Test func collisionsAreErrors() async throws {
    var sameAddress = ProxyConfiguration(backend: 1)
    sameAddress.listeners = [.init(name: "a", port: 10001), .init(name: "b", port: 10001)]
    var sameName = ProxyConfiguration(backend: 1)
    sameName.listeners = [.init(name: "a"), .init(name: "a")]
    var sameCluster = ProxyConfiguration(backend: 1)
    sameCluster.clusters.append(sameCluster.clusters[0])
    for (configuration, words) in [
      (sameAddress.yaml, "127.0.0.1:10001"), (sameName.yaml, "\"a\""), (sameCluster.yaml, "\"backend\""),
      (sameAddress.yaml.replacingFirst("port_value: 0", "port_value: 10001"), "admin"),
    ] {
      let directory = try TemporaryDirectory()
      let path = try directory.write("proxy.yaml", configuration)
      let result = try await run(["--mode", "validate", "-c", path])
      #expect(result.status == .exited(1), "\(words): \(result.output)")
      #expect(result.errors.contains(words), "\(words): \(result.errors)")
    }
  }

  /// Values replace the file's, lists are joined to them.
  @Test func textIsMergedOverTheFile() async throws {
    let backend = try EchoBackend()
    let text = """
      {node: {id: from-text}, static_resources: {clusters: [{name: second, type: STATIC, connect_timeout: 1s,
      load_assignment: {cluster_name: second}}]}}
      """
    let directory = try TemporaryDirectory()
    try directory.write(
      "proxy.yaml", "node: {id: from-file, cluster: from-file}\n" + ProxyConfiguration(backend: backend.port).yaml)
    let proxy = try RunningProxy(directory, arguments: ["--config-yaml", text, "--service-cluster", "from-flag"])
    try await proxy.waitUntilReady()
    #expect(try await proxy.get("/x").status == 200)
    let clusters = try await proxy.admin("/clusters").text
    #expect(clusters.contains("backend::") && clusters.contains("second::"))
    let information = try await proxy.admin("/server_info").text
    #expect(information.contains("\"from-text\"") && !information.contains("\"id\": \"from-file\""))

    let wrong = try await run(["--mode", "validate", "-c", directory.file("proxy.yaml"), "--config-yaml", "{nod: {}}"])
    #expect(wrong.status == .exited(1))
    #expect(wrong.errors.contains("--config-yaml:1:2: nod: "), "\(wrong.errors)")
  }

  @Test func flagsOfEnvoyThatMeanNothingHereAreTaken() async throws {
    let backend = try EchoBackend()
    let proxy = try await RunningProxy.start(
      ProxyConfiguration(backend: backend.port), arguments: ["--disable-hot-restart", "--base-id", "7"])
    _ = proxy
  }
}

extension String {
  fileprivate func replacingFirst(_ text: String, _ other: String) -> String {
    guard let range = firstRange(of: text) else { return self }
    return self[..<range.lowerBound] + other + self[range.upperBound...]
  }
}
