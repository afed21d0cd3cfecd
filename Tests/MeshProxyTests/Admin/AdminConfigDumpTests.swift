import MeshAPI
import MeshPrimitives
import MeshTesting
import SwiftProtobuf
import Testing

@testable import MeshConfig
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
      let text = try Array(admin.get("/config_dump?mask=bootstrap,last_updated").body)
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

  @Test("resource chooses", arguments: ["static_clusters", "static_listeners", "static_route_configs"])
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
      for (query, status, text) in [
        ("resource=x", 404, "x not found in config dump"),
        ("resource=static_endpoint_configs", 404, "static_endpoint_configs not found in config dump"),
        (
          "resource=bootstrap", 400, "bootstrap is not a repeated field. Use ?mask=bootstrap to get only this field"
        ),
        ("name_regex=(", 400, "Error while parsing name_regex from (: missing ): (\n"),
        ("mask=foo", 400, "FieldMask foo could not be successfully applied to any configs."),
        (
          "mask=bootstrap,static_clusters", 400,
          "FieldMask bootstrap,static_clusters could not be successfully applied to any configs."
        ),
        ("resource=static_clusters&mask=foo.bar", 400, "FieldMask foo.bar could not be successfully used."),
        (
          "resource=static_clusters&mask=cluster.nothing", 400,
          "FieldMask cluster.nothing could not be successfully used."
        ),
        ("mask=a..b", 400, "FieldMask a..b could not be successfully used."),
      ] {
        let response = try admin.get("/config_dump?\(query)")
        #expect(response.status == status, "\(query)")
        #expect(response.text == text, "\(query)")
      }
      // Envoy's, and always empty here.
      try #expect(admin.get("/config_dump?resource=dynamic_active_clusters").text == "{}\n")
    }
  }

  @Test("a mask chooses fields: of the sections, of the bootstrap, of the elements of a list")
  func masks() async throws {
    try await withAdmin {
      try $0.configure(Self.configuration)
      $0.bootstrap.node.id = "n"
      $0.bootstrap.node.cluster = "c"
    } serving: { admin in
      let compact = { (query: String) in
        try admin.get("/config_dump?\(query)").text.filter { $0 != "\n" && $0 != " " }
      }
      let type = { (name: String) in "\"@type\":\"type.googleapis.com/envoy.\(name)\"" }
      try #expect(
        compact("mask=bootstrap.node.id")
          == #"{"configs":[{\#(type("admin.v3.BootstrapConfigDump")),"bootstrap":{"node":{"id":"n"}}}]}"#)
      let clusters = try compact("mask=static_clusters")
      #expect(
        clusters.hasPrefix(#"{"configs":[{\#(type("admin.v3.ClustersConfigDump")),"static_clusters":[{"cluster":"#))
      #expect(clusters.contains("last_updated") && !clusters.contains("BootstrapConfigDump"))
      try #expect(
        compact("resource=static_clusters&mask=cluster.name,last_updated")
          == #"{"configs":[{\#(type("admin.v3.ClustersConfigDump.StaticCluster")),"cluster":{\#(type("config.cluster.v3.Cluster")),"name":"service1"},"last_updated":"2026-11-22T06:17:25.913Z"}]}"#
      )
      try #expect(
        compact("resource=static_clusters&mask=last_updated")
          == #"{"configs":[{\#(type("admin.v3.ClustersConfigDump.StaticCluster")),"last_updated":"2026-11-22T06:17:25.913Z"}]}"#
      )
    }
  }

  @Test("name_regex chooses resources whose whole name it matches")
  func names() async throws {
    try await withAdmin {
      try $0.configure(Self.configuration)
    } serving: { admin in
      try #expect(admin.get("/config_dump?resource=static_clusters&name_regex=service.").text.contains("service1"))
      try #expect(admin.get("/config_dump?resource=static_clusters&name_regex=service").text == "{}\n")
      let configs = try Self.configs(admin.get("/config_dump?name_regex=local_.*"))
      #expect(configs.count == 6)
      #expect(configs[1]["static_clusters"] == nil)
      #expect(configs[4]["static_route_configs"]?.listValue.values.count == 1)
    }
  }

  @Test("include_eds adds the endpoints as they are now")
  func endpoints() async throws {
    try await withAdmin { context in
      context.addCluster(
        "a",
        endpoints: [
          FakeAdminContext.endpoint("127.0.0.1:1", hostname: "one", weight: 3, locality: .init(region: "r")),
          FakeAdminContext.endpoint("127.0.0.1:2", health: .unhealthy),
        ])
    } serving: { admin in
      let configs = try Self.configs(admin.get("/config_dump?include_eds"))
      #expect(configs.count == 7)
      #expect(configs[2]["@type"]?.stringValue == "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump")
      let text = try admin.get("/config_dump?include_eds&resource=static_endpoint_configs").text
      for part in [
        #""cluster_name": "a""#, #""hostname": "one""#, #""port_value": 2"#, #""health_status": "UNHEALTHY""#,
      ] {
        #expect(text.contains(part), "\(part)")
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
      #expect(text == "{}\n")
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

  @Test("whatever a configuration may hold can be shown")
  func types() async throws {
    try await withAdmin { admin in
      _ = try admin.get("/config_dump")
      for type in Set(Schema.embedded().messages.flatMap(\.fields).flatMap(\.rules.types)).sorted() {
        #expect(Google_Protobuf_Any.messageType(forTypeURL: "type.googleapis.com/\(type)") != nil, "\(type)")
      }
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
