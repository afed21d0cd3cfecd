import MeshHTTP
import MeshIO
import MeshPrimitives

/// One request to the admin interface and its answer: collects the body, asks the endpoint, sends what it says.
final class AdminStream: RequestReceiver {
  private unowned let server: AdminServer
  private unowned let connection: HTTP1ServerConnection
  private var request: AdminRequest?
  private var body: [UInt8] = []
  /// When the request's body must be complete; nil once it is.
  private(set) var bodyDeadline: MonotonicTime?
  private var report: (any AdminReport)?
  private var isBlocked = false
  private var isScheduled = false
  private var isOver = false
  /// What the access log is told; nil without one.
  private var record: AdminStreamRecord?

  init(_ server: AdminServer, _ connection: HTTP1ServerConnection) {
    self.server = server
    self.connection = connection
  }

  // MARK: The request

  func begin(_ headers: HeaderMap, _ start: RequestStart) {
    let request = AdminRequest(headers, method: start.method)
    if server.accessLogs.isEmpty {
      server.headerMaps.recycle(headers)
    } else {
      record = AdminStreamRecord(server, connection, headers)
    }
    self.request = request
    guard !start.endStream, start.tunnel == .none else { return answer(request) }
    bodyDeadline = server.loop.now + server.limits.bodyTime
    if start.expectsContinue {
      let headers = server.headerMaps.take()
      connection.sendInformational(status: 100, headers)
      server.headerMaps.recycle(headers)
    }
  }

  func receiveData(_ bytes: Bytes, endStream: Bool) {
    guard !isOver else { return }
    guard body.count + bytes.count <= server.limits.bodySize else { return refuse(status: 413) }
    record?.info.bytesReceived &+= UInt64(bytes.count)
    body.append(contentsOf: bytes)
    if endStream { bodyIsComplete() }
  }

  func receiveTrailers(_ trailers: HeaderMap) {
    server.headerMaps.recycle(trailers)
    bodyIsComplete()
  }

  private func bodyIsComplete() {
    bodyDeadline = nil
    guard !isOver, var request else { return }
    if request.hasForm {
      request.parameters += AdminRequest.parameters(in: String(decoding: body, as: UTF8.self))
    }
    body = []
    answer(request)
  }

  func bodyTimedOut() { refuse(status: 408) }

  func requestMalformed(status: Int, _ details: StaticString) { refuse(status: status) }

  func requestReset(_ reason: StreamResetReason) {
    isOver = true
    report = nil
    record?.info.flags.insert(.downstreamConnectionTermination)
    finish()
  }

  /// Answers without an endpoint; the connection ends with it.
  func refuse(status: Int) {
    guard !isOver else { return }
    bodyDeadline = nil
    connection.closeAfterResponse()
    let text =
      switch status {
      case 403: "Forbidden"
      case 408: "Request Timeout"
      case 413: "Payload Too Large"
      case 414: "URI Too Long"
      case 426: "Upgrade Required"
      case 431: "Request Header Fields Too Large"
      case 501: "Not Implemented"
      case 505: "HTTP Version Not Supported"
      default: "Bad Request"
      }
    send(.text("\(text)\n", status: status))
  }

  // MARK: The answer

  private func answer(_ request: AdminRequest) {
    if request.isCrossSite, !request.method.isGetOrHead {
      let origin = request.origin ?? "none"
      server.log.warning("refused: \(request.methodName) \(request.path) for \(request.host) from origin \(origin)")
      return send(.text("cross-site request refused\n", status: 403))
    }
    if !server.allowedPaths.isEmpty, !isAllowed(request.target) {
      return send(.text("request to path \(request.target) not allowed", status: 403))
    }
    if request.method == .post {
      Log.admin.info("POST \(request.path) from \(connection.info.remoteAddress)")
    }
    send(AdminEndpoint.answer(request, server.context))
  }

  private func isAllowed(_ target: String) -> Bool {
    Array(target.utf8).withUnsafeBufferPointer { target in server.allowedPaths.contains { $0.matches(target) } }
  }

  private func send(_ response: AdminResponse) {
    let isHead = request?.method == .head
    let headers = server.headerMaps.take()
    headers.set(.contentType, response.contentType.value)
    headers.add(Self.cacheControl, Bytes("no-cache, max-age=0"))
    headers.add(Self.contentTypeOptions, Bytes("nosniff"))
    if response.contentType == .html {
      // Nothing from elsewhere, no script, and no frame around buttons that stop a proxy.
      headers.add(
        Self.securityPolicy,
        Bytes("default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"))
    }
    if response.status == 405 { headers.add(Self.allow, Bytes(allowed)) }
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: HTTPDate.length) { date in
      guard let base = date.baseAddress else { return }
      HTTPDate.write(unixSeconds: Int64(clamping: server.loop.wallClock / 1_000_000_000), into: base)
      headers.set(.date, Bytes(date))
    }
    headers.set(.server, "envoy")
    record?.info.responseCode = response.status
    switch response.body {
    case .bytes(let bytes):
      headers.set(.contentLength, number: UInt64(bytes.count))
      isOver = true
      connection.sendHeaders(status: response.status, headers, endStream: isHead || bytes.isEmpty)
      if !isHead, !bytes.isEmpty {
        record?.info.bytesSent = UInt64(bytes.count)
        bytes.withUnsafeBufferPointer { connection.sendData($0, endStream: true) }
      }
    case .report(let report):
      isOver = isHead
      connection.sendHeaders(status: response.status, headers, endStream: isHead)
      if !isHead {
        self.report = report
        proceed()
      }
    }
    server.headerMaps.recycle(headers)
    if isOver { finish() }
    if let afterwards = response.afterwards { server.loop.defer(afterwards) }
  }

  /// Sends the report's next portion. The others wait for the loop's next turns, so that other clients are answered
  /// meanwhile, and for the client, so that what it has not read does not pile up.
  private func proceed() {
    guard !isOver, !isBlocked, var report else { return }
    // Out of the property while it is changed: the report must not be copied.
    self.report = nil
    server.portion.removeAll(keepingCapacity: true)
    let hasMore = report.write(into: &server.portion, softLimit: server.limits.portion)
    isOver = !hasMore
    if hasMore { self.report = report }
    record?.info.bytesSent &+= UInt64(server.portion.count)
    server.portion.withUnsafeBufferPointer { connection.sendData($0, endStream: !hasMore) }
    if isOver { finish() }
    if !isOver, !isBlocked { schedule() }
  }

  /// The request is over: its line in the access log.
  private func finish() {
    guard let record else { return }
    self.record = nil
    record.info.endedAt = server.loop.now
    for log in server.accessLogs { log.buffer.write(log.format, record) }
    server.headerMaps.recycle(record.requestHeaders)
  }

  private func schedule() {
    guard !isScheduled else { return }
    isScheduled = true
    server.loop.defer { [weak self] in
      self?.isScheduled = false
      self?.proceed()
    }
  }

  func responseBlocked() { isBlocked = true }

  func responseUnblocked() {
    isBlocked = false
    schedule()
  }

  private var allowed: StaticString {
    let endpoint = AdminEndpoint.all.first { $0.path == request?.path }
    guard let endpoint, endpoint.isMutating else { return "GET, HEAD, POST" }
    return endpoint.showsOnGet ? "GET, HEAD, POST" : "POST"
  }

  private static let cacheControl = HeaderName("cache-control")
  private static let contentTypeOptions = HeaderName("x-content-type-options")
  private static let securityPolicy = HeaderName("content-security-policy")
  private static let allow = HeaderName("allow")
}
