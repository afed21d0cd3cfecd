import MeshPrimitives
import Testing

@testable import MeshHTTP

/// What an encoder call writes, as text.
func encoded(_ body: (inout ByteQueue, BufferPool) -> Void) -> String {
  let pool = BufferPool()
  var queue = ByteQueue()
  body(&queue, pool)
  let text = latin1(queue.bytes)
  queue.clear(pool)
  return text
}

@Suite struct EncoderTests {
  private func map(_ fields: [(HeaderID, StaticString)]) -> HeaderMap {
    let map = HeaderMap()
    for (id, value) in fields { map.add(id, value) }
    return map
  }

  private func request(_ map: HeaderMap, _ framing: BodyFraming) -> String {
    encoded { HTTP1Encoder.requestHead(map, framing: framing, into: &$0, pool: $1) }
  }

  private func response(_ status: Int, _ map: HeaderMap, _ framing: BodyFraming, close: Bool = false) -> String {
    encoded { HTTP1Encoder.responseHead(status: status, map, framing: framing, close: close, into: &$0, pool: $1) }
  }

  @Test func requestHeads() {
    let get = map([(.method, "GET"), (.path, "/x"), (.scheme, "http"), (.host, "a"), (.userAgent, "u")])
    #expect(request(get, .none) == "GET /x HTTP/1.1\r\nhost: a\r\nuser-agent: u\r\n\r\n")
    #expect(request(get, .length(7)) == "GET /x HTTP/1.1\r\nhost: a\r\nuser-agent: u\r\ncontent-length: 7\r\n\r\n")
    #expect(
      request(get, .chunked) == "GET /x HTTP/1.1\r\nhost: a\r\nuser-agent: u\r\ntransfer-encoding: chunked\r\n\r\n")
    #expect(request(HeaderMap(), .none) == "GET / HTTP/1.1\r\n\r\n")
    for method: StaticString in ["POST", "PUT", "PATCH"] {
      #expect(
        request(map([(.method, method), (.path, "/")]), .none) == "\(method) / HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
    }
    #expect(request(map([(.method, "DELETE"), (.path, "/")]), .none) == "DELETE / HTTP/1.1\r\n\r\n")
  }

  /// Framing fields of the map are never sent with a request.
  @Test func framingIsTheFramings() {
    let map = map([(.method, "GET"), (.path, "/"), (.contentLength, "5"), (.host, "a"), (.transferEncoding, "chunked")])
    #expect(request(map, .none) == "GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    #expect(request(map, .length(6)) == "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n")
    #expect(request(map, .chunked) == "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    #expect(response(200, map, .length(6)) == "HTTP/1.1 200 OK\r\nhost: a\r\ncontent-length: 6\r\n\r\n")
    #expect(response(200, map, .chunked) == "HTTP/1.1 200 OK\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    #expect(
      response(200, map, .untilClose, close: true) == "HTTP/1.1 200 OK\r\nhost: a\r\nconnection: close\r\n\r\n")
    // To HEAD, and in a 304, the length is information.
    #expect(response(200, map, .none) == "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nhost: a\r\n\r\n")
    #expect(response(304, map, .none) == "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\nhost: a\r\n\r\n")
    #expect(response(204, map, .none) == "HTTP/1.1 204 No Content\r\nhost: a\r\n\r\n")
  }

  @Test func responseHeads() {
    let map = map([(.status, "200"), (.server, "s"), (.connection, "x")])
    #expect(
      response(200, map, .length(0)) == "HTTP/1.1 200 OK\r\nserver: s\r\nconnection: x\r\ncontent-length: 0\r\n\r\n")
    #expect(
      response(503, map, .length(0), close: true)
        == "HTTP/1.1 503 Service Unavailable\r\nserver: s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    #expect(response(299, HeaderMap(), .none) == "HTTP/1.1 299 \r\n\r\n")
    #expect(response(99, HeaderMap(), .none) == "HTTP/1.1 500 Internal Server Error\r\n\r\n")
    #expect(response(1000, HeaderMap(), .none) == "HTTP/1.1 500 Internal Server Error\r\n\r\n")
    #expect(response(-1, HeaderMap(), .none) == "HTTP/1.1 500 Internal Server Error\r\n\r\n")
  }

  @Test func informational() {
    #expect(encoded { HTTP1Encoder.informational(status: 100, into: &$0, pool: $1) } == "HTTP/1.1 100 Continue\r\n\r\n")
    let map = map([(.status, "103"), (.contentLength, "5"), (.location, "l")])
    #expect(
      encoded { HTTP1Encoder.informational(status: 103, map, into: &$0, pool: $1) }
        == "HTTP/1.1 103 Early Hints\r\nlocation: l\r\n\r\n")
  }

  @Test func chunks() {
    for (length, text) in [
      (1, "1"), (9, "9"), (10, "a"), (15, "f"), (16, "10"), (255, "ff"), (256, "100"), (0xabcdef, "abcdef"),
      (Int.max, "7fffffffffffffff"),
    ] {
      #expect(encoded { HTTP1Encoder.chunkHeader(length: length, into: &$0, pool: $1) } == text + "\r\n")
    }
    #expect(encoded { HTTP1Encoder.chunkEnd(into: &$0, pool: $1) } == "\r\n")
    #expect(encoded { HTTP1Encoder.lastChunk(into: &$0, pool: $1) } == "0\r\n\r\n")
    let trailers = map([(.xRequestID, "r"), (.contentLength, "5"), (.host, "a"), (.transferEncoding, "x"), (.via, "v")])
    #expect(
      encoded { HTTP1Encoder.lastChunk(trailers: trailers, into: &$0, pool: $1) }
        == "0\r\nx-request-id: r\r\nvia: v\r\n\r\n")
  }

  @Test func decimals() {
    for number in [0, 1, 9, 10, 99, 100, 12345, UInt64(Int64.max), UInt64.max - 1, .max, 9_999_999_999_999_999_999] {
      let text = encoded { queue, pool in
        let start = queue.reserve(20, pool)
        queue.commit(HTTP1Encoder.writeDecimal(number, start) - start)
      }
      #expect(text == "\(number)")
    }
  }

  @Test func reasonPhrases() {
    for status in 100...599 {
      let line = response(status, HeaderMap(), .none)
      #expect(line == "HTTP/1.1 \(status) \(HTTP1Encoder.reasonPhrase(status))\r\n\r\n")
      guard case .complete(let head, _) = parseResponse(line, to: .head) else {
        Issue.record("\(line)")
        return
      }
      #expect(head.status == status)
    }
  }

  @Test func heads64KiB() {
    let map = HeaderMap()
    let value = [UInt8](repeating: 0x61, count: 10_000)
    for _ in 0..<7 { value.withUnsafeBufferPointer { map.add(.via, $0) } }
    let text = request(map, .none)
    #expect(text.utf8.count == 18 + 7 * (5 + 10_000 + 2))
  }
}
