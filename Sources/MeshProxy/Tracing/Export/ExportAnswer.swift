import MeshConfig
import MeshPrimitives

/// What a collector made of an export.
enum ExportAnswer: Equatable {
  /// It has them, but for so many, for a reason that it gives in words.
  case taken(rejected: Int64 = 0, reason: String = "")
  /// It wants them later, after some time if it says so.
  case later(String, after: Nanoseconds?)
  /// It does not want them.
  case refused(String)
  /// There was no answer. It may be asked again if it cannot have them already, or does not mind having them twice.
  case none(String, mayRepeat: Bool)
  /// The configuration has no such cluster any more.
  case noCluster

  /// For the log; nil: all is well.
  var complaint: String? {
    switch self {
    case .taken(0, ""): nil
    case .taken(0, let reason): "warns: \(reason)"
    case .taken(let count, let reason): "rejected \(count) spans" + (reason.isEmpty ? "" : ": \(reason)")
    case .later(let reason, _), .refused(let reason), .none(let reason, _): reason
    case .noCluster: "no such cluster"
    }
  }

  /// Whether somebody has answered that it takes spans.
  var isTaken: Bool { if case .taken = self { true } else { false } }

  // MARK: HTTP

  /// What an answer over HTTP means. Any 2xx is a success: Zipkin says 202, OTLP 200, what is between may say either.
  /// - Parameter isOTLP: OTLP says which answers ask for a second try (OTLP specification, "Retryable Response Codes");
  ///   Zipkin knows none, and does not like to have spans twice.
  static func of(_ outcome: SideCall.Outcome, isOTLP: Bool) -> ExportAnswer {
    let response: SideCall.Response
    switch outcome {
    case .failure(let reason): return unanswered(reason, isOTLP: isOTLP)
    case .response(let given): response = given
    }
    switch response.status {
    case 200..<300: return isOTLP ? partialSuccess(response.body) : .taken()
    default:
      return isOTLP && asksForAnother(response.status)
        ? .later("HTTP \(response.status)", after: retryAfter(in: response.headers))
        : .refused("HTTP \(response.status)")
    }
  }

  private static func asksForAnother(_ status: Int) -> Bool {
    status == 429 || status == 502 || status == 503 || status == 504
  }

  private static func unanswered(_ reason: String, isOTLP: Bool) -> ExportAnswer {
    switch reason {
    case "no cluster": .noCluster
    case "response too large": .refused(reason)
    case "no healthy upstream", "overflow", "remote connection failure", "local connection failure",
      "connection timeout":
      // Nothing was sent.
      .none(reason, mayRepeat: true)
    default: .none(reason, mayRepeat: isOTLP)
    }
  }

  /// `retry-after` in seconds (RFC 9110 §10.2.3); a date, which collectors do not send, counts as none.
  static func retryAfter(in headers: [(name: String, value: String)]) -> Nanoseconds? {
    guard let value = headers.first(where: { $0.name == "retry-after" })?.value, !value.isEmpty,
      value.utf8.allSatisfy({ $0 &- 0x30 < 10 })
    else { return nil }
    return .seconds(min(UInt64(value) ?? .max, 86_400))
  }

  /// `ExportTraceServiceResponse`: what is not one counts as a plain success, since the status said so.
  static func partialSuccess(_ body: [UInt8]) -> ExportAnswer {
    body.withUnsafeBytes { bytes in
      var rejected: Int64 = 0
      var reason = ""
      var reader = WireReader(bytes)
      while let (number, value) = reader.next() {
        guard number == 1, case .bytes(let partial) = value else { continue }
        var reader = WireReader(partial)
        while let (number, value) = reader.next() {
          switch (number, value) {
          case (1, .varint(let count)): rejected = max(0, Int64(truncatingIfNeeded: count))
          case (2, .bytes(let text)): reason = String(String(decoding: text, as: UTF8.self).prefix(200))
          default: break
          }
        }
      }
      return .taken(rejected: rejected, reason: reason)
    }
  }

  // MARK: gRPC

  /// What an answer over gRPC means (OTLP specification, "Failures").
  static func ofCall(_ outcome: SideCall.Outcome) -> ExportAnswer {
    if case .failure(let reason) = outcome {
      // A status of HTTP other than 200 ends the call.
      guard reason.hasPrefix("HTTP "), let status = Int(reason.dropFirst(5)) else {
        return unanswered(reason, isOTLP: true)
      }
      return asksForAnother(status) ? .later(reason, after: nil) : .refused(reason)
    }
    switch GRPCUnary.message(of: outcome) {
    case .success(let body): return partialSuccess(body)
    case .failure(let failure):
      let text = "grpc-status \(failure.status.code)" + (failure.message.isEmpty ? "" : " (\(failure.message))")
      let delay: Nanoseconds? =
        if case .response(let response) = outcome {
          retryDelay(in: response.trailers.isEmpty ? response.headers : response.trailers)
        } else {
          nil
        }
      switch failure.status.code {
      // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
      case 1, 4, 10, 11, 14, 15: return .later(text, after: delay)
      // RESOURCE_EXHAUSTED: only if it says when.
      case 8 where delay != nil: return .later(text, after: delay)
      default: return .refused(text)
      }
    }
  }
}
