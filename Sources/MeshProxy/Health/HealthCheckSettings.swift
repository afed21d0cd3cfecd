import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

/// `Cluster.health_checks`, compiled. Immutable; the main thread's, but for the mailbox, which workers use.
final class HealthCheckSettings: Sendable {
  enum Kind: Sendable {
    case http(HTTPRequest)
    case tcp(TCPExchange)
    case grpc(GRPCCall)

    /// As in the event log (`HealthCheckerType`).
    var eventName: StaticString {
      switch self {
      case .http: "HTTP"
      case .tcp: "TCP"
      case .grpc: "GRPC"
      }
    }
  }

  /// `http_health_check`.
  struct HTTPRequest: Sendable {
    var method: HTTPMethod
    /// As it is sent.
    var methodText: StaticString
    var path: [UInt8]
    /// Empty: the cluster's name.
    var host: String
    var body: [UInt8]
    var receive: [[UInt8]]
    /// How much of a response's body is looked at.
    var bufferLimit: Int
    var mutations: HeaderMutations
    var expected: [Range<Int>]
    var retriable: [Range<Int>]
    var isHTTP2: Bool
    var serviceName: TextPattern?
    /// `health_check.verify_cluster`: the share of checks whose service name is looked at, in percent.
    var verifies: RuntimeValue
  }

  /// `tcp_health_check`.
  struct TCPExchange: Sendable {
    var send: [UInt8]
    var receive: [[UInt8]]
  }

  /// `grpc_health_check`.
  struct GRPCCall: Sendable {
    var service: String
    /// Empty: the cluster's name.
    var authority: String
    var metadata: HeaderMutations
  }

  let kind: Kind
  let timings: HealthCheckTimings
  /// `health_check.min_interval`, `health_check.max_interval`.
  let intervalBounds: (minimum: RuntimeValue, maximum: RuntimeValue)
  let unhealthyThreshold: UInt32
  let healthyThreshold: UInt32
  let reusesConnection: Bool
  let logsAllFailures: Bool
  let logsAllSuccesses: Bool
  let eventLogs: [AccessLogFile]
  /// `tls_options.alpn_protocols`.
  let applicationProtocols: [String]
  /// New endpoints do not count until they have been checked (`ignore_new_hosts_until_first_hc`).
  let ignoresNewEndpoints: Bool
  /// Where workers say what they have found.
  let reports: Mailbox<HealthMonitor>

  init(
    kind: Kind, timings: HealthCheckTimings, intervalBounds: (minimum: RuntimeValue, maximum: RuntimeValue),
    unhealthyThreshold: UInt32, healthyThreshold: UInt32, reusesConnection: Bool, logsAllFailures: Bool,
    logsAllSuccesses: Bool, eventLogs: [AccessLogFile], applicationProtocols: [String], ignoresNewEndpoints: Bool,
    reports: Mailbox<HealthMonitor>
  ) {
    self.kind = kind
    self.timings = timings
    self.intervalBounds = intervalBounds
    self.unhealthyThreshold = unhealthyThreshold
    self.healthyThreshold = healthyThreshold
    self.reusesConnection = reusesConnection
    self.logsAllFailures = logsAllFailures
    self.logsAllSuccesses = logsAllSuccesses
    self.eventLogs = eventLogs
    self.applicationProtocols = applicationProtocols
    self.ignoresNewEndpoints = ignoresNewEndpoints
    self.reports = reports
  }
}

/// How one endpoint is checked, where that differs from the others (`Endpoint.health_check_config`).
public struct EndpointCheck: Sendable, Hashable {
  /// 0: the address's own.
  var port: UInt16 = 0
  /// The host of requests; empty: what the cluster's check says.
  var hostname = ""
  /// nil: the endpoint's own.
  var address: SocketAddress?
  var isDisabled = false

  public init() {}

  /// Where an endpoint is checked.
  func target(_ endpoint: Endpoint) -> SocketAddress {
    let base = address ?? endpoint.address
    return port == 0 || base.isUnix ? base : base.with(port: port)
  }
}
