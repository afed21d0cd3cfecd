import MeshHTTP
import MeshPrimitives

/// The body of an answer that the proxy makes itself, and the headers that describe it.
extension Stream {
  /// Makes what is to be sent of a text: what the configuration maps it to, and what gRPC wants of it.
  func describe(_ text: [UInt8], _ status: GRPCStatus?, _ headers: HeaderMap) -> [UInt8] {
    var body = text
    if let mapping = manager?.configuration.localReplies {
      mapping.apply(to: self, headers, &body)
    } else if !body.isEmpty {
      headers.set(.contentLength, number: UInt64(body.count))
      if !headers.has(.contentType) { headers.set(.contentType, "text/plain") }
    }
    guard GRPCStatus.isCall(requestHeaders), !info.isCallOfFilter else { return body }
    describeToCaller(body, status, headers)
    return []
  }

  /// A gRPC client looks at `grpc-status` and at nothing else: the answer is 200 with its meaning in headers
  /// ("Trailers-Only").
  private func describeToCaller(_ body: [UInt8], _ told: GRPCStatus?, _ headers: HeaderMap) {
    let status = told ?? GRPCStatus(http: info.responseCode)
    headers.remove(.contentLength)
    headers.set(.contentType, "application/grpc")
    Array("\(status.code)".utf8).withUnsafeBufferPointer { headers.set(GRPCStatus.name, $0) }
    if !body.isEmpty {
      GRPCStatus.encodedMessage(body).withUnsafeBufferPointer { headers.set(GRPCStatus.messageName, $0) }
    }
    info.responseCode = 200
  }
}
