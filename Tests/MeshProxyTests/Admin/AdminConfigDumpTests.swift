import MeshAPI
import MeshPrimitives
import MeshTesting
import SwiftProtobuf
import Testing

@testable import MeshProxy

@Suite("Admin /config_dump")
struct AdminConfigDumpTests {
  private static let configuration = """
    node: {id: n, cluster: front, metadata: {text: "a: {\\"b\\\\\\\\\\"}, [c]", list: [1, {}, [], null, true]}}
    admin: {address: {socket_address: {address: 127.0.0.1, port_value: 9901}}}
    static_resources:
      listeners:
      - name: front
        address: {socket_address: {address: 127.0.0.1, port_value: 8000}}
        filter_chains:
        - filters:
          - name: envoy.filters.network.http_connection_manager
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
              stat_prefix: edge
              route_config:
                name: local_route
                virtual_hosts:
                - name: all
                  domains: ["*"]
                  routes:
                  - match: {prefix: "/"}
                    route: {cluster: service1, timeout: 0.25s}
              http_filters:
              - name: envoy.filters.http.router
                typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
      clusters:
      - name: service1
        type: STATIC
        connect_timeout: 0.25s
        load_assignment:
          cluster_name: service1
          endpoints:
          - lb_endpoints:
            - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 9000}}}
    """

  /// In Envoy's layout, which is how Envoy 1.40 prints this configuration.
  private static let listener = """
      "listener": {
       "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
       "name": "front",
       "address": {
        "socket_address": {
         "address": "127.0.0.1",
         "port_value": 8000
        }
       },
       "filter_chains": [
        {
         "filters": [
          {
           "name": "envoy.filters.network.http_connection_manager",
           "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "edge",
            "route_config": {
             "name": "local_route",
             "virtual_hosts": [
              {
               "name": "all",
               "domains": [
                "*"
               ],
               "routes": [
                {
                 "match": {
                  "prefix": "/"
                 },
                 "route": {
                  "cluster": "service1",
                  "timeout": "0.250s"
                 }
                }
               ]
              }
             ]
            },
            "http_filters": [
             {
              "name": "envoy.filters.http.router",
              "typed_config": {
               "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
              }
             }
            ]
           }
          }
         ]
        }
       ]
      },
      "last_updated": "2026-11-22T06:17:25.913Z"
     }

    """

  /// The types and sections of a dump, in order.
  private static func configs(_ response: RawResponse) throws -> [[String: Google_Protobuf_Value]] {
    let value = try Google_Protobuf_Value(jsonString: response.text)
    return value.structValue.fields["configs"]?.listValue.values.map(\.structValue.fields) ?? []
  }

  private static func members(_ value: Google_Protobuf_Value?) -> [String: Google_Protobuf_Value] {
    value?.structValue.fields ?? [:]
  }

  @Test("the sections come in Envoy's order, each with its type")
  func sections() async throws {
    try await withAdmin {
      try $0.configure(Self.configuration)
    } serving: { admin in
      let configs = try Self.configs(admin.get("/config_dump"))
      let names = configs.map { $0["@type"]?.stringValue.split(separator: ".").last.map(String.init) ?? "" }
      #expect(
        names == [
          "BootstrapConfigDump", "ClustersConfigDump", "ListenersConfigDump", "ScopedRoutesConfigDump",
          "RoutesConfigDump", "SecretsConfigDump",
        ])
      guard configs.count == 6 else { return }
      let clusters = configs[1]["static_clusters"]?.listValue.values ?? []
      #expect(clusters.count == 1)
      let cluster = Self.members(Self.members(clusters.first)["cluster"])
      #expect(cluster["@type"]?.stringValue == "type.googleapis.com/envoy.config.cluster.v3.Cluster")
      #expect(cluster["connect_timeout"]?.stringValue == "0.250s")
      #expect(Set(configs[3].keys) == ["@type"] && Set(configs[5].keys) == ["@type"])
      let routes = Self.members(configs[4]["static_route_configs"]?.listValue.values.first)
      #expect(Self.members(routes["route_config"])["name"]?.stringValue == "local_route")
      #expect(routes["last_updated"]?.stringValue == "2026-11-22T06:17:25.913Z")
    }
  }

  @Test("the bootstrap is whole: what is dumped reads as what was configured")
  func bootstrap() async throws {
    try await withAdmin {
      try $0.configure(Self.configuration)
    } serving: { admin in
      let configured = try admin.onLoop { $0.context.bootstrap }
      let text = try Array(admin.get("/config_dump?resource=bootstrap").body)
      let start = try #require(firstRange(of: Array("\"bootstrap\": ".utf8), in: text))
      let end = try #require(firstRange(of: Array(",\n   \"last_updated\"".utf8), in: text))
      let again = FakeAdminContext()
      try again.configure(String(decoding: text[(start + 13)..<end], as: UTF8.self))
      #expect(again.bootstrap == configured)
    }
  }

  @Test("a resource is in Envoy's very layout")
  func layout() async throws {
    try await withAdmin {
      try $0.configure(Self.configuration)
    } serving: { admin in
      let all = try admin.get("/config_dump").text
      let element = Self.listener.split(separator: "\n").map { "   " + $0 + "\n" }.joined()
      #expect(all.contains("  \"static_listeners\": [\n    {\n" + element), "\(all)")
      let one = try admin.get("/config_dump?resource=static_listeners").text
      #expect(
        one == """
          {
           "configs": [
            {
             "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump.StaticListener",

          """
          + Self.listener.split(separator: "\n").map { " " + $0 + "\n" }.joined()
            + """
             ]
            }

            """)
    }
  }

  @Test("resource chooses", arguments: ["bootstrap", "static_clusters", "static_listeners", "static_route_configs"])
  func resource(name: String) async throws {
    try await withAdmin {
      try $0.configure(Self.configuration)
    } serving: { admin in
      let configs = try Self.configs(admin.get("/config_dump?resource=\(name)"))
      #expect(configs.count == 1)
      #expect(configs.first?["last_updated"] != nil)
    }
  }

  @Test("what is not there or not understood is refused by name")
  func refused() async throws {
    try await withAdmin {
      try $0.configure(Self.configuration)
    } serving: { admin in
      let unknown = try admin.get("/config_dump?resource=dynamic_active_clusters")
      #expect(unknown.status == 404)
      #expect(unknown.text == "dynamic_active_clusters not found in config dump")
      for name in ["mask", "name_regex"] {
        let response = try admin.get("/config_dump?\(name)=x")
        #expect(response.status == 400)
        #expect(response.text.hasPrefix("\(name) is not supported"))
      }
    }
  }

  @Test("an empty configuration is dumped as sections without content")
  func empty() async throws {
    try await withAdmin { admin in
      let configs = try Self.configs(admin.get("/config_dump"))
      #expect(configs.count == 6)
      #expect(configs.dropFirst().allSatisfy { Set($0.keys) == ["@type"] })
      let text = try admin.get("/config_dump?resource=static_clusters").text
      #expect(text == "{\n \"configs\": []\n}\n")
    }
  }

  @Test("a message of a type that is not known shows what is wrong with it, and the rest is there")
  func unknownType() async throws {
    try await withAdmin { context in
      var cluster = Cluster()
      cluster.name = "odd"
      var options = TypedConfig()
      options.typeURL = "type.googleapis.com/does.not.Exist"
      options.value = .init([1, 2, 3])
      cluster.typedExtensionProtocolOptions["x"] = options
      var plain = Cluster()
      plain.name = "plain"
      context.bootstrap.staticResources.clusters = [cluster, plain]
    } serving: { admin in
      let configs = try Self.configs(admin.get("/config_dump?resource=static_clusters"))
      #expect(configs.count == 2)
      let error = Self.members(Self.members(configs.first?["cluster"])["error_state"])["details"]
      #expect(error?.stringValue.hasPrefix("cannot be written as JSON: ") == true)
      #expect(Self.members(configs.last?["cluster"])["name"]?.stringValue == "plain")
    }
  }

  @Test("ten thousand clusters are dumped whole")
  func tenThousand() async throws {
    try await withAdmin { context in
      context.bootstrap.staticResources.clusters = (0..<10_000).map { index in
        var cluster = Cluster()
        cluster.name = "cluster-\(index)"
        return cluster
      }
    } serving: { admin in
      let text = try admin.get("/config_dump").text
      #expect(text.split(separator: "\n").filter { $0.contains("\"name\": \"cluster-") }.count == 20_000)
      #expect(text.hasSuffix("\n ]\n}\n"))
    }
  }
}
