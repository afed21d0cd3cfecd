import MeshPrimitives

/// Which endpoints of a cluster are ejected, since when and for how long. Decides only: the time, the limits and chance
/// are brought by the caller.
struct Ejections<Endpoint: Hashable> {
  /// What the configuration says at the moment.
  struct Limits {
    /// 0…100.
    var maximumPercent: UInt64 = 10
    var alwaysEjectsOne = false
    var baseTime = Nanoseconds.seconds(30)
    var maximumTime = Nanoseconds.seconds(300)
    var interval = Nanoseconds.seconds(10)
  }

  /// What is remembered of one endpoint.
  struct Record: Equatable {
    var isEjected = false
    /// All ejections so far.
    var count: UInt32 = 0
    /// How many times the base time an ejection lasts: the next one begins with one more.
    var multiplier: UInt64 = 0
    var ejectedAt: MonotonicTime?
    var returnedAt: MonotonicTime?
    var jitter = Nanoseconds.zero
    /// Why it was ejected the last time.
    var type: EjectionType?
  }

  /// Why an endpoint is not ejected though it should be.
  enum Refusal: Equatable {
    /// `max_ejection_percent`.
    case tooMany(ejected: Int, of: Int, percent: UInt64)
    /// Chance was against it (`enforcing_…`).
    case notEnforced(percent: UInt64)
  }

  enum Decision: Equatable {
    /// For so long, unless the limits change.
    case ejected(Nanoseconds)
    case refused(Refusal)
    /// It is ejected, or is not there any more.
    case nothing
  }

  private(set) var records: [Endpoint: Record] = [:]
  /// How many are ejected now.
  private(set) var active = 0

  /// Takes the endpoints that there are now. What is known of the others is forgotten.
  mutating func take(_ endpoints: [Endpoint]) {
    var kept: [Endpoint: Record] = [:]
    for endpoint in endpoints { kept[endpoint] = records[endpoint] ?? Record() }
    records = kept
    active = kept.values.count { $0.isEjected }
  }

  /// An endpoint has reached a threshold.
  /// - Parameters:
  ///   - chance: 0…99; it is ejected if this is less than `percent`.
  ///   - percent: `enforcing_…`.
  ///   - jitter: how much longer the ejection lasts.
  mutating func eject(
    _ endpoint: Endpoint, _ type: EjectionType, _ now: MonotonicTime, _ limits: Limits, chance: UInt64,
    percent: UInt64, jitter: Nanoseconds
  ) -> Decision {
    guard var record = records[endpoint], !record.isEjected else { return .nothing }
    let maximum = min(100, limits.maximumPercent)
    // As in Envoy: the share with this one.
    let isWithin = UInt64(active + 1) * 100 <= maximum * UInt64(records.count)
    guard isWithin || limits.alwaysEjectsOne && active == 0 else {
      return .refused(.tooMany(ejected: active, of: records.count, percent: maximum))
    }
    guard chance < percent else { return .refused(.notEnforced(percent: min(percent, 100))) }
    record.isEjected = true
    record.count &+= 1
    record.type = type
    record.ejectedAt = now
    record.jitter = jitter
    if Self.product(limits.baseTime, record.multiplier) < limits.maximumTime + limits.baseTime {
      record.multiplier += 1
    }
    records[endpoint] = record
    active += 1
    return .ejected(length(record, limits))
  }

  /// The endpoints whose ejection is over.
  func due(_ now: MonotonicTime, _ limits: Limits) -> [Endpoint] {
    records.compactMap { endpoint, record in
      guard record.isEjected, let began = record.ejectedAt else { return nil }
      return now.since(began) >= length(record, limits) ? endpoint : nil
    }
  }

  /// Ends an ejection. - Returns: whether there was one.
  mutating func end(_ endpoint: Endpoint, _ now: MonotonicTime) -> Bool {
    guard let record = records[endpoint], record.isEjected else { return false }
    records[endpoint]?.isEjected = false
    records[endpoint]?.returnedAt = now
    active -= 1
    return true
  }

  /// An interval has passed: the next ejection of those that have been well for one is shorter.
  mutating func decay(_ now: MonotonicTime, _ limits: Limits) {
    for (endpoint, record) in records where !record.isEjected && record.multiplier > 0 {
      guard let returned = record.returnedAt, now.since(returned) >= limits.interval else { continue }
      records[endpoint]?.multiplier -= 1
    }
  }

  /// How long an ejection lasts, by the limits as they are now.
  func length(_ record: Record, _ limits: Limits) -> Nanoseconds {
    min(Self.product(limits.baseTime, record.multiplier), limits.maximumTime) + record.jitter
  }

  private static func product(_ time: Nanoseconds, _ factor: UInt64) -> Nanoseconds {
    let (product, overflow) = time.rawValue.multipliedReportingOverflow(by: factor)
    return Nanoseconds(rawValue: overflow ? .max / 4 : min(product, .max / 4))
  }

  /// The endpoints whose share of failures is too large.
  /// - Parameters:
  ///   - windows: the requests of the last interval, of the endpoints that are not ejected.
  ///   - threshold: in percent.
  ///   - volume: requests that an endpoint must have had to be looked at.
  ///   - minimum: endpoints that must have had so many.
  static func failing(
    _ windows: [(endpoint: Endpoint, window: EndpointOutcomes.Window)], threshold: UInt64, volume: UInt64,
    minimum: UInt64
  ) -> [(endpoint: Endpoint, successRate: Double)] {
    let counted = windows.compactMap { endpoint, window in
      window.total >= volume ? window.successRate.map { (endpoint: endpoint, successRate: $0) } : nil
    }
    guard !counted.isEmpty, UInt64(counted.count) >= minimum else { return [] }
    return counted.filter { 100 - $0.successRate >= Double(threshold) }
  }
}

extension Nanoseconds {
  /// Saturates.
  static func + (a: Self, b: Self) -> Self {
    let (sum, overflow) = a.rawValue.addingReportingOverflow(b.rawValue)
    return Self(rawValue: overflow ? .max : sum)
  }
}
