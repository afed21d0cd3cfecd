import MeshPrimitives
import MeshRouting

/// What the runtime says of retries, for every cluster.
struct RetrySettings: Sendable {
  private var isEnabled: RuntimeFraction?
  private var baseInterval: RuntimeValue?

  init() {}

  init(_ runtime: Runtime) {
    isEnabled = RuntimeFraction(runtime.value("upstream.use_retry"), or: .all)
    baseInterval = runtime.value("upstream.base_retry_backoff_ms")
  }

  /// Whether a request may be sent once more (`upstream.use_retry`, a percentage; default 100).
  func isOn(_ random: UInt64) -> Bool { isEnabled?.includes(random) ?? true }

  /// The base of the time between attempts where no policy has one (`upstream.base_retry_backoff_ms`; default 25).
  var base: Nanoseconds { .milliseconds(min(max(1, baseInterval?.integer(or: 25) ?? 25), 3_600_000)) }
}
