import MeshAPI
import MeshPrimitives
import MeshRouting

/// The rate limit that refused a request, for the log.
enum RateLimitRefusal {
  /// A bucket of `local_ratelimit` with this `stat_prefix`, of a descriptor or of all requests.
  case bucket(String, TokenBucket, RateLimitDescriptor?)
  /// A rate limit service: which descriptor was over its limit, if it said so.
  case service(domain: String, RateLimitDescriptor?, limit: String)

  /// Which one, and how much it allows.
  var words: String {
    switch self {
    case .bucket(let name, let bucket, _):
      let rate = bucket.rate
      let limit = "\(rate.tokens) in \(rate.interval.words) and at most \(rate.maximum) at once"
      return "\(FailureLine.plain(name)) allows \(limit)"
    case .service(let domain, _, let limit):
      return "domain \(FailureLine.plain(domain))" + (limit.isEmpty ? "" : " allows \(limit)")
    }
  }

  /// What the request was counted under: `key=value,key=value`; empty if under nothing of its own. From peers.
  var descriptor: [UInt8] {
    let found =
      switch self {
      case .bucket(_, _, let descriptor): descriptor
      case .service(_, let descriptor, _): descriptor
      }
    guard let found else { return [] }
    return Array(found.entries.map { $0.key + [UInt8(ascii: "=")] + $0.value }.joined(separator: [UInt8(ascii: ",")]))
  }

  /// - Parameters:
  ///   - descriptors: what the service was asked about.
  ///   - statuses: what it said of each of them.
  init(
    domain: String, _ descriptors: [RateLimitDescriptor], _ statuses: [RateLimitServiceResponse.DescriptorStatus]
  ) {
    let place = statuses.firstIndex { $0.code == .overLimit }
    var limit = ""
    if let place, statuses[place].hasCurrentLimit {
      let current = statuses[place].currentLimit
      limit = "\(current.requestsPerUnit) requests by the \("\(current.unit)".lowercased())"
    }
    self = .service(
      domain: domain, place.flatMap { descriptors.indices.contains($0) ? descriptors[$0] : nil }, limit: limit)
  }
}
