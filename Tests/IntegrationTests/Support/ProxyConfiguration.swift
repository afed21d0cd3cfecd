/// The text of a proxy's configuration. Parts are YAML in flow style, so that each fits on a line.
struct ProxyConfiguration {
  struct Listener {
    var name = "main"
    /// 0: the kernel chooses; see `RunningProxy.port`.
    var port: UInt16 = 0
    /// 127.0.0.1, or the path of a Unix socket.
    var host = "127.0.0.1"
    var fields: [String] = []
    /// Network filters before the connection manager.
    var networkFilters: [String] = []
    /// Further fields of the filter chain.
    var chainFields: [String] = []
    var managerFields: [String] = []
    /// Further fields of the virtual host.
    var hostFields: [String] = []
    var routes = ["{match: {prefix: /}, route: {cluster: backend, timeout: 60s}}"]
    var filters: [String] = []
    var routerFields: [String] = []
    /// Path and, if it is not the default, format of an access log.
    var accessLogs: [(path: String, format: String?)] = []
  }

  struct Cluster {
    var name = "backend"
    var type = "STATIC"
    var endpoints: [(host: String, port: UInt16)]
    var fields: [String] = []
  }

  var listeners = [Listener()]
  var clusters: [Cluster] = []
  /// Further fields of the admin interface, in flow style.
  var adminFields: [String] = []
  /// Further fields of the static resources.
  var resourceFields: [String] = []
  /// Further fields of the bootstrap.
  var fields: [String] = []

  init(listeners: [Listener] = [Listener()], clusters: [Cluster]) {
    self.listeners = listeners
    self.clusters = clusters
  }

  /// One listener before one backend.
  init(backend port: UInt16) { self.init(clusters: [Cluster(endpoints: [("127.0.0.1", port)])]) }

  private static let types = "type.googleapis.com/envoy.extensions"

  /// - Parameter host: a path, or a name after an `@`, is a Unix socket.
  static func address(_ host: String, _ port: UInt16) -> String {
    if host.hasPrefix("/") || host.hasPrefix("@") { return "{pipe: {path: \"\(host)\"}}" }
    return "{socket_address: {address: \"\(host)\", port_value: \(port)}}"
  }

  /// An extension with its configuration's type, as `HttpConnectionManager` and filters are written.
  static func typed(_ name: String, _ type: String, _ fields: [String] = []) -> String {
    "{name: \(name), typed_config: {\((["\"@type\": \(types).\(type)"] + fields).joined(separator: ", "))}}"
  }

  var yaml: String {
    var lines =
      ["admin: {\((["address: \(Self.address("127.0.0.1", 0))"] + adminFields).joined(separator: ", "))}"] + fields + [
        "static_resources:"
      ]
    lines += resourceFields.map { "  \($0)" }
    lines.append("  listeners:")
    for listener in listeners { lines += Self.lines(listener) }
    lines.append("  clusters:")
    for cluster in clusters { lines += Self.lines(cluster) }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func lines(_ listener: Listener) -> [String] {
    let logs = listener.accessLogs.map { log in
      let format = log.format.map { ", log_format: {text_format_source: {inline_string: \"\($0)\"}}" } ?? ""
      return
        "{name: log, typed_config: {\"@type\": \(types).access_loggers.file.v3.FileAccessLog, path: \"\(log.path)\"\(format)}}"
    }
    var lines = ["  - name: \(listener.name)", "    address: \(address(listener.host, listener.port))"]
    lines += listener.fields.map { "    \($0)" }
    lines += [
      "    filter_chains:", "    - filters:",
    ]
    lines += listener.networkFilters.map { "      - \($0)" }
    lines += [
      "      - name: manager", "        typed_config:",
      "          \"@type\": \(types).filters.network.http_connection_manager.v3.HttpConnectionManager",
    ]
    if !listener.managerFields.contains(where: { $0.hasPrefix("stat_prefix:") }) {
      lines.append("          stat_prefix: \(listener.name)")
    }
    lines += listener.managerFields.map { "          \($0)" }
    if !logs.isEmpty { lines.append("          access_log: [\(logs.joined(separator: ", "))]") }
    lines += ["          route_config:", "            name: routes", "            virtual_hosts:"]
    lines += ["            - name: all", "              domains: [\"*\"]"]
    lines += listener.hostFields.map { "              \($0)" }
    lines.append("              routes:")
    lines += listener.routes.map { "              - \($0)" }
    lines.append("          http_filters:")
    lines +=
      (listener.filters + [typed("envoy.filters.http.router", "filters.http.router.v3.Router", listener.routerFields)])
      .map {
        "          - \($0)"
      }
    lines += listener.chainFields.map { "      \($0)" }
    return lines
  }

  static func lines(_ cluster: Cluster) -> [String] {
    let endpoints = cluster.endpoints.map { "{endpoint: {address: \(address($0.host, $0.port))}}" }
    return ["  - name: \(cluster.name)", "    type: \(cluster.type)"] + cluster.fields.map { "    \($0)" } + [
      "    load_assignment:", "      cluster_name: \(cluster.name)",
      "      endpoints: [{lb_endpoints: [\(endpoints.joined(separator: ", "))]}]",
    ]
  }
}
