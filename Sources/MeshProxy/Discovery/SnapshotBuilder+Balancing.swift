import MeshAPI
import MeshPrimitives
import MeshRouting
import SwiftProtobuf

/// How a cluster chooses among its endpoints.
extension SnapshotBuilder {
  mutating func balancing(
    _ cluster: Cluster, _ discovery: ClusterConfiguration.Discovery, _ path: String
  ) -> LoadBalancingConfiguration {
    var result = LoadBalancingConfiguration()
    let common = cluster.commonLbConfig
    if common.hasHealthyPanicThreshold {
      result.panicThreshold = UInt32(max(0, min(100, common.healthyPanicThreshold.value.rounded())))
    }
    result.runtimePanicThreshold = identities.runtime.value("upstream.healthy_panic_threshold")
    let spread = cluster.loadAssignment.policy
    if spread.hasOverprovisioningFactor { result.overprovisioning = max(1, spread.overprovisioningFactor.value) }
    result.weighsHealth = spread.weightedPriorityHealth
    if cluster.hasLoadBalancingPolicy {
      let policies = "\(path).load_balancing_policy.policies"
      if !use(cluster.loadBalancingPolicy.policies, policies, discovery, &result) {
        report(policies, "needs a policy that is supported (\(Self.policyNames.joined(separator: ", ")))")
      }
    } else {
      result.weighsLocalities = common.localityConfigSpecifier == .localityWeightedLbConfig(.init())
      result.failsOnPanic = common.zoneAwareLbConfig.failTrafficOnPanic
      useLegacyPolicy(cluster, discovery, path, &result)
    }
    if result.hashesNames, discovery != .strictDNS, discovery != .logicalDNS {
      report(path, "use_hostname_for_hashing is for clusters of names (STRICT_DNS, LOGICAL_DNS)")
    }
    return result
  }

  // MARK: lb_policy

  private mutating func useLegacyPolicy(
    _ cluster: Cluster, _ discovery: ClusterConfiguration.Discovery, _ path: String,
    _ result: inout LoadBalancingConfiguration
  ) {
    let hashing = cluster.commonLbConfig.consistentHashingLbConfig
    switch cluster.lbPolicy {
    case .roundRobin:
      result.slowStart = slowStart(
        .init(cluster.roundRobinLbConfig.slowStartConfig), "\(path).round_robin_lb_config.slow_start_config")
    case .leastRequest:
      let settings = cluster.leastRequestLbConfig
      let settingsPath = "\(path).least_request_lb_config"
      result.policy = leastRequest(
        choices: settings.hasChoiceCount ? settings.choiceCount.value : nil, comparesAll: false,
        bias: settings.hasActiveRequestBias ? settings.activeRequestBias : nil, settingsPath)
      result.slowStart = slowStart(.init(settings.slowStartConfig), "\(settingsPath).slow_start_config")
    case .random: result.policy = .random
    case .ringHash:
      let settings = cluster.ringHashLbConfig
      var ring = LoadBalancingConfiguration.RingHash()
      if settings.hasMinimumRingSize { ring.minimumSize = Int(clamping: settings.minimumRingSize.value) }
      if settings.hasMaximumRingSize { ring.maximumSize = Int(clamping: settings.maximumRingSize.value) }
      ring.function = settings.hashFunction == .murmurHash2 ? .murmur2 : .xxHash
      result.policy = ringHash(ring, "\(path).ring_hash_lb_config")
    case .maglev:
      let settings = cluster.maglevLbConfig
      result.policy = maglev(settings.hasTableSize ? settings.tableSize.value : nil, "\(path).maglev_lb_config")
    case .clusterProvided: checkProvided(discovery, "\(path).lb_policy")
    case .loadBalancingPolicyConfig:
      report("\(path).lb_policy", "LOAD_BALANCING_POLICY_CONFIG needs the field load_balancing_policy")
    case .UNRECOGNIZED: break
    }
    guard result.usesHash else { return }
    result.hashesNames = hashing.useHostnameForHashing
    result.balanceFactor = hashing.hasHashBalanceFactor ? hashing.hashBalanceFactor.value : nil
  }

  private mutating func checkProvided(_ discovery: ClusterConfiguration.Discovery, _ path: String) {
    switch discovery {
    case .originalDestination, .aggregate: break
    case .staticAddresses, .strictDNS, .logicalDNS:
      report(path, "CLUSTER_PROVIDED is for clusters of type ORIGINAL_DST and for aggregate clusters")
    }
  }

  // MARK: load_balancing_policy

  private static let policyNames = [
    RoundRobinPolicy.protoMessageName, LeastRequestPolicy.protoMessageName, RandomPolicy.protoMessageName,
    RingHashPolicy.protoMessageName, MaglevPolicy.protoMessageName, LocalityPolicy.protoMessageName,
    ClusterProvidedPolicy.protoMessageName,
  ]

  /// Takes the first policy that is supported. - Returns: whether there is one.
  private mutating func use(
    _ policies: [LoadBalancingPolicy.Policy], _ path: String, _ discovery: ClusterConfiguration.Discovery,
    _ result: inout LoadBalancingConfiguration
  ) -> Bool {
    for (index, policy) in policies.enumerated() {
      let config = policy.typedExtensionConfig.typedConfig
      let path = "\(path)[\(index)].typed_extension_config.typed_config"
      if use(config, path, discovery, &result) { return true }
    }
    return false
  }

  private mutating func use(
    _ config: TypedConfig, _ path: String, _ discovery: ClusterConfiguration.Discovery,
    _ result: inout LoadBalancingConfiguration
  ) -> Bool {
    if let settings: RoundRobinPolicy = try? config.unpack() {
      result.slowStart = slowStart(settings.slowStartConfig, "\(path).slow_start_config")
      useLocalities(settings.localityLbConfig, &result)
    } else if let settings: RandomPolicy = try? config.unpack() {
      result.policy = .random
      useLocalities(settings.localityLbConfig, &result)
    } else if let settings: LeastRequestPolicy = try? config.unpack() {
      result.policy = leastRequest(
        choices: settings.hasChoiceCount ? settings.choiceCount.value : nil,
        comparesAll: settings.selectionMethod == .fullScan,
        bias: settings.hasActiveRequestBias ? settings.activeRequestBias : nil, path)
      result.slowStart = slowStart(settings.slowStartConfig, "\(path).slow_start_config")
      useLocalities(settings.localityLbConfig, &result)
    } else if let settings: RingHashPolicy = try? config.unpack() {
      var ring = LoadBalancingConfiguration.RingHash()
      if settings.hasMinimumRingSize { ring.minimumSize = Int(clamping: settings.minimumRingSize.value) }
      if settings.hasMaximumRingSize { ring.maximumSize = Int(clamping: settings.maximumRingSize.value) }
      ring.function = settings.hashFunction == .murmurHash2 ? .murmur2 : .xxHash
      result.policy = ringHash(ring, path)
      result.hashesNames = settings.useHostnameForHashing
      result.balanceFactor = settings.hasHashBalanceFactor ? settings.hashBalanceFactor.value : nil
      if settings.hasConsistentHashingLbConfig { useHashing(settings.consistentHashingLbConfig, &result) }
      result.weighsLocalities = result.weighsLocalities || settings.hasLocalityWeightedLbConfig
    } else if let settings: MaglevPolicy = try? config.unpack() {
      result.policy = maglev(settings.hasTableSize ? settings.tableSize.value : nil, path)
      useHashing(settings.consistentHashingLbConfig, &result)
      result.weighsLocalities = result.weighsLocalities || settings.hasLocalityWeightedLbConfig
    } else if let settings: LocalityPolicy = try? config.unpack() {
      useInLocality(settings, path, discovery, &result)
    } else if config.holds(ClusterProvidedPolicy.self) {
      checkProvided(discovery, path)
    } else {
      return false
    }
    return true
  }

  private mutating func useInLocality(
    _ settings: LocalityPolicy, _ path: String, _ discovery: ClusterConfiguration.Discovery,
    _ result: inout LoadBalancingConfiguration
  ) {
    let inner = settings.endpointPickingPolicy.policies
    let path = "\(path).endpoint_picking_policy.policies"
    let forbidden = [LocalityPolicy.protoMessageName, ClusterProvidedPolicy.protoMessageName]
    for (index, policy) in inner.enumerated()
    where forbidden.contains(policy.typedExtensionConfig.typedConfig.messageName) {
      report(
        "\(path)[\(index)].typed_extension_config.typed_config", "does not choose among the endpoints of a locality")
      return
    }
    if !use(inner, path, discovery, &result) {
      let names = Self.policyNames.filter { !forbidden.contains($0) }
      report(path, "needs a policy that is supported (\(names.joined(separator: ", ")))")
    }
    result.weighsLocalities = true
  }

  private func useLocalities(_ settings: LocalityLbConfig, _ result: inout LoadBalancingConfiguration) {
    switch settings.localityConfigSpecifier {
    case .localityWeightedLbConfig: result.weighsLocalities = true
    case .zoneAwareLbConfig(let zones): result.failsOnPanic = zones.failTrafficOnPanic
    case nil: break
    }
  }

  private func useHashing(_ settings: ConsistentHashingLbConfig, _ result: inout LoadBalancingConfiguration) {
    result.hashesNames = settings.useHostnameForHashing
    result.balanceFactor = settings.hasHashBalanceFactor ? settings.hashBalanceFactor.value : nil
  }

  // MARK: Settings

  private mutating func leastRequest(
    choices: UInt32?, comparesAll: Bool, bias: RuntimeDouble?, _ path: String
  ) -> LoadBalancingConfiguration.Policy {
    var settings = LoadBalancingConfiguration.LeastRequest()
    if let choices { settings.choices = Int(max(2, choices)) }
    settings.comparesAll = comparesAll
    if let bias {
      if !(bias.defaultValue >= 0) {
        report("\(path).active_request_bias.default_value", "must be 0 or more, not \(bias.defaultValue)")
      }
      settings.bias = bias.defaultValue
      settings.runtimeBias = identities.runtime.value(bias.runtimeKey)
    }
    return .leastRequest(settings)
  }

  private mutating func ringHash(
    _ settings: LoadBalancingConfiguration.RingHash, _ path: String
  ) -> LoadBalancingConfiguration.Policy {
    if settings.minimumSize > settings.maximumSize {
      report(
        "\(path).minimum_ring_size", "\(settings.minimumSize) is more than maximum_ring_size (\(settings.maximumSize))")
    }
    return .ringHash(settings)
  }

  private mutating func maglev(_ size: UInt64?, _ path: String) -> LoadBalancingConfiguration.Policy {
    let size = size ?? 65_537
    if !size.isPrime { report("\(path).table_size", "must be a prime, not \(size)") }
    return .maglev(tableSize: Int(clamping: size))
  }

  private mutating func slowStart(_ settings: SlowStartConfig, _ path: String) -> SlowStart? {
    if settings.hasAggression, !(settings.aggression.defaultValue > 0) {
      report("\(path).aggression.default_value", "must be more than 0, not \(settings.aggression.defaultValue)")
    }
    let window = Nanoseconds(settings.slowStartWindow)
    guard window > .zero else { return nil }
    var result = SlowStart(window: window)
    if settings.hasAggression {
      result.aggression = settings.aggression.defaultValue
      result.runtimeAggression = identities.runtime.value(settings.aggression.runtimeKey)
    }
    if settings.hasMinWeightPercent { result.leastShare = settings.minWeightPercent.value / 100 }
    return result
  }

  /// Which share of the requests is refused; nil: none.
  mutating func dropOverload(_ cluster: Cluster, _ path: String) -> Fraction? {
    let drops = cluster.loadAssignment.policy.dropOverloads
    let path = "\(path).load_assignment.policy.drop_overloads"
    guard let drop = drops.first else { return nil }
    if drops.count > 1 { report(path, "has \(drops.count) items (one is supported, as in Envoy)") }
    let share = Fraction(drop.dropPercentage)
    if UInt64(share.numerator) > share.denominator.value {
      report("\(path)[0].drop_percentage", "must be at most all, not \(share.numerator) of \(share.denominator.value)")
    }
    return share == .none ? nil : share
  }
}

extension SlowStartConfig {
  /// The same as it was before policies were extensions.
  fileprivate init(_ settings: Cluster.SlowStartConfig) {
    self.init()
    if settings.hasSlowStartWindow { slowStartWindow = settings.slowStartWindow }
    if settings.hasAggression { aggression = settings.aggression }
    if settings.hasMinWeightPercent { minWeightPercent = settings.minWeightPercent }
  }
}

extension UInt64 {
  /// By trial division: for numbers of a few millions.
  fileprivate var isPrime: Bool {
    guard self > 3 else { return self > 1 }
    guard self % 2 != 0 else { return false }
    var divisor: UInt64 = 3
    while divisor <= self / divisor {
      if self % divisor == 0 { return false }
      divisor += 2
    }
    return true
  }
}
