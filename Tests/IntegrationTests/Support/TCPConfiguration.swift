import MeshTesting

/// The text of a configuration whose listeners pass on bytes, in flow style.
struct TCPConfiguration {
  struct Chain {
    var name = ""
    /// `filter_chain_match`, its fields.
    var match: [String] = []
    var cluster = "backend"
    /// Further fields of the TCP proxy.
    var fields: [String] = []
    /// Further fields of the chain.
    var chainFields: [String] = []
    /// The whole chain's filter, if it is no TCP proxy.
    var filter: String?
  }

  /// Of the listener.
  var name = "main"
  var listenerFields: [String] = []
  var chains = [Chain()]
  var defaultChain: Chain?
  var clusters: [ProxyConfiguration.Cluster]
  /// Of the TCP proxies' access logs; empty: none.
  var log = ""
  /// The listener's own access log.
  var listenerLog = ""

  init(backend port: UInt16) { clusters = [.init(endpoints: [("127.0.0.1", port)])] }

  /// Where `log` and `listenerLog` go, in the proxy's directory.
  static func log(_ directory: String, _ format: String) -> String {
    "[{name: log, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog,"
      + " log_format: {text_format_source: {inline_string: \"\(format)\\n\"}}}}]"
  }

  private func text(_ chain: Chain) -> String {
    var proxy = ["stat_prefix: tcp", "cluster: \(chain.cluster)"]
    if chain.fields.contains(where: { $0.hasPrefix("weighted_clusters") }) { proxy.removeLast() }
    proxy += chain.fields
    if !log.isEmpty { proxy.append("access_log: \(Self.log("", log))") }
    let filter = chain.filter ?? ProxyConfiguration.typed("tcp", "filters.network.tcp_proxy.v3.TcpProxy", proxy)
    var fields = ["name: \"\(chain.name)\"", "filters: [\(filter)]"] + chain.chainFields
    if !chain.match.isEmpty { fields.append("filter_chain_match: {\(chain.match.joined(separator: ", "))}") }
    return "{\(fields.joined(separator: ", "))}"
  }

  var yaml: String {
    var lines = [
      "admin: {address: \(ProxyConfiguration.address("127.0.0.1", 0))}", "static_resources:", "  listeners:",
    ]
    lines += ["  - name: \(name)", "    address: \(ProxyConfiguration.address("127.0.0.1", 0))"]
    lines += listenerFields.map { "    \($0)" }
    if !listenerLog.isEmpty { lines.append("    access_log: \(Self.log("", listenerLog))") }
    lines.append("    filter_chains: [\(chains.map(text).joined(separator: ",\n      "))]")
    if let defaultChain { lines.append("    default_filter_chain: \(text(defaultChain))") }
    lines.append("  clusters:")
    for cluster in clusters { lines += ProxyConfiguration.lines(cluster) }
    return lines.joined(separator: "\n") + "\n"
  }
}

extension RunningProxy {
  static func start(
    _ configuration: TCPConfiguration, drain: Int = 20, wrapper: [String] = []
  ) async throws -> RunningProxy {
    let directory = try TemporaryDirectory()
    try directory.write("proxy.yaml", configuration.yaml)
    let proxy = try RunningProxy(directory, drain: drain, wrapper: wrapper)
    try await proxy.waitUntilReady()
    return proxy
  }

  /// Replaces the configuration and waits until it is in use.
  func reload(_ configuration: TCPConfiguration) async throws {
    let times = count("the new configuration is in use")
    try directory.write("proxy.yaml", configuration.yaml)
    program.signal(1)
    try await waitForLog("the new configuration is in use", times: times + 1)
  }

  /// Waits until a statistic has a value.
  func waitForStat(_ name: String, _ value: Int, within deadline: Deadline = Deadline()) async throws {
    while try await stat(name) != value {
      guard !deadline.hasPassed else {
        throw TestFailure("\(name) is \(try await stat(name)), not \(value)")
      }
    }
  }
}
