import MeshAPI
import MeshHTTP
import MeshPrimitives

/// `envoy.filters.http.buffer`: holds a request until all of its body is here, and answers a larger one by 413. Place it
/// where an upstream should not wait for a slow client. A chunked request leaves with a `content-length`.
final class BufferFilter: StreamFilter {
  struct Configuration: FilterConfiguration {
    /// The largest body in bytes (`max_request_bytes`), 1….
    var maximumRequest: Int

    func makeFilter(_ callbacks: StreamFilterCallbacks, worker: Worker) -> any StreamFilter {
      BufferFilter(callbacks, maximumRequest)
    }
  }

  /// `BufferPerRoute`.
  enum RouteConfiguration: RouteFilterConfiguration {
    case disabled
    case maximumRequest(Int)
  }

  static let name = "envoy.filters.http.buffer"

  private let callbacks: StreamFilterCallbacks
  private var maximumRequest: Int
  private var headers: HeaderMap?
  private var isActive = true

  private init(_ callbacks: StreamFilterCallbacks, _ maximumRequest: Int) {
    self.callbacks = callbacks
    self.maximumRequest = maximumRequest
  }

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    switch callbacks.routeConfiguration() as? RouteConfiguration {
    case .disabled: isActive = false
    case .maximumRequest(let bytes): maximumRequest = bytes
    case nil: break
    }
    guard isActive, !endStream else { return .proceed }
    callbacks.setRequestBufferLimit(maximumRequest)
    self.headers = headers
    return .stop
  }

  func requestData(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus {
    guard isActive, headers != nil else { return .proceed }
    guard endStream else { return .stopAndBuffer }
    let total = callbacks.bufferedRequest + bytes.count
    guard total <= maximumRequest else { return .stopAndBuffer }
    complete(total)
    return .proceed
  }

  func requestTrailers(_ trailers: HeaderMap) -> FilterStatus { .proceed }

  private func complete(_ total: Int) {
    if let headers, !headers.has(.contentLength) { headers.set(.contentLength, number: UInt64(total)) }
    headers = nil
  }

  func destroy() { headers = nil }
}
