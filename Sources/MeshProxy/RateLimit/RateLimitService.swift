import MeshAPI
import MeshIO
import MeshPrimitives
import MeshRouting
import SwiftProtobuf

/// A rate limit service (`envoy.config.ratelimit.v3.RateLimitServiceConfig`): how it is asked. Immutable; shared by all
/// threads.
final class RateLimitService: Sendable {
  /// What it said, or that it said nothing.
  enum Answer {
    case said(RateLimitServiceResponse)
    case failed(GRPCUnary.Failure)
  }

  static let path = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
  private static let failures = RateLimitedLog(Log.http, perSecond: 1)

  let cluster: String
  private let authority: String
  private let timeout: Duration?
  private let limit: Int
  private let sendsEnvoyHeaders: Bool
  /// What else the calls say.
  private let metadata: HeaderMutations?

  /// - Parameter path: of the message.
  init(
    _ config: RateLimitServiceConfig, timeout: Duration?, _ context: FilterBuildContext, _ path: String
  ) throws(FilterProblem) {
    guard case .envoyGrpc(let service)? = config.grpcService.targetSpecifier else {
      throw FilterProblem(path: "\(path).grpc_service", message: "needs envoy_grpc")
    }
    guard context.clusterNames.contains(service.clusterName) else {
      throw FilterProblem(
        path: "\(path).grpc_service.envoy_grpc.cluster_name", message: "unknown cluster \"\(service.clusterName)\"")
    }
    cluster = service.clusterName
    authority = service.authority.isEmpty ? service.clusterName : service.authority
    self.timeout = timeout
    limit = service.hasMaxReceiveMessageLength ? Int(service.maxReceiveMessageLength.value) : 1024 * 1024
    sendsEnvoyHeaders = !service.skipEnvoyHeaders
    metadata = try context.additions(
      config.grpcService.initialMetadata.map { header in
        var option = HeaderValueOption()
        option.header = header
        return option
      }, "\(path).grpc_service.initial_metadata")
  }

  /// Asks about a request.
  /// - Returns: nil if the answer has come already.
  func ask(
    _ descriptors: [RateLimitDescriptor], domain: String, of stream: Stream, completion: @escaping (Answer) -> Void
  ) -> SideCall? {
    var message = RateLimitServiceRequest()
    message.domain = domain
    message.descriptors = descriptors.map { RateLimitServiceDescriptor($0) }
    guard let bytes: [UInt8] = try? message.serializedBytes() else {
      completion(.failed(.init(status: GRPCStatus(code: 13), message: "cannot be written")))
      return nil
    }
    var request = GRPCUnary.request(
      Self.path, authority: authority, message: bytes, metadata: envoyHeaders(), timeout: timeout, limit: limit)
    request.headers += extraHeaders(of: stream)
    return SideCall.start(worker: stream.worker, cluster: cluster, request) { outcome in
      switch GRPCUnary.message(of: outcome) {
      case .failure(let failure): completion(.failed(failure))
      case .success(let bytes):
        if let answer = try? RateLimitServiceResponse(serializedBytes: bytes) {
          completion(.said(answer))
        } else {
          completion(.failed(.init(status: GRPCStatus(code: 13), message: "no RateLimitResponse")))
        }
      }
    }
  }

  /// Notes that the service was of no help; at most once a second.
  func report(_ failure: GRPCUnary.Failure) {
    Self.failures.warning(
      "rate limit service \(cluster): grpc-status \(failure.status.code)"
        + (failure.message.isEmpty ? "" : " (\(failure.message))"))
  }

  private func envoyHeaders() -> [(name: String, value: String)] {
    sendsEnvoyHeaders ? [("x-envoy-internal", "true")] : []
  }

  private func extraHeaders(of stream: Stream) -> [(name: String, value: String)] {
    guard let metadata else { return [] }
    let map = stream.worker.headerMaps.take()
    RequestRewrite.mutate(map, of: stream, metadata)
    var fields: [(name: String, value: String)] = []
    map.forEach { _, name, value in fields.append((name.text, value.text)) }
    stream.worker.headerMaps.recycle(map)
    return fields
  }
}

extension RateLimitServiceDescriptor {
  init(_ descriptor: RateLimitDescriptor) {
    self.init()
    entries = descriptor.entries.map { entry in
      var message = RateLimitServiceDescriptor.Entry()
      message.key = String(decoding: entry.key, as: UTF8.self)
      message.value = String(decoding: entry.value, as: UTF8.self)
      return message
    }
    if let hits = descriptor.hits { hitsAddend.value = hits }
    if let own = descriptor.limit {
      limit.requestsPerUnit = own.requestsPerUnit
      limit.unit = own.unit
    }
  }
}
