import MeshAPI

/// One key of a descriptor, and its value.
public struct RateLimitEntry: Hashable, Sendable {
  public let key: [UInt8]
  public let value: [UInt8]

  public init(key: [UInt8], value: [UInt8]) {
    self.key = key
    self.value = value
  }
}

/// What a request is counted under.
public struct RateLimitDescriptor: Equatable, Sendable {
  /// A limit that comes with the request (`RateLimit.limit`).
  public struct Limit: Equatable, Sendable {
    public let requestsPerUnit: UInt32
    public let unit: RateLimitUnit

    public init(requestsPerUnit: UInt32, unit: RateLimitUnit) {
      self.requestsPerUnit = requestsPerUnit
      self.unit = unit
    }
  }

  public let entries: [RateLimitEntry]
  /// How much the request counts; nil: not said.
  public let hits: UInt64?
  public let limit: Limit?

  public init(entries: [RateLimitEntry], hits: UInt64? = nil, limit: Limit? = nil) {
    self.entries = entries
    self.hits = hits
    self.limit = limit
  }
}
