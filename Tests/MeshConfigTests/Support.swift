import MeshAPI
import SwiftProtobuf
import Testing

@testable import MeshConfig

/// Every problem that reading `yaml` as an `M` finds, errors and warnings, one line each.
func problems<M: Message>(_ type: M.Type, _ yaml: String) -> [String] {
  do {
    return try ConfigurationReader.read(type, bytes: Array(yaml.utf8), file: "x.yaml").warnings.map(\.description)
  } catch {
    return error.problems.map(\.description)
  }
}

/// Reads `yaml` as an `M`, which must be without problems.
func load<M: Message>(_ type: M.Type, _ yaml: String) throws -> M {
  let loaded = try ConfigurationReader.read(type, bytes: Array(yaml.utf8), file: "x.yaml")
  #expect(loaded.warnings.isEmpty)
  return loaded.message
}

/// A front proxy with one route to one cluster; the smallest configuration that does something.
let frontProxy = """
  static_resources:
    listeners:
    - address:
        socket_address:
          address: 0.0.0.0
          port_value: 8000
      filter_chains:
      - filters:
        - name: envoy.filters.network.http_connection_manager
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
            codec_type: AUTO
            stat_prefix: ingress_http
            route_config:
              name: local_route
              virtual_hosts:
              - name: backend
                domains:
                - "*"
                routes:
                - match:
                    prefix: "/service/1"
                  route:
                    cluster: service1
            http_filters:
            - name: envoy.filters.http.router
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
    clusters:
    - name: service1
      type: STRICT_DNS
      lb_policy: ROUND_ROBIN
      load_assignment:
        cluster_name: service1
        endpoints:
        - lb_endpoints:
          - endpoint:
              address:
                socket_address:
                  address: service1
                  port_value: 8000
  admin:
    address:
      socket_address:
        address: 0.0.0.0
        port_value: 8001

  """

/// Where the connection manager of `frontProxy` is.
let managerPath = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"

extension String {
  /// This text with `line` (without its indentation) replaced by `replacement`, keeping the indentation.
  func replacing(line: String, with replacement: String) -> String {
    var found = false
    let lines = split(separator: "\n", omittingEmptySubsequences: false).map { text -> String in
      let indentation = text.prefix { $0 == " " }
      guard !found, text.dropFirst(indentation.count) == line else { return String(text) }
      found = true
      return replacement.split(separator: "\n", omittingEmptySubsequences: false).map { indentation + $0 }
        .joined(separator: "\n")
    }
    #expect(found, "no line \(line)")
    return lines.joined(separator: "\n")
  }
}
