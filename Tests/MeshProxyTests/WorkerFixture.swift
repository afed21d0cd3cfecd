import MeshConfig
import MeshHTTP
import MeshIO
import MeshPrimitives
import MeshRouting

@testable import MeshProxy

/// A worker without threads or sockets of its own: requests are put in where a codec would, answers are caught where a
/// codec would send them, and the loop is turned by the test.
final class WorkerFixture {
  let worker: Worker
  let manager: ConnectionManager
  let store = StatsStore(lanes: 2)
  /// Whose values the configuration asks for.
  let runtime: Runtime

  /// - Parameters:
  ///   - routes: the virtual host's routes, as YAML of one line.
  ///   - host: further fields of the virtual host, as YAML in flow style.
  ///   - table: further fields of the route table, as YAML of one line.
  ///   - clusters: the clusters, as YAML of one line.
  ///   - manager: further fields of the connection manager.
  ///   - filters: instances before the router, in place of configured ones.
  ///   - failures: where lines about failed requests go.
  init(
    routes: String, host: String = "", table: String = "", clusters: String = "[]", manager fields: String = "",
    filters: [any FilterConfiguration]? = nil,
    httpFilters: String = "", bufferLimit: Int = 1 << 20, failures: FailureLog? = nil
  ) throws {
    let yaml = """
      node: {id: test-node, cluster: test-cluster}
      static_resources:
        listeners:
        - address: {socket_address: {address: 127.0.0.1, port_value: 0}}
          per_connection_buffer_limit_bytes: \(bufferLimit)
          filter_chains:
          - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: test
                \(fields)
                route_config:
                  name: test
                  \(table)
                  virtual_hosts: [{name: all, domains: ["*"], \(host.isEmpty ? "" : host + ",") routes: \(routes)}]
                http_filters:
                \(httpFilters)
                - name: envoy.filters.http.router
                  typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
        clusters: \(clusters)
      """
    let identities = Identities(store: store, accessLogFiles: AccessLogFiles(opensFiles: false))
    runtime = identities.runtime
    let bootstrap = try ConfigurationReader.readBootstrap(path: nil, yaml: yaml).bootstrap
    var builder = SnapshotBuilder(identities: identities, node: bootstrap.node)
    guard let snapshot = builder.build(bootstrap) else {
      throw FixtureError(problems: builder.problems.map { "\($0.path): \($0.message)" })
    }
    worker = try Worker(index: 0, seed: 1, failures: failures)
    var hosts: [String: HostSets] = [:]
    for entry in snapshot.clusters {
      let endpoints = entry.configuration.resolved([:], identities)
      hosts[entry.configuration.name] = HostSets(endpoints, entry.configuration.balancing, now: worker.loop.now)
    }
    worker.apply(
      WorkerUpdate(
        snapshot: ConfigurationSnapshot(listeners: [], clusters: snapshot.clusters), sockets: [:], hosts: hosts)
    )
    guard
      case .connectionManager(let compiled, let identity) = snapshot.listeners[0].configuration.filterChains[0].network
    else { throw FixtureError(problems: ["the filter chain has no connection manager"]) }
    manager = ConnectionManager(
      worker: worker, configuration: filters.map { compiled.replacing(filters: $0) } ?? compiled, identity: identity)
  }

  /// Puts a request in. `headers` are field lines; `host` is set unless it is among them.
  @discardableResult
  func open(
    _ method: String = "GET", _ path: String = "/", _ headers: [(String, String)] = [], endStream: Bool = true
  ) -> CaughtResponse {
    let map = worker.headerMaps.take()
    Self.set(map, .method, method)
    Self.set(map, .path, path)
    if !headers.contains(where: { $0.0 == "host" }) { Self.set(map, .host, "test") }
    for (name, value) in headers {
      Array(value.utf8).withUnsafeBufferPointer { map.add(HeaderName(name), $0) }
    }
    let response = CaughtResponse()
    let info = ConnectionInfo(
      remoteAddress: SocketAddress(ip: "127.0.0.1", port: 1)!, localAddress: SocketAddress(ip: "127.0.0.1", port: 2)!,
      identifier: 1)
    let start = RequestStart(
      method: Array(method.utf8).withUnsafeBufferPointer { HTTPMethod($0) }, expectsContinue: false,
      endStream: endStream)
    manager.open(response, info, map, start)
    return response
  }

  /// A map with these trailers.
  func trailers(_ name: String, _ value: String) -> HeaderMap {
    let map = worker.headerMaps.take()
    Array(value.utf8).withUnsafeBufferPointer { map.add(HeaderName(name), $0) }
    return map
  }

  /// Turns the loop until `condition` holds; false if it does not within the deadline.
  func turn(until condition: () -> Bool, within seconds: UInt64 = 10) -> Bool {
    let deadline = ProcessClock.monotonic() + .seconds(seconds)
    while !condition() {
      if ProcessClock.monotonic() > deadline { return false }
      worker.loop.turn(upTo: .milliseconds(50))
    }
    return true
  }

  /// Sets runtime values in place of those there were.
  func setRuntime(_ values: [String: String]) {
    runtime.update([.init(name: "test", entries: values.mapValues { RuntimeEntry($0) })])
  }

  func count(_ stat: ConnectionManagerStat) -> Int64 { manager.stats.value(stat) }

  private static func set(_ map: HeaderMap, _ id: HeaderID, _ value: String) {
    Array(value.utf8).withUnsafeBufferPointer { map.set(id, $0) }
  }
}

struct FixtureError: Error { let problems: [String] }

/// What a codec would have sent.
final class CaughtResponse: ResponseSender {
  private(set) var stream: (any RequestReceiver)?
  private(set) var informational: [Int] = []
  private(set) var status: Int?
  private(set) var headers: [String: String] = [:]
  private(set) var body: [UInt8] = []
  private(set) var trailers: [String: String]?
  private(set) var isEnded = false
  private(set) var isReset = false
  private(set) var closes = false
  private(set) var pauses = 0

  var text: String { String(decoding: body, as: UTF8.self) }

  func attach(_ stream: any RequestReceiver) { self.stream = stream }
  func sendInformational(status: Int, _ headers: HeaderMap) { informational.append(status) }

  func sendHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) {
    self.status = status
    headers.forEach { _, name, value in self.headers[name.text] = value.text }
    isEnded = endStream
  }

  func sendData(_ bytes: Bytes, endStream: Bool) {
    body += bytes
    isEnded = endStream
  }

  func sendTrailers(_ trailers: HeaderMap) {
    var caught: [String: String] = [:]
    trailers.forEach { _, name, value in caught[name.text] = value.text }
    self.trailers = caught
    isEnded = true
  }

  func resetStream() { isReset = true }
  func pauseRequest(_ pause: Bool) { pauses += pause ? 1 : -1 }
  func closeAfterResponse() { closes = true }

  /// Sends a run of the request's body.
  func data(_ text: String, endStream: Bool) {
    Array(text.utf8).withUnsafeBufferPointer { stream?.receiveData($0, endStream: endStream) }
  }
}

extension ConnectionManagerConfiguration {
  func replacing(filters: [any FilterConfiguration]) -> ConnectionManagerConfiguration {
    ConnectionManagerConfiguration(
      statPrefix: statPrefix, isOutbound: isOutbound, edge: edge, streamIdleTimeout: streamIdleTimeout,
      requestTimeout: requestTimeout, minimumBodyRate: minimumBodyRate, maximumStreamDuration: maximumStreamDuration,
      bufferLimit: bufferLimit,
      connection: connection, router: router, filters: filters, routeFilters: routeFilters, bodyFormats: bodyFormats,
      routes: routes,
      routeConfigurationName: routeConfigurationName, logging: logging,
      localReplies: localReplies)
  }
}
