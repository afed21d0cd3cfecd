import MeshAPI
import MeshHTTP
import MeshPrimitives
import SwiftProtobuf

/// What a connection manager does to every request and response.
extension SnapshotBuilder {
  mutating func edgeRules(_ manager: HttpConnectionManager, _ path: String) -> EdgeRules {
    var rules = EdgeRules()
    rules.client = clientAddressRules(manager, path)
    rules.requestID = requestIDRules(manager, path)
    rules.path.normalizes = manager.normalizePath.value
    rules.path.mergesSlashes = manager.mergeSlashes
    rules.path.escapedSlashes = .init(manager.pathWithEscapedSlashesAction)
    rules.host.stripsTrailingDot = manager.stripTrailingHostDot
    if manager.stripAnyHostPort {
      rules.host.port = .stripAny
    } else if manager.stripMatchingHostPort {
      rules.host.port = .stripMatching
    }
    let options = manager.httpProtocolOptions
    rules.allowsAbsoluteTarget = !options.hasAllowAbsoluteURL || options.allowAbsoluteURL.value
    rules.clientCertificate = ForwardedClientCertificate(manager)
    if manager.schemeHeaderTransformation.matchUpstream { rules.scheme = .matchUpstream }
    if case .schemeToOverwrite(let scheme) = manager.schemeHeaderTransformation.transformation {
      rules.scheme = .overwrite(Array(scheme.utf8))
    }
    if manager.addUserAgent.value {
      if node.cluster.isEmpty { report("\(path).add_user_agent", "needs node.cluster (or --service-cluster)") }
      rules.userAgent = .init(cluster: Array(node.cluster.utf8), node: Array(node.id.utf8))
    }
    rules.via = Array(manager.via.utf8)
    rules.setsForwardedPort = manager.appendXForwardedPort
    if !manager.serverName.isEmpty { rules.serverName = Array(manager.serverName.utf8) }
    rules.serverHeader = .init(manager.serverHeaderTransformation)
    rules.seal()
    return rules
  }

  // MARK: The client

  private mutating func clientAddressRules(_ manager: HttpConnectionManager, _ path: String) -> ClientAddressRules {
    var rules = ClientAddressRules()
    rules.usesRemoteAddress = manager.useRemoteAddress.value
    rules.trustedHops = manager.xffNumTrustedHops
    rules.appendsForwardedFor = !manager.skipXffAppend
    rules.detectors = [.hops(manager.xffNumTrustedHops, appends: false)]
    if !manager.originalIpDetectionExtensions.isEmpty {
      rules.alwaysDetects = true
      rules.detectors = manager.originalIpDetectionExtensions.enumerated().compactMap { index, detector in
        self.detector(detector, "\(path).original_ip_detection_extensions[\(index)].typed_config")
      }
    }
    if manager.hasInternalAddressConfig {
      let config = manager.internalAddressConfig
      rules.unixSocketsAreInternal = config.unixSockets
      rules.internalRanges =
        config.cidrRanges.isEmpty
        ? ClientAddressRules.privateRanges
        : addressRanges(config.cidrRanges, "\(path).internal_address_config.cidr_ranges")
    }
    return rules
  }

  private mutating func detector(
    _ detector: TypedExtensionConfig, _ path: String
  ) -> ClientAddressRules.Detector? {
    if let xff: XffConfig = try? detector.typedConfig.unpack() {
      let appends = xff.hasSkipXffAppend && !xff.skipXffAppend.value
      guard xff.hasXffTrustedCidrs, !xff.xffTrustedCidrs.cidrs.isEmpty else {
        return .hops(xff.xffNumTrustedHops, appends: appends)
      }
      return .trustedProxies(
        addressRanges(xff.xffTrustedCidrs.cidrs, "\(path).xff_trusted_cidrs.cidrs"), appends: appends)
    }
    if let header: CustomHeaderConfig = try? detector.typedConfig.unpack() {
      let status = header.rejectWithStatus.code.rawValue
      return .header(
        HeaderName(header.headerName), isTrusted: header.allowExtensionToSetAddressAsTrusted,
        rejection: header.hasRejectWithStatus ? (status >= 400 ? status : 403) : nil)
    }
    report(
      path,
      "\(detector.typedConfig.messageName) finds no addresses "
        + "(\(XffConfig.protoMessageName), \(CustomHeaderConfig.protoMessageName))")
    return nil
  }

  /// The ranges; one that is none is reported and left out.
  mutating func addressRanges(_ ranges: [CidrRange], _ path: String) -> [AddressRange] {
    var result: [AddressRange] = []
    for (index, range) in ranges.enumerated() {
      guard let address = IPAddress(range.addressPrefix) else {
        report("\(path)[\(index)].address_prefix", "\"\(range.addressPrefix)\" is no IP address")
        continue
      }
      guard let compiled = AddressRange(address, length: Int(range.prefixLen.value)) else {
        report("\(path)[\(index)].prefix_len", "must be at most \(address.family == .v4 ? 32 : 128) for \(address)")
        continue
      }
      result.append(compiled)
    }
    return result
  }

  private mutating func requestIDRules(_ manager: HttpConnectionManager, _ path: String) -> RequestIDRules {
    var rules = RequestIDRules()
    rules.generates = !manager.hasGenerateRequestID || manager.generateRequestID.value
    rules.keepsExternal = manager.preserveExternalRequestID
    rules.returnsAlways = manager.alwaysSetRequestIDInResponse
    guard manager.hasRequestIDExtension, manager.requestIDExtension.hasTypedConfig else { return rules }
    let config = manager.requestIDExtension.typedConfig
    if let uuid: UuidRequestIdConfig = try? config.unpack() {
      rules.packsTraceReason = !uuid.hasPackTraceReason || uuid.packTraceReason.value
      rules.decidesSampling = !uuid.hasUseRequestIDForTraceSampling || uuid.useRequestIDForTraceSampling.value
    } else {
      report(
        "\(path).request_id_extension.typed_config",
        "\(config.messageName) makes no request identifiers (\(UuidRequestIdConfig.protoMessageName))")
    }
    return rules
  }
}

extension EdgeRules.ServerHeader {
  init(_ transformation: HttpConnectionManager.ServerHeaderTransformation) {
    switch transformation {
    case .appendIfAbsent: self = .appendIfAbsent
    case .passThrough: self = .passThrough
    default: self = .overwrite
    }
  }
}

extension PathNormalization.EscapedSlashes {
  init(_ action: HttpConnectionManager.PathWithEscapedSlashesAction) {
    switch action {
    case .rejectRequest: self = .reject
    case .unescapeAndRedirect: self = .redirect
    case .unescapeAndForward: self = .forward
    default: self = .keep
    }
  }
}
