import MeshHTTP
import MeshPrimitives

/// One direction through a stream's filters.
protocol FilterDirection {
  /// Filters in the order in which this direction meets them: step 0 is met first.
  static func filter(_ stream: Stream, step: Int) -> any StreamFilter
  static func headers(_ filter: any StreamFilter, _ stream: Stream, endStream: Bool) -> FilterStatus
  static func data(_ filter: any StreamFilter, _ bytes: Bytes, endStream: Bool) -> FilterDataStatus
  static func trailers(_ filter: any StreamFilter, _ trailers: HeaderMap) -> FilterStatus
  /// How many filters this direction meets.
  static func steps(_ stream: Stream) -> Int
  /// The step of the filter at a place of the configured chain.
  static func step(ofFilterAt index: Int, _ stream: Stream) -> Int
  /// Past the last filter.
  static func deliverHeaders(_ stream: Stream, endStream: Bool)
  static func deliverData(_ stream: Stream, _ bytes: Bytes, endStream: Bool)
  static func deliverTrailers(_ stream: Stream, _ trailers: HeaderMap)
  /// More waits than the limit allows and a filter insists on having it all.
  static func overflow(_ stream: Stream)
  /// Slows the sender down, or lets it go on.
  static func pause(_ stream: Stream, _ pause: Bool)
  /// Trailers that go nowhere. The response's are still of use to the access log.
  static func forget(_ stream: Stream, _ trailers: HeaderMap)
}

/// Walks one direction's headers, body and trailers through the filters, and keeps what a filter stops. Belongs to a
/// stream and is reused with it.
///
/// What each filter holds is three bits; the bytes held are in one buffer, because a filter that holds body bytes keeps
/// them from every filter behind it.
final class FilterPath<Direction: FilterDirection> {
  private struct Hold: OptionSet {
    let rawValue: UInt8
    /// The headers wait before the next filter.
    static var headers: Hold { Hold(rawValue: 1) }
    /// Body bytes (or the end of the body) wait before the next filter.
    static var data: Hold { Hold(rawValue: 2) }
    /// Everything waits, unseen by the filter itself.
    static var everything: Hold { Hold(rawValue: 4) }
    /// The trailers wait before the next filter.
    static var trailers: Hold { Hold(rawValue: 8) }
  }

  private var holds: [Hold] = []
  private var isHolding = false
  private var buffer = ByteQueue()
  private var trailers: HeaderMap?
  private var isPaused = false
  /// The sender has said its last byte (trailers included).
  private(set) var isEnded = false
  private var headersSeen = false
  /// Bytes that may wait (`per_connection_buffer_limit_bytes`).
  var limit = 1024 * 1024
  /// Bytes that wait.
  var buffered: Int { buffer.count }

  /// Ready for the next stream.
  func begin(limit: Int) {
    self.limit = limit
    isEnded = false
    headersSeen = false
    if isHolding || !holds.isEmpty {
      holds.removeAll(keepingCapacity: true)
      isHolding = false
    }
    isPaused = false
  }

  /// Lets go of everything.
  func end(_ stream: Stream) {
    if !buffer.isEmpty { buffer.clear(stream.worker.loop.bufferPool) }
    if trailers != nil { trailers = nil }
  }

  @inline(__always)
  func headers(_ stream: Stream, endStream: Bool) {
    isEnded = endStream
    headersSeen = true
    runHeaders(stream, from: 0)
  }

  @inline(__always)
  func data(_ stream: Stream, _ bytes: Bytes, endStream: Bool) {
    isEnded = endStream
    runData(stream, from: 0, bytes, endStream: endStream)
  }

  func trailers(_ stream: Stream, _ map: HeaderMap) {
    isEnded = true
    trailers = map
    runTrailers(stream, from: 0)
  }

  private func hold(_ stream: Stream, _ step: Int, _ what: Hold) {
    if holds.isEmpty { holds = Array(repeating: [], count: Direction.steps(stream)) }
    holds[step].insert(what)
    isHolding = true
  }

  @inline(__always)
  private func held(_ step: Int) -> Hold { isHolding ? holds[step] : [] }

  /// Whether the headers, when they move on now, are all there is.
  private var nothingFollows: Bool { isEnded && buffer.isEmpty && trailers == nil }

  /// - Parameter more: the body of a filter follows, whatever the sender has said.
  private func runHeaders(_ stream: Stream, from first: Int, more: Bool = false) {
    var step = first
    let count = Direction.steps(stream)
    while step < count {
      let status = Direction.headers(
        Direction.filter(stream, step: step), stream, endStream: nothingFollows && !more)
      if stream.isOver { return }
      switch status {
      case .proceed: step += 1
      case .stop: return hold(stream, step, .headers)
      case .stopAll: return hold(stream, step, [.headers, .everything])
      }
    }
    Direction.deliverHeaders(stream, endStream: nothingFollows && !more)
  }

  private func runData(_ stream: Stream, from first: Int, _ bytes: Bytes, endStream: Bool) {
    var step = first
    let count = Direction.steps(stream)
    while step < count {
      let holding = held(step)
      if holding.contains(.everything) { return keep(stream, bytes, slowing: true) }
      let status = Direction.data(Direction.filter(stream, step: step), bytes, endStream: endStream)
      if stream.isOver { return }
      switch status {
      case .proceed:
        guard !holding.isEmpty else {
          step += 1
          continue
        }
        buffer.append(bytes, stream.worker.loop.bufferPool)
        return release(stream, step)
      case .stopAndBuffer:
        hold(stream, step, .data)
        return keep(stream, bytes, slowing: false)
      case .stopAndDrop:
        return hold(stream, step, .data)
      }
    }
    Direction.deliverData(stream, bytes, endStream: endStream)
  }

  private func runTrailers(_ stream: Stream, from first: Int) {
    guard let map = trailers else { return }
    var step = first
    let count = Direction.steps(stream)
    while step < count {
      let holding = held(step)
      if holding.contains(.everything) { return }
      let status = Direction.trailers(Direction.filter(stream, step: step), map)
      // The filter may have ended the body instead.
      if stream.isOver || trailers == nil { return }
      switch status {
      case .proceed:
        guard !holding.isEmpty else {
          step += 1
          continue
        }
        return release(stream, step)
      case .stop, .stopAll:
        return hold(stream, step, .trailers)
      }
    }
    trailers = nil
    Direction.deliverTrailers(stream, map)
  }

  private func keep(_ stream: Stream, _ bytes: Bytes, slowing: Bool) {
    buffer.append(bytes, stream.worker.loop.bufferPool)
    guard buffer.count > limit else { return }
    if slowing {
      guard !isPaused else { return }
      isPaused = true
      Direction.pause(stream, true)
    } else {
      Direction.overflow(stream)
    }
  }

  /// A filter hands on bytes of its own.
  func pass(_ stream: Stream, from index: Int, _ bytes: Bytes, endStream: Bool) {
    let step = Direction.step(ofFilterAt: index, stream)
    if held(step).contains(.headers) {
      holds[step].remove(.headers)
      runHeaders(stream, from: step + 1, more: true)
      if stream.isOver { return }
    }
    if endStream, let map = trailers {
      trailers = nil
      Direction.forget(stream, map)
    }
    runData(stream, from: step + 1, bytes, endStream: endStream)
  }

  /// A filter lets go of what it holds.
  func resume(_ stream: Stream, at index: Int) {
    let step = Direction.step(ofFilterAt: index, stream)
    guard isHolding, step < holds.count, !holds[step].isEmpty else { return }
    release(stream, step)
  }

  private func release(_ stream: Stream, _ step: Int) {
    let holding = holds[step]
    holds[step] = []
    isHolding = holds.contains { !$0.isEmpty }
    if holding.contains(.headers) {
      let wasAll = nothingFollows
      runHeaders(stream, from: step + 1)
      if stream.isOver || wasAll { return }
    }
    // Bytes that the filter itself has not seen come to it first.
    let next = holding.contains(.everything) ? step : step + 1
    let endsWithData = isEnded && trailers == nil
    let endIsPending = endsWithData && holding.contains(.data)
    if !buffer.isEmpty || endIsPending {
      var pending = ByteQueue()
      swap(&pending, &buffer)
      runData(stream, from: next, pending.bytes, endStream: endsWithData)
      pending.clear(stream.worker.loop.bufferPool)
      if stream.isOver { return }
    }
    if isPaused, buffer.count <= limit / 2 {
      isPaused = false
      Direction.pause(stream, false)
    }
    if trailers != nil {
      runTrailers(stream, from: next)
    }
  }
}

enum RequestDirection: FilterDirection {
  @inline(__always)
  static func filter(_ stream: Stream, step: Int) -> any StreamFilter { stream.filters[step] }
  @inline(__always)
  static func headers(_ filter: any StreamFilter, _ stream: Stream, endStream: Bool) -> FilterStatus {
    filter.requestHeaders(stream.requestHeaders, endStream: endStream)
  }
  @inline(__always)
  static func data(_ filter: any StreamFilter, _ bytes: Bytes, endStream: Bool) -> FilterDataStatus {
    filter.requestData(bytes, endStream: endStream)
  }
  static func trailers(_ filter: any StreamFilter, _ trailers: HeaderMap) -> FilterStatus {
    filter.requestTrailers(trailers)
  }
  @inline(__always)
  static func steps(_ stream: Stream) -> Int { stream.filters.count }
  static func step(ofFilterAt index: Int, _ stream: Stream) -> Int { index }
  // Behind the last filter lies the router.
  @inline(__always)
  static func deliverHeaders(_ stream: Stream, endStream: Bool) {
    stream.router.requestHeaders(stream.requestHeaders, endStream: endStream)
  }
  @inline(__always)
  static func deliverData(_ stream: Stream, _ bytes: Bytes, endStream: Bool) {
    stream.router.requestData(bytes, endStream: endStream)
  }
  static func deliverTrailers(_ stream: Stream, _ trailers: HeaderMap) { stream.router.requestTrailers(trailers) }
  static func overflow(_ stream: Stream) { stream.requestTooLarge() }
  static func pause(_ stream: Stream, _ pause: Bool) { stream.pauseRequest(pause) }
  static func forget(_ stream: Stream, _ trailers: HeaderMap) {}
}

enum ResponseDirection: FilterDirection {
  @inline(__always)
  static func filter(_ stream: Stream, step: Int) -> any StreamFilter {
    stream.filters[stream.filters.count &- 1 &- step]
  }
  @inline(__always)
  static func headers(_ filter: any StreamFilter, _ stream: Stream, endStream: Bool) -> FilterStatus {
    guard let headers = stream.responseHeaders else { return .proceed }
    return filter.responseHeaders(status: stream.info.responseCode, headers, endStream: endStream)
  }
  @inline(__always)
  static func data(_ filter: any StreamFilter, _ bytes: Bytes, endStream: Bool) -> FilterDataStatus {
    filter.responseData(bytes, endStream: endStream)
  }
  static func trailers(_ filter: any StreamFilter, _ trailers: HeaderMap) -> FilterStatus {
    filter.responseTrailers(trailers)
  }
  @inline(__always)
  static func steps(_ stream: Stream) -> Int { stream.filters.count }
  static func step(ofFilterAt index: Int, _ stream: Stream) -> Int { stream.filters.count - 1 - index }
  @inline(__always)
  static func deliverHeaders(_ stream: Stream, endStream: Bool) { stream.encodeHeaders(endStream: endStream) }
  @inline(__always)
  static func deliverData(_ stream: Stream, _ bytes: Bytes, endStream: Bool) {
    stream.encodeData(bytes, endStream: endStream)
  }
  static func deliverTrailers(_ stream: Stream, _ trailers: HeaderMap) { stream.encodeTrailers(trailers) }
  static func overflow(_ stream: Stream) { stream.responseTooLarge() }
  static func pause(_ stream: Stream, _ pause: Bool) { stream.pauseResponse(pause) }
  static func forget(_ stream: Stream, _ trailers: HeaderMap) { stream.keepForLog(trailers) }
}
