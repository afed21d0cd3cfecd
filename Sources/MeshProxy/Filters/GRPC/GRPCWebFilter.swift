import MeshHTTP
import MeshPrimitives

/// `envoy.filters.http.grpc_web`: turns gRPC-Web into gRPC and back, binary and as text (base64). The trailers of a response
/// become the last frame of its body. What is not gRPC-Web passes as it is. Position: before filters that want to see gRPC.
final class GRPCWebFilter: StreamFilter {
  static let name = "envoy.filters.http.grpc_web"

  struct Configuration: FilterConfiguration {
    func makeFilter(_ callbacks: StreamFilterCallbacks, worker: Worker) -> any StreamFilter { GRPCWebFilter(callbacks) }
  }

  /// Marks the frame of trailers among those of messages.
  private static let trailersFlag: UInt8 = 0x80
  /// Bytes of a page that become a message.
  private static let maximumMessage = 8192
  private static let accept = HeaderName("accept")
  private static let acceptEncoding = HeaderName("grpc-accept-encoding")

  private let callbacks: StreamFilterCallbacks
  private var isWeb = false
  private var isTextRequest = false
  private var isTextResponse = false
  private var decoder = Base64Stream.Decoder()
  private var encoder = Base64Stream.Encoder()
  private var frames = GRPCFrameScanner()
  /// The response is none of gRPC: its headers wait for its body, which becomes the message of a status.
  private var foreignHeaders: HeaderMap?
  private var foreignBody: [UInt8] = []

  private init(_ callbacks: StreamFilterCallbacks) { self.callbacks = callbacks }

  /// Of a content type: whether it is gRPC-Web, and as text.
  private static func format(_ type: Bytes?) -> (isWeb: Bool, isText: Bool) {
    guard let type else { return (false, false) }
    if type.equals("application/grpc-web") || type.equals("application/grpc-web+proto") { return (true, false) }
    let isText = type.equals("application/grpc-web-text") || type.equals("application/grpc-web-text+proto")
    return (isText, isText)
  }

  // MARK: The request

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    (isWeb, isTextRequest) = Self.format(headers.value(.contentType))
    guard isWeb else { return .proceed }
    isTextResponse = Self.format(headers.value(Self.accept)).isText
    // The length of another form, if at all.
    headers.remove(.contentLength)
    headers.set(.contentType, "application/grpc")
    headers.set(.te, "trailers")
    headers.set(Self.acceptEncoding, Bytes("identity"))
    // The client wants an answer of HTTP that this filter has seen, not one of gRPC.
    callbacks.updateInfo { $0.isCallOfFilter = true }
    return .proceed
  }

  func requestData(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus {
    guard isTextRequest else { return .proceed }
    var decoded: [UInt8] = []
    guard decoder.decode(bytes, into: &decoded), !endStream || decoder.isComplete else {
      callbacks.sendLocalReply(
        LocalReply(
          status: 400, text: "Bad gRPC-web request, invalid base64 data.",
          details: .init("grpc_base_64_decode_failed"), closesConnection: true))
      return .stopAndDrop
    }
    if !decoded.isEmpty || endStream {
      decoded.withUnsafeBufferPointer { callbacks.passRequestData($0, endStream: endStream) }
    }
    return .stopAndDrop
  }

  // MARK: The response

  func responseHeaders(status: Int, _ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    guard isWeb else { return .proceed }
    let isCall = GRPCStatus.isCall(headers) || endStream
    headers.set(
      .contentType, isTextResponse ? "application/grpc-web-text+proto" : "application/grpc-web+proto")
    if isCall {
      headers.remove(.contentLength)
      return .proceed
    }
    foreignHeaders = headers
    return .stop
  }

  /// A page that says what is wrong becomes what clients of gRPC look at.
  private func answerForeign() {
    guard let headers = foreignHeaders else { return }
    foreignHeaders = nil
    if headers.value(GRPCStatus.name) == nil {
      Array("\(GRPCStatus(http: callbacks.info.responseCode).code)".utf8).withUnsafeBufferPointer {
        headers.set(GRPCStatus.name, $0)
      }
    }
    GRPCStatus.encodedMessage(foreignBody).withUnsafeBufferPointer { headers.set(GRPCStatus.messageName, $0) }
    headers.set(.contentLength, number: 0)
    foreignBody = []
    callbacks.passResponseData(Bytes(start: nil, count: 0), endStream: true)
  }

  func responseData(_ bytes: Bytes, endStream: Bool) -> FilterDataStatus {
    if foreignHeaders != nil {
      foreignBody += bytes.prefix(max(0, Self.maximumMessage - foreignBody.count))
      if endStream { answerForeign() }
      return .stopAndDrop
    }
    guard isWeb, isTextResponse else { return .proceed }
    var text: [UInt8] = []
    var rest = bytes
    // Each frame is a text by itself, so that the client has it whole as soon as it is there.
    while rest.count > 0 {
      let frame = frames.next(&rest)
      encoder.encode(frame.run, into: &text)
      if frame.ends { encoder.finish(into: &text) }
    }
    if endStream { encoder.finish(into: &text) }
    if !text.isEmpty || endStream {
      text.withUnsafeBufferPointer { callbacks.passResponseData($0, endStream: endStream) }
    }
    return .stopAndDrop
  }

  func responseTrailers(_ trailers: HeaderMap) -> FilterStatus {
    if foreignHeaders != nil {
      answerForeign()
      return .proceed
    }
    guard isWeb else { return .proceed }
    var fields: [UInt8] = []
    trailers.forEach { _, name, value in
      fields += name
      fields.append(UInt8(ascii: ":"))
      fields += value
      fields += [0x0d, 0x0a]
    }
    var body = GRPCFrameScanner.head(length: UInt32(clamping: fields.count), flags: Self.trailersFlag) + fields
    if isTextResponse {
      let frame = body
      body = []
      encoder.finish(into: &body)
      frame.withUnsafeBufferPointer { encoder.encode($0, into: &body) }
      encoder.finish(into: &body)
    }
    body.withUnsafeBufferPointer { callbacks.passResponseData($0, endStream: true) }
    return .proceed
  }

  func destroy() { foreignHeaders = nil }
}
