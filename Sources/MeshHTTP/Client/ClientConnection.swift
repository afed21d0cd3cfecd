import MeshIO
import MeshPrimitives

/// What is the same for all connections to one cluster.
public struct ClientConnectionSettings: Sendable {
  public var limits = HTTP1Limits()
  /// An unused connection is closed after this time; nil: never. An upstream that announces a shorter time by
  /// `Keep-Alive: timeout=` is believed.
  public var idleTimeout: Nanoseconds?
  /// A connection of this age takes no further request and closes when it is idle (`max_connection_duration`); nil: no
  /// limit.
  public var maximumDuration: Nanoseconds?
  /// Requests sent over one connection (`max_requests_per_connection`); 0: unlimited.
  public var maximumRequests: UInt32 = 0
  /// Unsent request bytes at which the stream is told to stop (`per_connection_buffer_limit_bytes`).
  public var highWatermark = 1024 * 1024
  /// Interim responses passed on for one request; one more is a protocol error.
  public var maximumInformational = 16
  /// Requests that one connection that multiplexes is expected to take, before the peer has said how many.
  public var expectedStreams = 1024
  /// How a request's head is written (`header_key_format`, `send_fully_qualified_url`).
  public var style = HTTP1HeadStyle()
  /// The spelling of a response's field names is kept for the client; nil: not.
  public var spelling: HeaderSpelling.Rules?
  public var http2: HTTP2Options {
    get { http2Box.options }
    set { http2Box = HTTP2Options.Box(newValue) }
  }
  /// Out of line: every connection of HTTP/1.1 has a copy of these settings, too.
  private var http2Box = HTTP2Options.Box(HTTP2Options())

  public init() {}
}

/// Who keeps client connections: the pool. Called on the loop's thread.
public protocol ClientConnectionOwner: AnyObject {
  /// The connection's `capacity` has grown: a request is done, or the peer allows more at once.
  func connectionHasRoom(_ connection: any ClientConnection)
  /// The connection takes no further request and ends when those that it has are done (GOAWAY, its age, how many it has
  /// carried). Once at most; not for a connection that has none and so closes at once.
  func connectionRetires(_ connection: any ClientConnection)
  /// The connection is gone. The last call.
  func connectionClosed(_ connection: any ClientConnection, _ reason: ClientCloseReason)
  /// Bytes that crossed the wire, for statistics.
  func connectionTransferred(received: Int, sent: Int)
  /// Something happened on a connection of HTTP/2.
  func count(_ event: HTTP2Event, _ amount: Int)
  /// A request by HTTP/2 has ended before its response was complete, `localReset` where it was given up.
  func requestReset(_ reason: StreamResetReason)
  /// A stream of HTTP/2 has begun, or has ended.
  func streamsChanged(by change: Int)
}

extension ClientConnectionOwner {
  public func requestReset(_ reason: StreamResetReason) {}
  public func count(_ event: HTTP2Event, _ amount: Int) {}
  public func streamsChanged(by change: Int) {}
}

/// Why a connection to an upstream ended, for statistics.
public enum ClientCloseReason: UInt8, Sendable {
  case remote, local, idleTimeout, maximumRequests, maximumDuration, protocolError
  /// The peer had said that its response is the last (`connection: close`).
  case announced
}

/// An established connection to an upstream, whatever version of HTTP it speaks. Confined to its loop's thread.
public protocol ClientConnection: AnyObject {
  var info: UpstreamConnectionInfo { get }
  /// Where the owner keeps this connection in its list.
  var listIndex: Int { get set }
  var protocolVersion: HTTPVersion { get }
  /// How many requests may be begun now: 1 or 0 on HTTP/1.1; on HTTP/2 as many as limits on both sides allow.
  var capacity: Int { get }
  /// Requests under way.
  var activeRequests: Int { get }
  /// Requests begun on this connection.
  var requestCount: UInt32 { get }
  var isClosed: Bool { get }
  /// Whether requests were under way when the connection closed.
  var wasBusy: Bool { get }
  /// Begins to listen for what the peer says. Call once, after the owner has stored this.
  func start() throws(SystemError)
  /// Sends a request's head; `capacity` must not be 0. The response goes to `receiver`, until it ends or `cancel`.
  /// - Parameter headers: stay the caller's. With the field `upgrade`, or for CONNECT, the request is one for a tunnel
  ///   (`TunnelKind`).
  func send(_ headers: HeaderMap, method: HTTPMethod, endStream: Bool, receiver: any ResponseReceiver)
    -> any RequestSender
  /// Takes no further request and closes as soon as none is in flight.
  func drain()
}
