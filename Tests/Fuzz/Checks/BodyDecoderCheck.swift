import MeshHTTP
import MeshPrimitives

private struct Decoded: Equatable {
  enum End: Equatable {
    case needMore, end, trailers
    case invalid(HTTP1Error)
  }

  var data: [UInt8] = []
  var end = End.needMore
  var trailers: [Field] = []
  /// Bytes consumed, if the body is over.
  var consumed = 0
  var violation: Violation?
}

private func decode(
  _ bytes: [UInt8], cuts: [Int], _ framing: BodyFraming, _ limits: HTTP1Limits
) -> Decoded {
  var decoder = HTTP1BodyDecoder(framing: framing, limits: limits)
  let map = HeaderMap()
  var result = Decoded()
  var start = 0
  for cut in cuts + [bytes.count] {
    let isOver = withExactBytes(bytes[start..<cut]) { piece in
      var input = piece
      for _ in 0...(piece.count * 2 + 8) {
        let before = input.count
        let event = decoder.next(&input, trailers: { map })
        if input.count > before { result.violation = "bytes given back" }
        switch event {
        case .data(let data):
          if data.count == 0 { result.violation = "no data" }
          result.data += Array(data)
          continue
        case .needMore:
          if input.count > 0 { result.violation = "needs more and leaves some" }
          if decoder.isDone { result.violation = "done, and needs more" }
          return false
        case .end: result.end = .end
        case .trailers:
          result.end = .trailers
          result.trailers = map.fields
          result.violation = result.violation ?? map.violation()
        case .invalid(let error):
          result.end = .invalid(error)
          return true
        }
        if !decoder.isDone { result.violation = "over, but not done" }
        result.consumed = cut - input.count
        return true
      }
      result.violation = "no end of events"
      return true
    }
    if isOver { break }
    start = cut
  }
  return result
}

/// A body; the first byte chooses its framing.
@Sendable func checkBodyDecoder(_ input: [UInt8]) -> Violation? {
  guard let choice = input.first else { return nil }
  let bytes = Array(input.dropFirst())
  let framing: BodyFraming =
    switch choice {
    case 0x30...0x39: .length(UInt64(choice - 0x30) * 7)
    case 0x55: .untilClose
    case 0x4e: .none
    default: .chunked
    }
  let limits = tightLimits
  let whole = decode(bytes, cuts: [], framing, limits)
  if let violation = whole.violation { return violation }
  if whole.data.count > bytes.count { return "more data than bytes" }
  switch framing {
  case .none: if whole.end != .end || whole.consumed != 0 { return "nothing is \(whole)" }
  case .length(let length):
    if whole.data != Array(bytes.prefix(Int(length))) { return "other bytes" }
    if (whole.end == .end) != (bytes.count >= Int(length)) { return "\(length) of \(bytes.count) ends \(whole.end)" }
  case .untilClose: if whole.data != bytes || whole.end != .needMore { return "until close: \(whole)" }
  case .chunked: break
  }
  for cuts in [cuts(bytes.count), [bytes.count / 2], [bytes.count / 3, bytes.count / 3 * 2]] {
    let pieces = decode(bytes, cuts: cuts, framing, limits)
    if pieces != whole { return "in pieces: \(pieces), whole: \(whole)" }
  }
  guard framing == .chunked, whole.end == .end || whole.end == .trailers else { return nil }
  return checkRoundTrip(whole, Array(bytes.prefix(whole.consumed)))
}

/// What was decoded, encoded and decoded again, is the same.
private func checkRoundTrip(_ whole: Decoded, _ bytes: [UInt8]) -> Violation? {
  let trailers = HeaderMap()
  for field in whole.trailers {
    field.name.withUnsafeBufferPointer { name in
      field.value.withUnsafeBufferPointer { trailers.add(lowercased: name, $0) }
    }
  }
  let sent = encoded { queue, pool in
    for start in stride(from: 0, to: whole.data.count, by: 20) {
      let chunk = whole.data[start..<min(start + 20, whole.data.count)]
      HTTP1Encoder.chunkHeader(length: chunk.count, into: &queue, pool: pool)
      chunk.withUnsafeBufferPointer { queue.append($0, pool) }
      HTTP1Encoder.chunkEnd(into: &queue, pool: pool)
    }
    HTTP1Encoder.lastChunk(trailers: trailers, into: &queue, pool: pool)
  }
  var again = decode(sent, cuts: [], .chunked, HTTP1Limits())
  if again.consumed != sent.count { return "what is sent on is two bodies" }
  again.consumed = whole.consumed
  if again.end == .end, whole.end == .trailers, whole.trailers.isEmpty { again.end = .trailers }
  return again == whole ? nil : "sent on: \(again), received: \(whole)"
}
