import MeshConfig
import MeshPrimitives

/// When a service of gRPC wants to be called again: `google.rpc.RetryInfo` in the trailer `grpc-status-details-bin`.
extension ExportAnswer {
  /// - Returns: nil if it does not say so.
  static func retryDelay(in fields: [(name: String, value: String)]) -> Nanoseconds? {
    guard let text = fields.first(where: { $0.name == "grpc-status-details-bin" })?.value else { return nil }
    // Padding may be missing.
    let padded = Array(text.utf8) + Array(repeating: UInt8(ascii: "="), count: (4 - text.utf8.count % 4) % 4)
    var decoder = Base64Stream.Decoder()
    var status: [UInt8] = []
    guard padded.withUnsafeBufferPointer({ decoder.decode($0, into: &status) }) else { return nil }
    return status.withUnsafeBytes { status in
      // google.rpc.Status.details, each a google.protobuf.Any.
      var reader = WireReader(status)
      while let (number, value) = reader.next() {
        guard number == 3, case .bytes(let detail) = value, let info = content(of: detail) else { continue }
        return delay(info)
      }
      return nil
    }
  }

  /// The message in an `Any` that holds a `RetryInfo`.
  private static func content(of detail: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
    var isRetryInfo = false
    var content = UnsafeRawBufferPointer(start: nil, count: 0)
    var reader = WireReader(detail)
    while let (number, value) = reader.next() {
      switch (number, value) {
      case (1, .bytes(let type)): isRetryInfo = String(decoding: type, as: UTF8.self).hasSuffix("/google.rpc.RetryInfo")
      case (2, .bytes(let bytes)): content = bytes
      default: break
      }
    }
    return isRetryInfo && !reader.isMalformed ? content : nil
  }

  /// `retry_delay`: seconds and nanoseconds.
  private static func delay(_ info: UnsafeRawBufferPointer) -> Nanoseconds {
    var (seconds, nanoseconds): (UInt64, UInt64) = (0, 0)
    var reader = WireReader(info)
    while let (number, value) = reader.next() {
      guard number == 1, case .bytes(let duration) = value else { continue }
      var parts = WireReader(duration)
      while let (number, value) = parts.next() {
        switch (number, value) {
        // Negative numbers are those beyond 2⁶³.
        case (1, .varint(let value)): seconds = min(value, 86_399)
        case (2, .varint(let value)): nanoseconds = min(value, 999_999_999)
        default: break
        }
      }
    }
    return Nanoseconds(rawValue: seconds * 1_000_000_000 + nanoseconds)
  }
}
