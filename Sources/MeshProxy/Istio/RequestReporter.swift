import MeshHTTP
import MeshIO
import MeshPrimitives

/// The telemetry filter of one connection manager: counts every request in Istio's metrics when it is over, and messages of
/// long calls of gRPC while they go on. What is like something before it needs no text and no memory. Confined to the
/// worker.
final class RequestReporter: StreamObserver, TimerTarget {
  private let configuration: IstioStatsConfiguration
  private let worker: Worker
  private var requests = SeriesCache<RequestRow>()
  private var messages = SeriesCache<MessageRow>()
  private var hosts = TextNumbers()
  private var dimensions = TextNumbers()
  private var principals = PrincipalNumbers()
  /// Calls with messages.
  private var calls: [ObjectIdentifier: Stream] = [:]
  private let timer: Timer

  init(_ configuration: IstioStatsConfiguration, _ worker: Worker) {
    self.configuration = configuration
    self.worker = worker
    timer = Timer(worker.loop)
    timer.aim(at: self)
  }

  // MARK: What happens

  func didFinish(_ stream: Stream) {
    let isGRPC = GRPCStatus.isCall(stream.requestHeaders)
    var key = key(stream)
    if stream.peers.messages != nil {
      calls[ObjectIdentifier(stream)] = nil
      report(stream, key)
    }
    let status = isGRPC ? GRPCStatus.of(stream)?.code : nil
    key.note(isGRPC ? .grpc : .http, code: stream.info.responseCode, grpcStatus: status, flags: stream.info.flags)
    let row = requests.row(key, worker.seriesGeneration) { makeRow(stream, isGRPC, status) }
    let wire = stream.downstreamWire
    row.count(
      microseconds: stream.info.endedAt.map { $0.since(stream.info.startedAt).rawValue / 1000 },
      received: wire.received, sent: wire.sent)
    if stream.info.trace.sampled == true { noteExemplar(stream, row) }
  }

  /// Keeps the request for whoever looks at the times of requests, if there is somebody.
  @inline(never)
  private func noteExemplar(_ stream: Stream, _ row: RequestRow) {
    // Read in place: a copy of the information would retain all that it refers to.
    guard configuration.metrics.keepsExemplars, stream.info.trace.hasTrace, let ended = stream.info.endedAt else {
      return
    }
    row.note(
      Exemplar(
        traceIDHigh: stream.info.trace.traceIDHigh, traceIDLow: stream.info.trace.traceIDLow,
        spanID: stream.info.trace.spanID, value: ended.since(stream.info.startedAt).rawValue / 1000,
        time: worker.loop.wallClock), lane: worker.index)
  }

  func didCountMessages(of stream: Stream) {
    guard let interval = configuration.interval else { return }
    calls[ObjectIdentifier(stream)] = stream
    if !timer.isArmed { timer.arm(after: interval) }
  }

  func timerFired(_ tag: UInt8) {
    // A call that has ended without its end being told of (its route has been taken back) is none any more.
    calls = calls.filter { $0.value.peers.messages != nil }
    for stream in calls.values where isPeerKnown(stream) { report(stream, key(stream)) }
    if let interval = configuration.interval, !calls.isEmpty { timer.arm(after: interval) }
  }

  /// Who answers is known from the response's head on.
  private func isPeerKnown(_ stream: Stream) -> Bool { configuration.reporter == .destination || stream.responseBegan }

  private func report(_ stream: Stream, _ key: SeriesKey) {
    var key = key
    key.note(.messages)
    let row = messages.row(key, worker.seriesGeneration) { makeMessageRow(stream) }
    if var counts = stream.peers.messages {
      row.count(&counts)
      stream.peers.messages = counts
    }
  }

  // MARK: Who it was

  /// Everything but the outcome.
  @inline(__always)
  private func key(_ stream: Stream) -> SeriesKey {
    var key = SeriesKey()
    let isSource = configuration.reporter == .source
    if isSource {
      key.peer = stream.peers.upstream?.number ?? stream.info.endpoint?.workload?.number ?? 0
      if let connection = stream.info.upstreamConnection, connection.tls != nil {
        key.principals = principals.number(connection.identifier) { Principals(connection.tls) }
      }
    } else {
      key.peer = stream.peers.downstream?.number ?? 0
      if let connection = stream.info.connection, connection.tls != nil {
        key.principals = principals.number(connection.identifier) { Principals(connection.tls) }
      }
    }
    let service = Self.service(stream)
    key.service = service?.number ?? 0
    if service?.host == nil, configuration.usesHost, let host = stream.requestHeaders.value(.host) {
      key.host = hosts.number(Self.shown(host))
    }
    if configuration.hasFormats { key.dimensions = numberOfDimensions(stream) }
    return key
  }

  /// What the request's cluster says of its service, or a route that leads nowhere on purpose.
  @inline(__always)
  private static func service(_ stream: Stream) -> ClusterService? {
    if let cluster = stream.info.cluster { return cluster.configuration.service }
    return stream.info.route?.name == blockingRoute ? ClusterService.blackHole : nil
  }

  /// The route that istiod makes for hosts that nobody may call.
  private static let blockingRoute = "block_all"

  private static func shown(_ text: Bytes) -> Bytes { text.slice(0, min(text.count, LabelSet.maximumValue)) }

  private func numberOfDimensions(_ stream: Stream) -> UInt32 {
    worker.substitutionOutput.removeAll()
    for case .format(let format) in configuration.dimensions {
      format.write(stream, into: &worker.substitutionOutput)
      worker.substitutionOutput.append(0)
    }
    return dimensions.number(worker.substitutionOutput.bytes)
  }

  // MARK: Combinations that are new

  private func labels(_ stream: Stream) -> (labels: IstioLabels, isMutualTLS: Bool) {
    let isSource = configuration.reporter == .source
    let peer = isSource ? stream.peers.upstream ?? stream.info.endpoint?.workload : stream.peers.downstream
    let principals = Principals(isSource ? stream.info.upstreamConnection?.tls : stream.info.connection?.tls)
    var service = IstioLabels.Service()
    if configuration.usesHost, let host = stream.requestHeaders.value(.host) {
      service.host = Array(Self.shown(host))
      service.name = service.host
    }
    if let known = Self.service(stream) { service.take(known) }
    let labels = IstioLabels(
      configuration.reporter, own: configuration.own, peer: peer?.names, principals, service)
    return (labels, principals.areMutual)
  }

  @inline(never)
  private func makeRow(_ stream: Stream, _ isGRPC: Bool, _ status: Int?) -> RequestRow {
    var (labels, isMutualTLS) = labels(stream)
    labels.addRequest(isGRPC: isGRPC, code: stream.info.responseCode, grpcStatus: status)
    labels.addEnd(stream.info.flags, configuration.reporter, isMutualTLS: isMutualTLS)
    let values = configuration.values(stream)
    return RequestRow({ configuration.series($0, labels, values, lane: worker.index) }, lane: worker.index)
  }

  private func makeMessageRow(_ stream: Stream) -> MessageRow {
    // Istio's proxies report messages before they know what comes of a call, and without those labels.
    let labels = labels(stream).labels
    let values = configuration.values(stream)
    return MessageRow({ configuration.series($0, labels, values, lane: worker.index) }, lane: worker.index)
  }
}

extension IstioLabels.Service {
  /// What the configuration says of a service goes before what a request says.
  mutating func take(_ service: ClusterService) {
    if let host = service.host { self.host = host }
    if let name = service.name { self.name = name }
    if let namespace = service.namespace { self.namespace = namespace }
  }
}

extension IstioStatsConfiguration {
  /// The values of the dimensions for a stream.
  func values<Source: SubstitutionSource>(_ source: Source) -> [[UInt8]] {
    dimensions.map { dimension in
      switch dimension {
      case .constant(let value): return value
      case .format(let format):
        var output = SubstitutionOutput()
        format.write(source, into: &output)
        let value = Array(output.bytes)
        return value == [UInt8(ascii: "-")] ? Array(Bytes(IstioDimension.unknown)) : value
      }
    }
  }
}
