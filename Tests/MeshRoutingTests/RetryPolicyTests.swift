import MeshAPI
import MeshPrimitives
import Testing

@testable import MeshRouting

@Suite("Retry policies")
struct RetryPolicyTests {
  @Test("the wait before attempt n is below base · 2ⁿ⁻¹, and never above the maximum")
  func backOff() {
    let plain = RetryPolicy.BackOff()
    let base = Nanoseconds.milliseconds(25)
    #expect(
      (1...8).map { plain.bound(retry: $0, base: base).wholeMilliseconds } == [25, 50, 100, 200, 250, 250, 250, 250])
    let own = RetryPolicy.BackOff(base: .milliseconds(10), maximum: .milliseconds(30))
    #expect((1...4).map { own.bound(retry: $0, base: base).wholeMilliseconds } == [10, 20, 30, 30])
    // However often, and however long: no overflow.
    let long = RetryPolicy.BackOff(base: .seconds(1 << 33), maximum: .seconds(1 << 33))
    for retry in [0, 1, 2, 30, 63, 64, 65, .max] as [UInt32] {
      #expect(long.bound(retry: retry, base: base) == .seconds(1 << 33))
    }
  }

  @Test(
    "when a response asks to come again",
    arguments: [
      ("5", nil, 5), ("0", nil, nil), ("301", nil, nil), ("300", nil, 300), ("x", nil, nil), ("", nil, nil),
      ("99999999999999999999", nil, nil), (nil, "1010", 10), (nil, "1000", nil), (nil, "999", nil), (nil, "0", nil),
      ("x", "1001", 1), ("7", "1001", 7), (nil, "9223372036854775807", nil),
    ] as [(String?, String?, UInt64?)])
  func resetHeaders(_ seconds: String?, _ point: String?, _ expected: UInt64?) {
    let backOff = RetryPolicy.RateLimitedBackOff(
      headers: [
        .init(name: HeaderName("retry-after"), isPointInTime: false),
        .init(name: HeaderName("x-reset"), isPointInTime: true),
      ], maximum: .seconds(300))
    let values = [HeaderName("retry-after"): seconds, HeaderName("x-reset"): point].compactMapValues { $0 }
      .mapValues { Array($0.utf8) }
    let wait = values.withExtendedBytes { lookUp in backOff.wait(now: 1000, lookUp) }
    #expect(wait == expected.map { .seconds($0) })
  }

  @Test("what x-envoy-retry-on says: words that mean nothing do not count")
  func words() {
    func parse(_ text: String, _ isForGRPC: Bool = false) -> RetryConditions {
      Array(text.utf8).withUnsafeBufferPointer { RetryConditions.parse($0, isForGRPC: isForGRPC) }
    }
    #expect(parse("5xx, reset\t,bogus,,") == [.serverErrors, .reset])
    #expect(parse("cancelled") == [])
    #expect(parse("cancelled,5xx, unavailable", true) == [.grpcCancelled, .grpcUnavailable])
    #expect(parse("") == [] && parse(",,,") == [] && parse("5XX") == [])
  }

  @Test func problems() {
    let path = "virtual_hosts[0].routes[0].route.retry_policy"
    func problems(_ configure: (inout RetryPolicyConfig) -> Void) -> [String] {
      var config = RetryPolicyConfig()
      configure(&config)
      return RouteProblemTests.problems { $0.route.retryPolicy = config }
    }
    #expect(problems { $0.retryOn = "5xx, gateway-error,unavailable, http3-post-connect-failure" } == [])
    #expect(
      problems { $0.retryOn = "5xx,connect-failur" }.first?.hasPrefix(
        "\(path).retry_on: unknown condition \"connect-failur\" (5xx, gateway-error,") == true)
    #expect(
      problems {
        $0.hostSelectionRetryMaxAttempts = -1
        $0.retriableStatusCodes = [200, 99, 600]
        $0.retryBackOff = .init()
        $0.rateLimitedRetryBackOff = .init()
      } == [
        "\(path).host_selection_retry_max_attempts: must not be negative",
        "\(path).retriable_status_codes[1]: 99 is no status (100 to 599)",
        "\(path).retriable_status_codes[2]: 600 is no status (100 to 599)",
        "\(path).retry_back_off.base_interval: must be at least 1 ms",
        "\(path).rate_limited_retry_back_off.reset_headers: at least one header is required",
      ])
    #expect(
      problems { $0.retryHostPredicate = [.init()] }.first?.hasPrefix(
        "\(path).retry_host_predicate[0].typed_config: must hold one of envoy.extensions.retry.host.previous_hosts.v3.")
        == true)
  }
}

extension [HeaderName: [UInt8]] {
  /// Calls `body` with a look-up whose bytes are valid meanwhile.
  fileprivate func withExtendedBytes<R>(_ body: ((HeaderName) -> Bytes?) -> R) -> R {
    let copies = mapValues { bytes in
      let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: Swift.max(1, bytes.count))
      _ = copy.initialize(from: bytes)
      return (copy, bytes.count)
    }
    defer { for (copy, _) in copies.values { copy.deallocate() } }
    return body { name in copies[name].map { Bytes(start: $0.0.baseAddress, count: $0.1) } }
  }
}
