import MeshPrimitives

/// One request and its response on an `HTTP2ClientConnection`. Reused by its connection.
final class HTTP2ClientStream: HTTP2Stream, RequestSender {
  /// nil while it carries no request.
  private var owner: HTTP2ClientConnection?
  private var receiver: (any ResponseReceiver)?
  let connection: UpstreamConnectionInfo
  private var informational = 0
  private var tunnel = TunnelKind.none
  private var isResponseComplete = false
  /// The protocol that a tunnel is asked for.
  private var protocolName: [UInt8] = []
  private(set) var isOnReusedConnection = false
  /// How far the connection's bytes had come when this stream's first was framed.
  private var firstByte: UInt64 = 0

  init(session: HTTP2Session, connection: UpstreamConnectionInfo) {
    self.connection = connection
    super.init(session: session)
  }

  /// Makes this the stream of a new request.
  func begin(_ owner: HTTP2ClientConnection, _ receiver: any ResponseReceiver, method: HTTPMethod, _ headers: HeaderMap)
  {
    self.owner = owner
    self.receiver = receiver
    informational = 0
    isBodiless = method == .head
    isOnReusedConnection = owner.requestCount > 1
    firstByte = owner.framedBytes
    isClosed = false
    tunnel = method == .connect ? .connect : .none
    isResponseComplete = false
    if !protocolName.isEmpty { protocolName = [] }
    if let name = headers.value(.upgrade) {
      tunnel = .upgrade
      protocolName = Array(name)
    }
  }

  // MARK: The response

  override func take(head: HeaderMap, start: RequestStart?, status: Int, endStream: Bool) {
    guard let receiver, let owner else { return session.headerMaps.recycle(head) }
    if status < 200 {
      informational += 1
      if informational > owner.settings.maximumInformational {
        return refuse(head, .tooManyInformational)
      }
      // The proxy has sent its own 100 where one was asked for.
      if status != 100 { receiver.receiveInformational(status: status, head) }
      return session.headerMaps.recycle(head)
    }
    let isGranted = tunnel == .upgrade ? status < 300 : tunnel.isGranted(by: status)
    var code = status
    if isGranted {
      head.remove(.contentLength)
      remaining = -1
      if tunnel == .upgrade {
        code = 101
        protocolName.withUnsafeBufferPointer { head.set(.upgrade, $0) }
      }
    }
    // A tunnel's head ends no direction.
    let ends = endStream && !isGranted
    receiver.receiveHeaders(status: code, head, endStream: ends)
    if ends { return responseComplete() }
    if endStream, !isReset { receive(Bytes(start: nil, count: 0), endStream: true) }
  }

  override func take(_ bytes: Bytes, endStream: Bool) {
    receiver?.receiveData(bytes, endStream: endStream)
    if endStream { responseComplete() }
  }

  override func take(trailers: HeaderMap) {
    guard let receiver else { return session.headerMaps.recycle(trailers) }
    receiver.receiveTrailers(trailers)
    responseComplete()
  }

  override func refuse(_ map: HeaderMap, _ error: HTTP2MessageError) {
    session.headerMaps.recycle(map)
    // Too much of a head is no breach of the protocol: the stream ends, the connection is as good as before.
    guard error.status != nil else { return session.fail(self, error) }
    fail(error.details)
  }

  private func fail(_ details: StaticString) {
    let receiver = receiver
    self.receiver = nil
    session.reset(self, .cancel)
    owner?.streamReset(.protocolError)
    receiver?.responseReset(.protocolError, detail: details)
  }

  override func ended(_ code: HTTP2ErrorCode, isRemote: Bool) {
    guard let receiver else { return }
    self.receiver = nil
    let reason = owner?.resetReason(code, isRemote: isRemote) ?? .connectionTermination
    owner?.streamReset(reason)
    receiver.responseReset(reason, detail: reason == .protocolError ? owner?.failureDetail ?? "" : "")
  }

  override func outputDrained() { receiver?.requestUnblocked() }

  private func responseComplete() {
    isResponseComplete = true
    // A tunnel's other direction may go on.
    if tunnel == .none || outputEnds { receiver = nil }
  }

  override func outputComplete() {}

  // MARK: RequestSender

  func sendData(_ bytes: Bytes, endStream: Bool) {
    guard !isReset, !isClosed, identifier != 0 else { return }
    if write(bytes, endStream: endStream) { receiver?.requestBlocked() }
    // Both directions of a tunnel have ended: whoever had it may be someone else's by now.
    if endStream, isResponseComplete { receiver = nil }
  }

  func sendTrailers(_ trailers: HeaderMap) {
    guard !isReset, !isClosed, identifier != 0 else { return }
    write(trailers: trailers)
    if isResponseComplete { receiver = nil }
  }

  func pauseResponse(_ pause: Bool) { self.pause(pause) }

  func cancel() {
    receiver = nil
    guard !isClosed, !isReset, identifier != 0, !(receivedEnd && sentEnd) else { return }
    owner?.streamReset(.localReset)
    session.reset(self, .cancel)
  }

  var requestBytesSent: Int {
    guard let owner, owner.sentBytes <= firstByte else { return Int(clamping: wire.sent) }
    return 0
  }

  var responseBytesReceived: Int { Int(clamping: wire.received) }
  var waitingOutput: Int { output.count }

  func release() { owner = nil }
}
