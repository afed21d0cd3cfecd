/// An HTTP/1.1 response as a test sees it: nothing folded, nothing joined.
public struct RawResponse: Sendable, CustomStringConvertible {
  public var statusLine: String
  public var status: Int
  /// Names as received.
  public var headers: [(name: String, value: String)]
  public var body: [UInt8]
  public var trailers: [(name: String, value: String)] = []

  /// The values of a field, in order; the name's case does not matter.
  public func values(_ name: String) -> [String] {
    headers.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
  }

  /// The only value of a field; nil when there is none or more than one.
  public func value(_ name: String) -> String? { values(name).count == 1 ? values(name)[0] : nil }

  public var text: String { String(decoding: body, as: UTF8.self) }

  public var description: String {
    "\(statusLine)\n" + headers.map { "\($0.name): \($0.value)\n" }.joined() + "\n" + printable(body)
  }
}

extension RawConnection {
  /// Receives one response, by its content-length, its chunks or the end of the connection.
  /// - Parameter toHead: the request was HEAD, so no body follows.
  public func receiveResponse(toHead: Bool = false, within deadline: Deadline = Deadline()) throws -> RawResponse {
    let head = try receive(through: "\r\n\r\n", within: deadline)
    var lines = head.split(separator: "\r\n", omittingEmptySubsequences: true).map(String.init)
    guard !lines.isEmpty else { throw TestFailure("no status line") }
    let statusLine = lines.removeFirst()
    let words = statusLine.split(separator: " ", maxSplits: 2)
    guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
      throw TestFailure("no status line: \(statusLine)")
    }
    var response = RawResponse(statusLine: statusLine, status: status, headers: lines.map(Self.field), body: [])
    if toHead || status < 200 || status == 204 || status == 304 { return response }
    if response.values("transfer-encoding").contains("chunked") {
      (response.body, response.trailers) = try receiveChunks(within: deadline)
    } else if let length = response.value("content-length").flatMap({ Int($0) }) {
      response.body = try receive(count: length, within: deadline)
    } else {
      response.body = try receiveToEnd(within: deadline)
    }
    return response
  }

  /// Receives a chunked body with its trailers.
  func receiveChunks(within deadline: Deadline) throws -> (body: [UInt8], trailers: [(name: String, value: String)]) {
    var body: [UInt8] = []
    while true {
      let line = try receive(through: "\r\n", within: deadline)
      guard let size = Int(line.prefix { $0.isHexDigit }, radix: 16) else {
        throw TestFailure("no chunk size: \(line)")
      }
      if size == 0 { break }
      body += try receive(count: size, within: deadline)
      guard try receive(count: 2, within: deadline) == [13, 10] else { throw TestFailure("no CRLF after a chunk") }
    }
    var trailers: [(name: String, value: String)] = []
    while true {
      let line = try receive(through: "\r\n", within: deadline)
      if line == "\r\n" { return (body, trailers) }
      trailers.append(Self.field(String(line.dropLast(1))))
    }
  }

  static func field(_ line: String) -> (name: String, value: String) {
    guard let colon = line.firstIndex(of: ":") else { return (line, "") }
    return (String(line[..<colon]), line[line.index(after: colon)...].drop { $0 == " " }.description)
  }
}
