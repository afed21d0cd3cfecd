import MeshHTTP
import MeshIO
import MeshPrimitives

/// When things happened at the upstream, in the last attempt. `.never`: not yet.
public struct UpstreamTiming: Sendable {
  /// The pool gave a connection, and the request's head was written.
  public var connectionReadyAt: MonotonicTime = .never
  /// The last byte of the request was written.
  public var requestSentAt: MonotonicTime = .never
  /// The first byte of the response's body came.
  public var bodyStartedAt: MonotonicTime = .never
  public var responseCompleteAt: MonotonicTime = .never

  public init() {}
}

/// What was tried before the last attempt of a stream, in order. Confined to the worker.
public final class EarlierAttempts {
  public private(set) var endpoints: [Endpoint] = []
  public private(set) var connections: [UInt64] = []

  func append(_ endpoint: Endpoint, connection: UInt64) {
    endpoints.append(endpoint)
    if connection != 0 { connections.append(connection) }
  }
}

extension StreamInfo {
  /// The attempt that is known here becomes an earlier one.
  @inline(never)
  mutating func noteEarlierAttempt() {
    guard let endpoint else { return }
    let earlier = earlierAttempts ?? EarlierAttempts()
    earlier.append(endpoint, connection: upstreamConnectionIdentifier)
    earlierAttempts = earlier
    upstreamConnection = nil
    upstreamFailure = nil
    transportFailure = nil
    upstreamTiming = UpstreamTiming()
  }

  /// The endpoint, if there was a connection to it in the last attempt.
  @inline(__always)
  var connectedEndpoint: Endpoint? { upstreamTiming.connectionReadyAt == .never ? nil : endpoint }

  /// The pool gave a connection for the attempt.
  @inline(__always)
  mutating func beginExchange(_ connection: UpstreamConnectionInfo, _ now: MonotonicTime) {
    upstreamConnection = connection
    upstreamTiming.connectionReadyAt = now
  }

  /// The connection is given back or lost: what crossed it for this stream is known.
  @inline(__always)
  mutating func endExchange(_ upstream: any RequestSender) { upstreamWire.add(upstream.wire) }
}
