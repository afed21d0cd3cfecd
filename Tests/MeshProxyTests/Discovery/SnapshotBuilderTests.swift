import Testing

@testable import MeshProxy

@Suite("Building a snapshot")
struct SnapshotBuilderTests {
  private func problems(
    routes: String = "[]", clusters: String = "[]", manager: String = "", httpFilters: String = ""
  ) -> [String] {
    do {
      _ = try WorkerFixture(routes: routes, clusters: clusters, manager: manager, httpFilters: httpFilters)
      return []
    } catch let error as FixtureError {
      return error.problems.map {
        $0.replacing("static_resources.listeners[0].filter_chains[0].filters[0].typed_config", with: "MANAGER")
      }
    } catch { return ["\(error)"] }
  }

  @Test("a route to a cluster that does not exist is named, with the nearest that does")
  func unknownCluster() {
    #expect(
      problems(
        routes: #"[{match: {prefix: "/"}, route: {cluster: servce1}}]"#, clusters: "[\(cluster("service1", 1))]")
        == [
          "MANAGER.route_config.virtual_hosts[0].routes[0].route.cluster: unknown cluster \"servce1\" "
            + "(did you mean \"service1\"?)"
        ])
  }

  @Test("a route cannot configure a filter that does not exist")
  func perFilterConfig() {
    let found = problems(
      routes: """
        [{match: {prefix: /}, direct_response: {status: 200}, typed_per_filter_config: {my.filter: \
        {"@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute, disabled: true}}}]
        """)
    #expect(found.count == 1)
    #expect(found.first?.contains("typed_per_filter_config[\"my.filter\"]: no filter of this name") == true)
  }

  @Test("a log format with a mistake is a mistake of the configuration")
  func logFormat() {
    let found = problems(
      manager: """
        access_log: [{name: out, typed_config: {"@type": \
        type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog, \
        log_format: {text_format_source: {inline_string: "%RESPONSE_COD%"}}}}]
        """)
    #expect(found.count == 1)
    #expect(found.first?.hasPrefix("MANAGER.access_log[0].typed_config.log_format.text_format_source: ") == true)
    #expect(found.first?.contains("RESPONSE_CODE") == true)
  }
}

@Suite("The command line")
struct CommandLineOptionsTests {
  @Test("flags as Envoy's, with values behind them or behind an equals sign")
  func flags() throws {
    let options = try CommandLineOptions.parse([
      "-c", "a.yaml", "--config-yaml=node: {}", "--mode", "validate", "--concurrency", "3", "--service-cluster=c",
      "--service-node", "n", "-l", "debug", "--drain-time-s", "7", "--disable-hot-restart", "--base-id", "4",
    ])
    #expect(options.configPath == "a.yaml")
    #expect(options.configYAML == "node: {}")
    #expect(options.mode == .validate)
    #expect(options.concurrency == 3)
    #expect(options.serviceCluster == "c")
    #expect(options.serviceNode == "n")
    #expect(options.logLevel == .debug)
    #expect(options.drainSeconds == 7)
  }

  @Test("every mistake at once, each with what is allowed")
  func mistakes() {
    #expect(
      throws: CommandLineOptions.Problems(messages: [
        "--concurency: unknown flag, did you mean --concurrency? (see --help)",
        "--mode: unknown mode \"run\" (serve, validate)",
        "--concurrency: \"0\" is no number of threads (1 to 1024)",
        "--disable-hot-restart: takes no value",
        "-c: needs a value (<file>)",
      ])
    ) {
      try CommandLineOptions.parse([
        "--concurency=2", "--mode", "run", "--concurrency", "0", "--disable-hot-restart=1", "-c",
      ])
    }
  }

  @Test("every flag is in the help")
  func help() {
    for flag in CommandLineOptions.Flag.all {
      for name in flag.names { #expect(CommandLineOptions.help.contains(name)) }
    }
  }
}
