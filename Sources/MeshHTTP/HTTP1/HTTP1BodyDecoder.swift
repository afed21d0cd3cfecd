import MeshPrimitives

/// Takes the framing off a body and yields its bytes where they lie.
///
/// Call `next` until it says `.needMore` or the body is over; it advances `input` past what it consumed and never touches
/// what follows the body. It holds no bytes: a trailer line of which the end has not arrived waits in the trailers' map.
public struct HTTP1BodyDecoder {
  public enum Event {
    /// Bytes of the body, a part of the input; never empty.
    case data(Bytes)
    /// The input is used up and the body is not over.
    case needMore
    /// The body is over, without trailers.
    case end
    /// The body is over, and the trailers are in the map.
    case trailers
    /// Refused. Every later call says so again.
    case invalid(HTTP1Error)
  }

  /// What the end of the connection means for a body.
  public enum Completion: Equatable, Sendable {
    /// The body is whole.
    case complete
    /// Bytes are missing: nothing may be made of the message.
    case truncated
  }

  private enum State: UInt8 {
    case done, failed
    case length, untilClose
    /// Before the first digit of a chunk's size, behind a digit, behind the CR of its line.
    case size, sizeDigits, sizeLF
    case chunkExtension
    case data, dataCR, dataLF
    /// At the start of a trailer line; behind the CR of the empty line; within a line.
    case trailerStart, trailerEnd, trailerLine
  }

  /// Where in `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )` the last byte was.
  private enum ExtensionState: UInt8 {
    case beforeSemicolon, beforeName, name, afterName, beforeValue, token, quoted, escaped, afterValue
  }

  private var remaining: UInt64 = 0
  private var extensionBytes: UInt32 = 0
  private var messageExtensionBytes: UInt32 = 0
  private var trailerBytes: UInt32 = 0
  private var trailerFields: UInt32 = 0
  private let maxChunkExtensionBytes: UInt32
  private let maxMessageExtensionBytes: UInt32
  private let maxTrailerBytes: UInt32
  private let maxTrailerFields: UInt32
  private var state: State
  private var extensionState = ExtensionState.beforeSemicolon
  private var digits: UInt8 = 0
  private var error = HTTP1Error.invalidChunkSize

  /// A decoder for one body.
  @inline(__always)
  public init(framing: BodyFraming, limits: HTTP1Limits = HTTP1Limits()) {
    maxChunkExtensionBytes = UInt32(clamping: limits.maxChunkExtensionBytes)
    maxMessageExtensionBytes = UInt32(clamping: limits.maxMessageExtensionBytes)
    maxTrailerBytes = UInt32(clamping: limits.maxTrailerBytes)
    maxTrailerFields = UInt32(clamping: limits.maxTrailerFields)
    switch framing {
    case .none: state = .done
    case .length(let length):
      remaining = length
      state = length > 0 ? .length : .done
    case .chunked: state = .size
    case .untilClose: state = .untilClose
    }
  }

  /// Whether the body is over. Of a body with a length this is known with its last byte, before `.end` is asked for.
  @inline(__always)
  public var isDone: Bool { state == .done }

  /// What the peer's closing its side means.
  public mutating func connectionClosed() -> Completion {
    switch state {
    case .done: return .complete
    case .untilClose:
      state = .done
      return .complete
    default: return .truncated
    }
  }

  /// Consumes a prefix of `input` and says what it was. `trailers` gives the map for trailers, the same one each time; it is
  /// called only when there are some. After the body each call says `.end`.
  @inline(__always)
  public mutating func next(_ input: inout Bytes, trailers: () -> HeaderMap) -> Event {
    switch state {
    case .length, .data: return takeData(&input)
    case .done: return .end
    default: return nextFramed(&input, trailers)
    }
  }

  @inline(__always)
  private mutating func takeData(_ input: inout Bytes) -> Event {
    guard input.count > 0 else { return .needMore }
    let count = UInt64(input.count) < remaining ? input.count : Int(truncatingIfNeeded: remaining)
    let data = input.slice(0, count)
    input = input.slice(count, input.count &- count)
    remaining &-= UInt64(count)
    if remaining == 0 { state = state == .length ? .done : .dataCR }
    return .data(data)
  }

  @inline(never)
  private mutating func nextFramed(_ input: inout Bytes, _ trailers: () -> HeaderMap) -> Event {
    guard let p = input.baseAddress, input.count > 0 else { return state == .failed ? .invalid(error) : .needMore }
    let n = input.count
    var i = 0
    defer { input = input.slice(i, n &- i) }
    while i < n {
      let byte = p[i]
      switch state {
      case .size, .sizeDigits:
        if let failure = readSize(byte) { return fail(failure) }
      case .chunkExtension:
        if let failure = readExtension(byte) { return fail(failure) }
      case .sizeLF:
        if byte != 0x0a { return fail(.invalidChunkEnd) }
        state = remaining > 0 ? .data : .trailerStart
      case .data:
        var rest = input.slice(i, n &- i)
        let event = takeData(&rest)
        i = n &- rest.count
        return event
      case .dataCR:
        if byte != 0x0d { return fail(.invalidChunkEnd) }
        state = .dataLF
      case .dataLF:
        if byte != 0x0a { return fail(.invalidChunkEnd) }
        state = .size
      case .trailerStart where byte == 0x0d:
        state = .trailerEnd
      case .trailerEnd:
        if byte != 0x0a { return fail(.bareCR) }
        i &+= 1
        state = .done
        return trailerFields > 0 ? .trailers : .end
      case .trailerStart, .trailerLine:
        do throws(HTTP1Error) {
          i &+= try readTrailer(p + i, n &- i, trailers())
        } catch {
          return fail(error)
        }
        continue
      case .untilClose:
        i = n
        return .data(input)
      case .done: return .end
      case .failed: return .invalid(error)
      case .length: return .needMore
      }
      i &+= 1
    }
    return .needMore
  }

  private mutating func fail(_ error: HTTP1Error) -> Event {
    state = .failed
    self.error = error
    return .invalid(error)
  }

  // MARK: Chunk size

  @inline(__always)
  private mutating func readSize(_ byte: UInt8) -> HTTP1Error? {
    if let digit = ByteScan.hexValue(byte) {
      if state == .size {
        state = .sizeDigits
        digits = 0
        remaining = 0
        extensionBytes = 0
      }
      if digits == 16 { return .chunkSizeTooLarge }
      digits &+= 1
      remaining = remaining &<< 4 | UInt64(digit)
      return remaining > UInt64(Int64.max) ? .chunkSizeTooLarge : nil
    }
    guard state == .sizeDigits else { return .invalidChunkSize }
    switch byte {
    case 0x0d:
      state = .sizeLF
      return nil
    case 0x0a: return .bareLF
    case 0x3b, 0x20, 0x09:
      state = .chunkExtension
      extensionState = .beforeSemicolon
      return readExtension(byte)
    default: return .invalidChunkSize
    }
  }

  // MARK: Chunk extensions

  /// Reads one byte of a chunk's extensions; they are dropped (RFC 9112 §7.1.1).
  private mutating func readExtension(_ byte: UInt8) -> HTTP1Error? {
    if byte == 0x0d {
      switch extensionState {
      case .name, .token, .afterValue:
        state = .sizeLF
        return nil
      default: return .invalidChunkExtension
      }
    }
    extensionBytes &+= 1
    messageExtensionBytes &+= 1
    if extensionBytes > maxChunkExtensionBytes || messageExtensionBytes > maxMessageExtensionBytes {
      return .chunkExtensionsTooLarge
    }
    let isBlank = ByteScan.isBlank(byte)
    let isToken = ByteScan.isToken(byte)
    switch extensionState {
    case .beforeSemicolon:
      if byte == 0x3b { extensionState = .beforeName } else if !isBlank { return .invalidChunkExtension }
    case .beforeName:
      if isToken { extensionState = .name } else if !isBlank { return .invalidChunkExtension }
    case .name, .afterName:
      if byte == 0x3d {
        extensionState = .beforeValue
      } else if byte == 0x3b {
        extensionState = .beforeName
      } else if isBlank {
        extensionState = .afterName
      } else if extensionState == .afterName || !isToken {
        return .invalidChunkExtension
      }
    case .beforeValue:
      if byte == 0x22 {
        extensionState = .quoted
      } else if isToken {
        extensionState = .token
      } else if !isBlank {
        return .invalidChunkExtension
      }
    case .token, .afterValue:
      if byte == 0x3b {
        extensionState = .beforeName
      } else if isBlank {
        extensionState = .beforeSemicolon
      } else if extensionState == .afterValue || !isToken {
        return .invalidChunkExtension
      }
    case .quoted:
      if byte == 0x22 {
        extensionState = .afterValue
      } else if byte == 0x5c {
        extensionState = .escaped
      } else if (byte < 0x20 && byte != 0x09) || byte == 0x7f {
        return .invalidChunkExtension
      }
    case .escaped:
      if (byte < 0x20 && byte != 0x09) || byte == 0x7f { return .invalidChunkExtension }
      extensionState = .quoted
    }
    return nil
  }

  // MARK: Trailers

  /// Takes what of one trailer line is in the `n` bytes at `p`, and the line, when it is whole, as a field. Returns the bytes
  /// consumed.
  ///
  /// Content-Length, Transfer-Encoding and Host as trailers are an attempt at something and are refused. The others that RFC
  /// 9110 §6.5.1 forbids, and hop-by-hop fields, are dropped.
  @inline(never)
  private mutating func readTrailer(
    _ p: UnsafePointer<UInt8>, _ n: Int, _ map: HeaderMap
  ) throws(HTTP1Error) -> Int {
    if state == .trailerStart {
      if p[0] <= 0x20 { throw HeaderMap.lineStartError(p[0], isFirst: trailerFields == 0) }
      if trailerFields == 0 { map.removeAll() }
      if trailerFields == maxTrailerFields { throw .tooManyTrailers }
      trailerFields += 1
      state = .trailerLine
    }
    let lineFeed = ByteScan.lineFeed(p, 0, n)
    let consumed = lineFeed < n ? lineFeed + 1 : n
    if consumed > Int(maxTrailerBytes) - Int(trailerBytes) { throw .trailersTooLarge }
    trailerBytes += UInt32(consumed)
    map.appendPending(Bytes(start: p, count: consumed))
    if lineFeed < n {
      let id = try map.commitPending()
      if id == .contentLength || id == .transferEncoding || id == .host { throw .forbiddenTrailer }
      map.dropForbiddenTrailers()
      state = .trailerStart
    }
    return consumed
  }
}
