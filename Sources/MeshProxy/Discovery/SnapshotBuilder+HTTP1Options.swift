import MeshAPI
import MeshHTTP
import SwiftProtobuf

/// `Http1ProtocolOptions`, and what `HttpProtocolOptions` says of header names.
extension SnapshotBuilder {
  /// What holds for connections from clients.
  mutating func useHTTP1Options(
    _ manager: HttpConnectionManager, _ path: String, _ settings: inout ServerConnectionSettings
  ) {
    switch manager.commonHTTPProtocolOptions.headersWithUnderscoresAction {
    case .rejectRequest: settings.underscores = .refuse
    case .dropHeader: settings.underscores = .drop
    default: settings.underscores = .keep
    }
    let options = manager.httpProtocolOptions
    settings.acceptsHTTP10 = options.acceptHTTP10
    let host = options.defaultHostForHTTP10
    settings.defaultHost = Array(host.utf8)
    if !host.isEmpty, !Authority.isValid(host) {
      report("\(path).http_protocol_options.default_host_for_http_10", "\"\(host)\" is no host")
    }
    if options.sendFullyQualifiedURL {
      report(
        "\(path).http_protocol_options.send_fully_qualified_url",
        "has no effect for clients: it is about requests to endpoints")
    }
    (settings.names, settings.spelling) = headerNames(options, "\(path).http_protocol_options")
  }

  /// What holds for connections to a cluster's endpoints.
  mutating func useHTTP1Options(
    _ options: UpstreamHttpProtocolOptions, _ path: String, _ settings: inout ClientConnectionSettings
  ) {
    if options.commonHTTPProtocolOptions.headersWithUnderscoresAction != .allow {
      report(
        "\(path).common_http_protocol_options.headers_with_underscores_action",
        "has no effect for a cluster: it is about requests of clients")
    }
    switch options.upstreamProtocolOptions {
    case .explicitHTTPConfig(let config):
      let optionsPath = "\(path).explicit_http_config"
      if case .http2ProtocolOptions(let options) = config.protocolConfig {
        useHTTP2Options(options, "\(optionsPath).http2_protocol_options", &settings)
      } else {
        useHTTP1Options(config.httpProtocolOptions, "\(optionsPath).http_protocol_options", &settings)
      }
    case .useDownstreamProtocolConfig(let config):
      let optionsPath = "\(path).use_downstream_protocol_config"
      useHTTP1Options(config.httpProtocolOptions, "\(optionsPath).http_protocol_options", &settings)
      useHTTP2Options(config.http2ProtocolOptions, "\(optionsPath).http2_protocol_options", &settings)
    case .autoConfig(let config):
      let optionsPath = "\(path).auto_config"
      useHTTP1Options(config.httpProtocolOptions, "\(optionsPath).http_protocol_options", &settings)
      useHTTP2Options(config.http2ProtocolOptions, "\(optionsPath).http2_protocol_options", &settings)
    case nil: break
    }
  }

  /// What a cluster says of HTTP/1.1.
  mutating func useHTTP1Options(
    _ http1: Http1ProtocolOptions, _ optionsPath: String, _ settings: inout ClientConnectionSettings
  ) {
    settings.style.sendsAbsoluteTarget = http1.sendFullyQualifiedURL
    (settings.style.names, settings.spelling) = headerNames(http1, optionsPath)
    let isDownstream = "has no effect for a cluster: it is about requests of clients"
    if http1.hasAllowAbsoluteURL { report("\(optionsPath).allow_absolute_url", isDownstream) }
    if http1.acceptHTTP10 { report("\(optionsPath).accept_http_10", isDownstream) }
    if !http1.defaultHostForHTTP10.isEmpty { report("\(optionsPath).default_host_for_http_10", isDownstream) }
  }

  private mutating func headerNames(
    _ options: Http1ProtocolOptions, _ path: String
  ) -> (HeaderNameStyle, HeaderSpelling.Rules?) {
    switch options.headerKeyFormat.headerFormat {
    case nil: return (.lowercase, nil)
    case .properCaseWords: return (.properCase, nil)
    case .statefulFormatter(let formatter):
      guard let preserve: PreserveCaseFormatterConfig = try? formatter.typedConfig.unpack() else {
        report(
          "\(path).header_key_format.stateful_formatter.typed_config",
          "\(formatter.typedConfig.messageName) formats no names (\(PreserveCaseFormatterConfig.protoMessageName))")
        return (.lowercase, nil)
      }
      return (
        .lowercase,
        HeaderSpelling.Rules(
          capitalizesOtherNames: preserve.formatterTypeOnEnvoyHeaders == .properCase,
          keepsReasonPhrase: preserve.forwardReasonPhrase)
      )
    }
  }
}
