import MeshHTTP
import MeshPrimitives

/// What responses tell of the endpoints that they came from.
extension RouterFilter {
  /// Reports the head of a response. Costs one test where nobody looks after endpoints' health.
  @inline(__always)
  func noteResponse(_ status: Int, _ headers: HeaderMap, _ endpoint: ActiveEndpoint, _ stream: Stream) {
    if endpoint.isWatched { noteWatched(status, headers, endpoint, stream) }
  }

  @inline(never)
  private func noteWatched(_ status: Int, _ headers: HeaderMap, _ endpoint: ActiveEndpoint, _ stream: Stream) {
    var status = status
    // Of a call that ends with its head. What trailers say comes too late, as in Envoy.
    if GRPCStatus.isCall(stream.requestHeaders), let field = headers.value(GRPCStatus.name) {
      status = GRPCStatus(code: DecimalNumber.parse(field).flatMap { Int(exactly: $0) } ?? -1).httpStatus
    }
    endpoint.note(.status(status))
    if endpoint.isChecked, headers.value(HealthCheckHeaders.immediateFail) != nil { endpoint.failHealthCheck() }
  }
}

extension GRPCStatus {
  /// The status of HTTP that means about the same.
  var httpStatus: Int {
    switch code {
    case 0: 200
    case 1: 499
    case 3, 9, 11: 400
    case 4: 504
    case 5: 404
    case 6, 10: 409
    case 7: 403
    case 8: 429
    case 12: 501
    case 14: 503
    case 16: 401
    default: 500
    }
  }
}
