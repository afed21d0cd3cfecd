import MeshHTTP
import MeshPrimitives

/// `envoy.filters.http.grpc_http1_bridge`: unary calls of gRPC for clients of HTTP/1.1, which do not see trailers. The
/// response is held back until it is complete, and its trailers go into its head.
final class GRPCBridgeFilter: StreamFilter {
  static let name = "envoy.filters.http.grpc_http1_bridge"

  struct Configuration: FilterConfiguration {
    /// `upgrade_protobuf_to_grpc`.
    let framesProtobuf: Bool
    /// `ignore_query_parameters`.
    let dropsQuery: Bool

    func makeFilter(_ callbacks: StreamFilterCallbacks, worker: Worker) -> any StreamFilter {
      GRPCBridgeFilter(callbacks, self)
    }
  }

  private static let head = 5

  private let callbacks: StreamFilterCallbacks
  private let configuration: Configuration
  private var isBridging = false
  /// The client knows nothing of messages in frames.
  private var isFraming = false
  /// Without frame; what has come of it. The request's waits for its length, the response's for its trailers.
  private var requestMessage: [UInt8] = []
  private var responseMessage: [UInt8] = []
  private var responseHeaders: HeaderMap?
  private var responseBytes = 0
  private var headToCome = GRPCBridgeFilter.head

  private init(_ callbacks: StreamFilterCallbacks, _ configuration: Configuration) {
    self.callbacks = callbacks
    self.configuration = configuration
  }

  // MARK: The request

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    guard callbacks.info.version != .http2 else { return .proceed }
    isFraming = configuration.framesProtobuf && headers.value(.contentType)?.equals("application/x-protobuf") == true
    isBridging = isFraming || GRPCStatus.isCall(headers)
    guard isBridging else { return .proceed }
    // A server of gRPC wants to know that its trailers are understood: this filter understands them.
    headers.set(.te, "trailers")
    guard isFraming else { return .proceed }
    headers.set(.contentType, "application/grpc")
    headers.remove(.contentLength)
    if configuration.dropsQuery { dropQuery(headers) }
    // A message of no bytes is a message all the same; it goes on when the headers wait here.
    if endStream { callbacks.loop.defer { [self] in sendMessage() } }
    return .stop
  }

  private func dropQuery(_ headers: HeaderMap) {
    guard let path = headers.value(.path), let end = path.firstIndex(of: UInt8(ascii: "?")) else { return }
    Array(path.slice(0, end)).withUnsafeBufferPointer { headers.set(.path, $0) }
  }

  func requestData(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus {
    guard isFraming else { return .proceed }
    requestMessage += bytes
    if requestMessage.count > callbacks.bufferLimit {
      requestMessage = []
      callbacks.requestTooLarge()
    } else if endStream {
      sendMessage()
    }
    return .stopAndDrop
  }

  private func sendMessage() {
    let frame = GRPCFrameScanner.head(length: UInt32(requestMessage.count)) + requestMessage
    requestMessage = []
    frame.withUnsafeBufferPointer { callbacks.passRequestData($0, endStream: true) }
  }

  func requestTrailers(_ trailers: HeaderMap) -> FilterStatus {
    if isFraming { sendMessage() }
    return .proceed
  }

  // MARK: The response

  func responseHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    guard isBridging, GRPCStatus.isCall(headers) else {
      isBridging = false
      return .proceed
    }
    guard !endStream else { return .proceed }
    headers.remove(.contentLength)
    responseHeaders = headers
    return .stop
  }

  func responseData(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus {
    guard isBridging else { return .proceed }
    guard isFraming else {
      responseBytes += bytes.count
      guard endStream else { return .stopAndBuffer }
      complete(nil)
      return .proceed
    }
    let skipped = min(headToCome, bytes.count)
    headToCome -= skipped
    responseMessage += bytes.slice(skipped, bytes.count - skipped)
    if responseMessage.count > callbacks.bufferLimit {
      responseMessage = []
      callbacks.responseTooLarge()
    } else if endStream {
      complete(nil)
    }
    return .stopAndDrop
  }

  func responseTrailers(_ trailers: HeaderMap) -> FilterStatus {
    if isBridging { complete(trailers) }
    return .proceed
  }

  /// The response is there: its head says all that there is to say.
  private func complete(_ trailers: HeaderMap?) {
    guard let headers = responseHeaders else { return }
    responseHeaders = nil
    if let status = trailers?.value(GRPCStatus.name) {
      headers.set(GRPCStatus.name, status)
      if !status.equals("0") { callbacks.updateInfo { $0.responseCode = 503 } }
    }
    if let message = trailers?.value(GRPCStatus.messageName) { headers.set(GRPCStatus.messageName, message) }
    headers.set(.contentLength, number: UInt64(isFraming ? responseMessage.count : responseBytes))
    guard isFraming else { return }
    let message = responseMessage
    responseMessage = []
    message.withUnsafeBufferPointer { callbacks.passResponseData($0, endStream: true) }
  }

  func destroy() { responseHeaders = nil }
}
