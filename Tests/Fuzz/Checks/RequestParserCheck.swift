import MeshHTTP
import MeshPrimitives

private enum Outcome: Equatable {
  case complete(HTTP1RequestHead, [Field])
  case incomplete
  case invalid(HTTP1Error)
}

private func parse(
  _ bytes: some Collection<UInt8>, _ parser: inout HTTP1RequestParser, _ map: HeaderMap
) -> Outcome {
  var head = HTTP1RequestHead()
  switch withExactBytes(bytes, { parser.parse($0, into: map, head: &head) }) {
  case .complete: return .complete(head, map.fields)
  case .incomplete: return .incomplete
  case .invalid(let error): return .invalid(error)
  }
}

/// A request head: the same verdict however it is cut, nothing in the fields that could mislead who reads them next, and
/// what is sent on reads the same.
@Sendable func checkRequestParser(_ bytes: [UInt8]) -> Violation? {
  let map = HeaderMap()
  var parser = HTTP1RequestParser(limits: tightLimits)
  let whole = parse(bytes, &parser, map)
  if case .complete(let head, let fields) = whole {
    if let violation = map.violation(mayUpgrade: head.tunnel == .upgrade)
      ?? checkAccepted(head, fields, map, bytes.count)
    {
      return violation
    }
    if parse(bytes[..<head.headLength], &parser, map) != whole { return "what follows the head matters" }
    if case .complete = parse(bytes[..<(head.headLength - 1)], &parser, map) { return "complete without its end" }
    parser.reset()
  }
  // Accepting HTTP/1.0 changes nothing for anybody else.
  var lenient = HTTP1RequestParser(limits: tightLimits, acceptsHTTP10: true)
  let lenientVerdict = parse(bytes, &lenient, map)
  if whole != .invalid(.http10NotAccepted) {
    if lenientVerdict != whole { return "accepting HTTP/1.0: \(lenientVerdict), else: \(whole)" }
  } else if case .complete(let head, let fields) = lenientVerdict {
    if head.minorVersion != 0 || head.framing == .chunked || head.tunnel == .upgrade || head.expectsContinue {
      return "HTTP/1.0 with \(head)"
    }
    if fields.filter({ $0.id == .host }).count > 1 { return "several hosts" }
    if let violation = map.violation(mayUpgrade: head.tunnel == .upgrade) { return violation }
  }
  // One more byte at a time, and in a few large pieces.
  var verdict = Outcome.incomplete
  for cut in cuts(bytes.count) + [bytes.count] where verdict == .incomplete {
    verdict = parse(bytes[..<cut], &parser, map)
    if verdict != .incomplete, verdict != whole { return "cut at \(cut): \(verdict), whole: \(whole)" }
  }
  if case .complete = whole, verdict != whole { return "in pieces: \(verdict), whole: \(whole)" }
  if case .invalid = whole, verdict == .incomplete {
    if parse(bytes + Array("\r\n\r\n".utf8), &parser, map) != whole { return "never refused: \(whole)" }
  }
  return nil
}

private func checkAccepted(
  _ head: HTTP1RequestHead, _ fields: [Field], _ map: HeaderMap, _ count: Int
) -> Violation? {
  if head.headLength <= 0 || head.headLength > count { return "headLength is \(head.headLength)" }
  if fields.filter({ $0.id == .host }).count != 1 { return "not one host" }
  if fields.filter({ $0.id == .method }).count != 1 { return "not one method" }
  if map.has(.expect) { return "expect was not removed" }
  let length = map.value(.contentLength).map { String(decoding: $0, as: UTF8.self) }
  switch head.framing {
  case .none, .chunked: if length != nil { return "content-length with \(head.framing)" }
  case .length(let number): if length != "\(number)" { return "content-length is \(length ?? "-")" }
  case .untilClose: return "a request until close"
  }
  if (head.tunnel == .connect) != (head.method == .connect) { return "\(head.method) with \(head.tunnel)" }
  if (head.tunnel == .upgrade) != map.has(.upgrade) { return "\(head.tunnel) and upgrade" }
  if head.method == .connect { return head.targetForm == .authority ? nil : "CONNECT in \(head.targetForm)" }
  guard let path = map.value(.path), path.count > 0 else { return "no path" }
  if path[0] != 0x2f && !(path.equals("*") && head.method == .options) { return "the path is \(path.text)" }

  // Sent on, it is the same request.
  let sent = encoded {
    if head.tunnel == .none {
      HTTP1Encoder.requestHead(map, framing: head.framing, into: &$0, pool: $1)
    } else {
      HTTP1Encoder.tunnelRequestHead(map, head.tunnel, into: &$0, pool: $1)
    }
  }
  let next = HeaderMap()
  var limits = HTTP1Limits()
  limits.maxFields = 200
  var parser = HTTP1RequestParser(limits: limits)
  guard case .complete(let nextHead, let nextFields) = parse(sent, &parser, next) else {
    return "what is sent on is refused: \(String(decoding: sent, as: UTF8.self))"
  }
  if nextHead.headLength != sent.count { return "what is sent on is two requests" }
  let framing = head.framing == .none && nextHead.framing == .length(0) ? .length(0) : head.framing
  if nextHead.framing != framing { return "framing \(nextHead.framing) from \(head.framing)" }
  if nextHead.tunnel != head.tunnel { return "\(nextHead.tunnel) from \(head.tunnel)" }
  if nextHead.method != head.method { return "method \(nextHead.method) from \(head.method)" }
  let kept = fields.filter { $0.id != .contentLength && $0.id != .scheme && $0.id != .te }
  if nextFields.filter({ $0.id != .contentLength }) != kept { return "other fields are sent on" }
  return nil
}
