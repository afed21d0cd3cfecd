import MeshPrimitives

/// On what occasions a request is sent once more (`retry_on`, `x-envoy-retry-on`, `x-envoy-retry-grpc-on`).
public struct RetryConditions: OptionSet, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  public static var serverErrors: Self { Self(rawValue: 1) }
  public static var gatewayErrors: Self { Self(rawValue: 1 << 1) }
  public static var reset: Self { Self(rawValue: 1 << 2) }
  public static var resetBeforeRequest: Self { Self(rawValue: 1 << 3) }
  public static var connectFailure: Self { Self(rawValue: 1 << 4) }
  public static var envoyRateLimited: Self { Self(rawValue: 1 << 5) }
  public static var retriable4xx: Self { Self(rawValue: 1 << 6) }
  public static var refusedStream: Self { Self(rawValue: 1 << 7) }
  public static var retriableStatusCodes: Self { Self(rawValue: 1 << 8) }
  public static var retriableHeaders: Self { Self(rawValue: 1 << 9) }
  public static var grpcCancelled: Self { Self(rawValue: 1 << 10) }
  public static var grpcDeadlineExceeded: Self { Self(rawValue: 1 << 11) }
  public static var grpcInternal: Self { Self(rawValue: 1 << 12) }
  public static var grpcResourceExhausted: Self { Self(rawValue: 1 << 13) }
  public static var grpcUnavailable: Self { Self(rawValue: 1 << 14) }

  /// Those that look at the status of a call.
  public static var grpc: Self {
    [.grpcCancelled, .grpcDeadlineExceeded, .grpcInternal, .grpcResourceExhausted, .grpcUnavailable]
  }

  /// The words of Envoy's `retry_on`, and of `x-envoy-retry-on`.
  static let words: [(word: String, condition: RetryConditions)] = [
    ("5xx", .serverErrors), ("gateway-error", .gatewayErrors), ("reset", .reset),
    ("reset-before-request", .resetBeforeRequest), ("connect-failure", .connectFailure),
    ("envoy-ratelimited", .envoyRateLimited), ("retriable-4xx", .retriable4xx), ("refused-stream", .refusedStream),
    ("retriable-status-codes", .retriableStatusCodes), ("retriable-headers", .retriableHeaders),
    // Never so without HTTP/3.
    ("http3-post-connect-failure", []),
  ]

  /// The words for calls of gRPC, which may stand in `retry_on`, too.
  static let grpcWords: [(word: String, condition: RetryConditions)] = [
    ("cancelled", .grpcCancelled), ("deadline-exceeded", .grpcDeadlineExceeded), ("internal", .grpcInternal),
    ("resource-exhausted", .grpcResourceExhausted), ("unavailable", .grpcUnavailable),
  ]

  /// What a header says: words with commas between them. Those that mean nothing do not count.
  /// - Parameter isForGRPC: of `x-envoy-retry-grpc-on`.
  public static func parse(_ value: Bytes, isForGRPC: Bool) -> RetryConditions {
    var result: RetryConditions = []
    let words = isForGRPC ? grpcWords : words
    for part in value.text.split(separator: ",") {
      let word = part.trimmed
      if let known = words.first(where: { $0.word == word }) { result.insert(known.condition) }
    }
    return result
  }
}

extension Substring {
  /// Without the spaces and tabs around it.
  var trimmed: Substring {
    var text = self
    while let first = text.first, first == " " || first == "\t" { text = text.dropFirst() }
    while let last = text.last, last == " " || last == "\t" { text = text.dropLast() }
    return text
  }
}
