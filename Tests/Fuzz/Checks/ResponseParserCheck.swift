import MeshHTTP
import MeshPrimitives

private enum Outcome: Equatable {
  case complete(HTTP1ResponseHead, [Field])
  case incomplete
  case invalid(HTTP1Error)
}

private func parse(
  _ bytes: some Collection<UInt8>, _ method: HTTPMethod, _ parser: inout HTTP1ResponseParser, _ map: HeaderMap
) -> Outcome {
  var head = HTTP1ResponseHead()
  switch withExactBytes(bytes, { parser.parse($0, requestMethod: method, into: map, head: &head) }) {
  case .complete: return .complete(head, map.fields)
  case .incomplete: return .incomplete
  case .invalid(let error): return .invalid(error)
  }
}

/// A response head; the first byte chooses what it answers.
@Sendable func checkResponseParser(_ input: [UInt8]) -> Violation? {
  guard let choice = input.first else { return nil }
  let method: HTTPMethod = choice == 0x48 ? .head : choice == 0x43 ? .connect : .get
  let bytes = Array(input.dropFirst())
  let map = HeaderMap()
  var parser = HTTP1ResponseParser(limits: tightLimits)
  let whole = parse(bytes, method, &parser, map)
  if case .complete(let head, let fields) = whole {
    if let violation = map.violation(mayUpgrade: head.upgrade) ?? checkAccepted(head, fields, map, method, bytes.count)
    {
      return violation
    }
    if parse(bytes[..<head.headLength], method, &parser, map) != whole { return "what follows the head matters" }
    parser.reset()
  }
  var verdict = Outcome.incomplete
  for cut in cuts(bytes.count) + [bytes.count] where verdict == .incomplete {
    verdict = parse(bytes[..<cut], method, &parser, map)
    if verdict != .incomplete, verdict != whole { return "cut at \(cut): \(verdict), whole: \(whole)" }
  }
  if case .complete = whole, verdict != whole { return "in pieces: \(verdict), whole: \(whole)" }
  if case .invalid = whole, verdict == .incomplete {
    if parse(bytes + Array("\r\n\r\n".utf8), method, &parser, map) != whole { return "never refused: \(whole)" }
  }
  return nil
}

private func checkAccepted(
  _ head: HTTP1ResponseHead, _ fields: [Field], _ map: HeaderMap, _ method: HTTPMethod, _ count: Int
) -> Violation? {
  if head.headLength <= 0 || head.headLength > count { return "headLength is \(head.headLength)" }
  if head.status < 100 || head.status > 599 { return "status is \(head.status)" }
  let isBodiless = method == .head || head.status < 200 || head.status == 204 || head.status == 304
  if isBodiless, head.framing != .none { return "a body for \(method) and \(head.status)" }
  if !isBodiless, method != .connect, head.framing == .none { return "no body for \(head.status)" }
  if head.framing == .untilClose, head.keepAlive { return "kept alive until close" }
  let length = map.value(.contentLength).map { String(decoding: $0, as: UTF8.self) }
  switch head.framing {
  case .none: if let length, UInt64(length).map(String.init) != length { return "content-length is \(length)" }
  case .length(let number): if length != "\(number)" { return "content-length is \(length ?? "-")" }
  case .chunked, .untilClose: if length != nil { return "content-length with \(head.framing)" }
  }

  // Sent on, it is the same response.
  let close = head.framing == .untilClose
  let sent = encoded {
    if head.upgrade {
      HTTP1Encoder.tunnelResponseHead(status: head.status, map, .upgrade, into: &$0, pool: $1)
    } else {
      HTTP1Encoder.responseHead(status: head.status, map, framing: head.framing, close: close, into: &$0, pool: $1)
    }
  }
  let next = HeaderMap()
  var limits = HTTP1Limits()
  limits.maxFields = 200
  var parser = HTTP1ResponseParser(limits: limits)
  guard case .complete(let nextHead, let nextFields) = parse(sent, method, &parser, next) else {
    return "what is sent on is refused: \(String(decoding: sent, as: UTF8.self))"
  }
  if nextHead.headLength != sent.count { return "what is sent on is two responses" }
  if nextHead.framing != head.framing { return "framing \(nextHead.framing) from \(head.framing)" }
  if nextHead.upgrade != head.upgrade { return "an upgrade is lost, or made" }
  if nextHead.status != head.status { return "status \(nextHead.status) from \(head.status)" }
  if nextFields.filter({ $0.id != .contentLength }) != fields.filter({ $0.id != .contentLength }) {
    return "other fields are sent on"
  }
  return nil
}
