/// An HTTP/1.1 request as a test's server sees it.
public struct RawRequest: Sendable {
  public var method: String
  public var target: String
  /// Names as received.
  public var headers: [(name: String, value: String)]
  public var body: [UInt8]

  /// The only value of a field; nil when there is none or more than one.
  public func value(_ name: String) -> String? {
    let values = headers.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
    return values.count == 1 ? values[0] : nil
  }
}

extension RawConnection {
  /// Receives one request, by its content-length or its chunks.
  /// - Returns: nil when the peer has ended between requests.
  public func receiveRequest(within deadline: Deadline = Deadline()) throws -> RawRequest? {
    let head: String
    do { head = try receive(through: "\r\n\r\n", within: deadline) } catch {
      if peerHasEnded, received.isEmpty { return nil }
      throw error
    }
    var lines = head.split(separator: "\r\n", omittingEmptySubsequences: true).map(String.init)
    let words = lines.isEmpty ? [] : lines.removeFirst().split(separator: " ").map(String.init)
    guard words.count == 3 else { throw TestFailure("no request line: \(head)") }
    var request = RawRequest(method: words[0], target: words[1], headers: lines.map(Self.field), body: [])
    if request.value("transfer-encoding") == "chunked" {
      request.body = try receiveChunks(within: deadline).body
    } else if let length = request.value("content-length").flatMap({ Int($0) }) {
      request.body = try receive(count: length, within: deadline)
    }
    return request
  }

  /// Sends a response with a content-length.
  public func sendResponse(
    _ status: Int = 200, headers: [(String, String)] = [], body: [UInt8] = [], within deadline: Deadline = Deadline()
  ) throws {
    let fields = headers.map { "\($0.0): \($0.1)\r\n" }.joined()
    try send(
      Array("HTTP/1.1 \(status) Test\r\n\(fields)content-length: \(body.count)\r\n\r\n".utf8) + body,
      within: deadline)
  }
}
