import MeshAPI

extension MessageRules {
  /// Rules of what a connection manager does to every request.
  enum EdgeRules {
    static func check(_ manager: HttpConnectionManager, _ report: Report) {
      if !manager.originalIpDetectionExtensions.isEmpty {
        for (name, isSet) in [
          ("use_remote_address", manager.useRemoteAddress.value),
          ("xff_num_trusted_hops", manager.xffNumTrustedHops > 0),
        ] where isSet {
          report([.field(name)], "must not be combined with original_ip_detection_extensions", .value)
        }
      }
      if manager.stripMatchingHostPort, manager.stripAnyHostPort {
        report([.field("strip_matching_host_port")], "must not be combined with strip_any_host_port", .value)
      }
      if case .schemeToOverwrite(let scheme) = manager.schemeHeaderTransformation.transformation,
        scheme != "http", scheme != "https"
      {
        report(
          [.field("scheme_header_transformation"), .field("scheme_to_overwrite")],
          "must be http or https, not \(quoted(scheme))", .value)
      }
      if manager.commonHTTPProtocolOptions.hasMaxResponseHeadersKb {
        report(
          [.field("common_http_protocol_options"), .field("max_response_headers_kb")],
          "is for clusters (max_request_headers_kb bounds requests)", .value)
      }
      let options = manager.httpProtocolOptions
      if !options.defaultHostForHTTP10.isEmpty, !options.acceptHTTP10 {
        report(
          [.field("http_protocol_options"), .field("default_host_for_http_10")],
          "has no effect without accept_http_10", .doubtful)
      }
    }

    static func check(_ xff: XffConfig, _ report: Report) {
      if xff.xffNumTrustedHops > 0, xff.hasXffTrustedCidrs {
        report([.field("xff_num_trusted_hops")], "must not be combined with xff_trusted_cidrs", .value)
      }
    }

    static func check(_ range: CidrRange, _ report: Report) {
      if !range.hasPrefixLen, !range.addressPrefix.isEmpty {
        report(
          [.field("address_prefix")],
          "\(quoted(range.addressPrefix)) without prefix_len stands for every address of its version", .doubtful)
      }
    }
  }
}
