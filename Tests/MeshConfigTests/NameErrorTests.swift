import MeshAPI
import Testing

@testable import MeshConfig

/// Wrong names: fields, types, members of a oneof.
@Suite struct NameErrorTests {
  @Test func mistypedField() {
    #expect(
      problems(Cluster.self, "name: a\nconect_timeout: 1s\n") == [
        "x.yaml:2:1: conect_timeout: there is no such field in Cluster (did you mean \"connect_timeout\"?)"
      ])
    #expect(
      problems(Cluster.self, "name: a\nconnect-timeout: 1s\n") == [
        "x.yaml:2:1: connect-timeout: there is no such field in Cluster (did you mean \"connect_timeout\"?)"
      ])
  }

  @Test func fieldThatDoesNotExist() {
    #expect(
      problems(Node.self, "color: red\n") == [
        "x.yaml:1:1: color: there is no such field in Node (allowed: id, cluster, metadata, locality)"
      ])
    #expect(
      problems(Node.self, "\"a b.c\": red\n") == [
        "x.yaml:1:1: [\"a b.c\"]: there is no such field in Node (allowed: id, cluster, metadata, locality)"
      ])
    #expect(
      problems(Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords.self, "foo_bar: 1\n") == [
        "x.yaml:1:1: foo_bar: there is no such field in Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords"
          + " (it has none that is supported: write {})"
      ])
    #expect(
      problems(Node.self, "\"@type\": x\n") == [
        "x.yaml:1:1: @type: there is no such field in Node, whose type is known from its place (leave \"@type\" out)"
      ])
  }

  @Test func fieldThatIsNotSupported() {
    #expect(
      problems(Secret.self, "name: a\ngeneric_secret: {}\n") == [
        "x.yaml:2:1: generic_secret: Envoy has this field, but it is not supported yet"
          + " (supported: name, tls_certificate, session_ticket_keys, validation_context)"
      ])
    // Too many fields to list.
    #expect(
      problems(HttpConnectionManager.self, "proxyStatusConfig: {}\n").first
        == "x.yaml:1:1: proxy_status_config: Envoy has this field, but it is not supported yet")
    #expect(
      problems(Cluster.self, "name: a\nlbSubsetConfig: {}\n") == [
        "x.yaml:2:1: lb_subset_config: Envoy has this field, but it is not supported yet"
      ])
    #expect(
      problems(Cluster.self, "name: a\nlb_subset_confg: {}\n") == [
        "x.yaml:2:1: lb_subset_confg: there is no such field in Cluster"
          + " (if you mean \"lb_subset_config\": Envoy has it, but it is not supported yet)"
      ])
  }

  @Test func fieldGivenTwice() {
    #expect(
      problems(Cluster.self, "name: a\nconnect_timeout: 1s\nconnectTimeout: 2s\n") == [
        "x.yaml:3:1: connect_timeout: is given twice (first on line 2)"
      ])
    #expect(
      problems(Cluster.self, "name: a\nname: a\n") == ["x.yaml:2:1: name: is given twice (first on line 1)"])
  }

  @Test func twoMembersOfAOneof() {
    #expect(
      problems(RouteMatch.self, "prefix: /\ncase_sensitive: true\npath: /x\n") == [
        "x.yaml:3:1: path: two members of oneof path_specifier: prefix (line 1) and path (line 3);"
          + " at most one may be set"
      ])
  }

  @Test func missingMemberOfAOneof() {
    #expect(
      problems(RouteMatch.self, "case_sensitive: true\n") == [
        "x.yaml:1:1: needs one of prefix, path, safe_regex, path_separated_prefix, connect_matcher"
      ])
    // The mistyped name explains it.
    #expect(
      problems(RouteMatch.self, "prefx: /\n") == [
        "x.yaml:1:1: prefx: there is no such field in RouteMatch (did you mean \"prefix\"?)"
      ])
    // A member that is wrong is there all the same.
    #expect(
      problems(DataSource.self, "inline_bytes: '***'\n") == ["x.yaml:1:15: inline_bytes: must be base64, not \"***\""])
  }

  @Test func typeOfAny() {
    func filter(_ typedConfig: String) -> [String] {
      problems(HttpFilter.self, "name: f\ntyped_config: \(typedConfig)\n")
    }
    let schema = Schema.embedded()
    let types = schema.message(named: HttpFilter.protoMessageName).flatMap { place in
      schema.messages[place].fields.first { $0.name == "typed_config" }?.rules.types
    }
    let supported = (types ?? []).joined(separator: ", ")
    #expect(supported.hasPrefix("envoy.extensions.filters.http.router.v3.Router, "))
    #expect(
      filter("{\"@type\": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, foo: 1}") == [
        "x.yaml:2:25: typed_config.@type: Envoy has envoy.extensions.filters.http.lua.v3.Lua,"
          + " but it is not supported yet (supported here: \(supported))"
      ])
    #expect(
      filter("{\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Rooter}") == [
        "x.yaml:2:25: typed_config.@type: there is no type \"envoy.extensions.filters.http.router.v3.Rooter\""
          + " (did you mean \"envoy.extensions.filters.http.router.v3.Router\"?)"
      ])
    #expect(
      filter("{\"@type\": type.googleapis.com/envoy.config.filter.http.router.v2.Router}") == [
        "x.yaml:2:25: typed_config.@type: there is no type \"envoy.config.filter.http.router.v2.Router\""
          + " (did you mean \"envoy.extensions.filters.http.router.v3.Router\"?)"
      ])
    #expect(
      filter("{\"@type\": example.Thing}") == [
        "x.yaml:2:25: typed_config.@type: there is no type \"example.Thing\" (supported here: \(supported))"
      ])
    #expect(
      filter("{\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster}") == [
        "x.yaml:2:25: typed_config.@type: envoy.config.cluster.v3.Cluster cannot be used here (allowed: \(supported))"
      ])
    #expect(
      filter("{}") == ["x.yaml:2:15: typed_config: needs the key \"@type\" (allowed: \(supported))"])
    #expect(
      filter("{\"@type\": }") == ["x.yaml:2:15: typed_config: needs the key \"@type\" (allowed: \(supported))"])
    #expect(
      filter("[1]") == ["x.yaml:2:15: typed_config: must be a mapping with the key \"@type\", not a list"])
    #expect(
      problems(HttpFilter.self, "name: f\n") == [
        "x.yaml:1:1: typed_config: is required (a mapping with \"@type\": \(supported))"
      ])
    #expect(
      filter("{\"@type\": envoy.extensions.filters.http.router.v3.Router, start_child_span: true}") == [
        "x.yaml:2:73: typed_config.start_child_span: Envoy has this field, but it is not supported yet"
          + " (supported: dynamic_stats, suppress_envoy_headers, respect_expected_rq_timeout)"
      ])
    #expect(
      filter("{\"@type\": envoy.extensions.filters.http.router.v3.Router, \"@type\": x}") == [
        "x.yaml:2:73: typed_config: \"@type\" is given twice (first on line 2)"
      ])
  }

  @Test func optionalFilterIsLeftOut() throws {
    let yaml = """
      name: f
      is_optional: true
      typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, inline_code: x}
      """
    #expect(
      problems(HttpFilter.self, yaml) == [
        "x.yaml:3:25: typed_config.@type: envoy.extensions.filters.http.lua.v3.Lua is not supported yet:"
          + " the filter is left out, because is_optional is true"
      ])
    let loaded = try ConfigurationReader.read(HttpFilter.self, bytes: Array(yaml.utf8), file: "x")
    #expect(loaded.message.isOptional)
    #expect(loaded.message.typedConfig.typeURL.isEmpty)
    #expect(loaded.message.typedConfig.value.isEmpty)
  }

  @Test func deprecatedField() {
    #expect(
      problems(HeaderMatcher.self, "name: a\nexact_match: b\n") == [
        "x.yaml:2:1: exact_match: is deprecated (use string_match.exact)"
      ])
  }
}
