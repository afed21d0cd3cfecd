import MeshIO
import MeshPrimitives

/// What is the same for all connections of one connection manager. Immutable; shared by workers.
public struct ServerConnectionSettings: Sendable {
  public var limits = HTTP1Limits()
  /// A connection without a request is closed after this time (`common_http_protocol_options.idle_timeout`); nil: never.
  public var idleTimeout: Nanoseconds? = .seconds(3600)
  /// From the first byte of a request to the end of its head (`request_headers_timeout`); nil: unbounded.
  public var headersTimeout: Nanoseconds?
  /// How long a closed connection waits for the peer to take the last response (`delayed_close_timeout`); nil: not at all.
  public var delayedCloseTimeout: Nanoseconds? = .seconds(1)
  /// After this age the next response says `connection: close` (`max_connection_duration`); nil: never.
  public var maximumDuration: Nanoseconds?
  /// Whether a connection that has reached `maximumDuration` waits for one more request, however long that takes
  /// (`http1_safe_max_connection_duration`), instead of closing after `drainTimeout`.
  public var waitsForLastRequest = false
  /// How long the client may take for the next byte of a response that is ready (`stream_flush_timeout`); nil: unbounded.
  public var flushTimeout: Nanoseconds? = .seconds(300)
  /// A connection that is to end and is idle may still send one request within this time (`drain_timeout`).
  public var drainTimeout: Nanoseconds = .seconds(5)
  /// Requests served by one connection (`max_requests_per_connection`); 0: unlimited.
  public var maximumRequests: UInt32 = 0
  /// Unsent response bytes at which the stream is told to stop (`per_connection_buffer_limit_bytes`).
  public var highWatermark = 1024 * 1024

  /// What happens to a request's fields whose names have an underscore.
  public enum Underscores: UInt8, Sendable { case keep, drop, refuse }
  /// `headers_with_underscores_action`.
  public var underscores = Underscores.keep
  /// Requests by HTTP/1.0 are served (`accept_http_10`).
  public var acceptsHTTP10 = false
  /// The host of an HTTP/1.0 request that names none (`default_host_for_http_10`); empty: it is refused.
  public var defaultHost: [UInt8] = []
  /// How the names of a response's fields are written.
  public var names = HeaderNameStyle.lowercase
  /// The spelling of a request's field names is kept for the upstream; nil: not.
  public var spelling: HeaderSpelling.Rules?
  /// Which version of HTTP connections speak.
  public enum Codec: UInt8, Sendable {
    /// What ALPN has settled; else HTTP/2 if the connection begins with its preface (RFC 9113 §3.3), else HTTP/1.1.
    case automatic
    case http1, http2
  }
  /// `codec_type`.
  public var codec = Codec.automatic
  public var http2: HTTP2Options {
    get { http2Box.options }
    set { http2Box = HTTP2Options.Box(newValue) }
  }
  /// Out of line: every connection of HTTP/1.1 has a copy of these settings, too.
  private var http2Box = HTTP2Options.Box(HTTP2Options())
  /// How many requests a client may give up that it has only just begun.
  public var resets = PrematureResets()
  /// The handler is asked before bytes that have come are looked at (`mayDispatch`).
  public var asksBeforeDispatch = false

  public init() {}
}

/// When a client that gives up what it has just begun is cut off: once half of its streams ended like that, and they are
/// `limit` or more, or cannot be fewer than half of `limit` any more (Envoy: `overload.premature_reset_*`).
public struct PrematureResets: Sendable {
  private let total: RuntimeValue?
  private let lifetime: RuntimeValue?

  /// - Parameters:
  ///   - total: `overload.premature_reset_total_stream_count`; 500 without a value, 0: no bound.
  ///   - lifetime: `overload.premature_reset_min_stream_lifetime_seconds`; 1 without a value.
  public init(total: RuntimeValue? = nil, lifetime: RuntimeValue? = nil) {
    self.total = total
    self.lifetime = lifetime
  }

  var limit: UInt64 { total?.integer(or: 500) ?? 500 }
  var minimumLifetime: Nanoseconds { .seconds(min(lifetime?.integer(or: 1) ?? 1, 1 << 32)) }
}

/// What may be done with bytes that have come from a client.
public enum DispatchLeave: UInt8, Sendable {
  /// They are looked at.
  case granted
  /// The connection closes at once.
  case close
  /// HTTP/1: a request without an answer gets 500 (`refuseForOverload`), and the connection ends.
  case abort
  /// HTTP/2: they are looked at, but no request that comes later.
  case goAway
  /// HTTP/2: the connection ends.
  case goAwayAndClose
}

/// Who takes the requests of a server connection. Called on the loop's thread.
///
/// A `sender` is where the response to one request goes: an HTTP/1.1 connection itself, or a stream of an HTTP/2
/// connection.
public protocol ServerConnectionHandler: AnyObject {
  /// A complete head arrived. The map now belongs to the handler, which attaches a stream to the sender before it lets
  /// the stream begin.
  func openStream(
    _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, _ start: RequestStart)
  /// What came is no request that we accept. The handler answers through the sender as for a stream; on HTTP/1.1 the
  /// connection closes after the answer. `details` says which rule was broken.
  func refuse(
    _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, status: Int,
    _ details: StaticString)
  /// What came by HTTP/2 is malformed: its stream ends, perhaps the connection, and nothing is answered. The map now belongs
  /// to the handler. `details` says which rule was broken.
  func fail(
    _ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap, _ details: StaticString)
  /// The head did not arrive within `request_headers_timeout`. Answers as `refuse` does.
  func headersTimedOut(_ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap)
  /// The connection is gone. The last call.
  func connectionClosed(_ connection: any ServerConnection, _ reason: ServerCloseReason)
  /// The connection is to end because of its age or of how much it has served. Once for a connection.
  func reached(_ limit: ServerConnectionLimit)
  /// Bytes that crossed the wire, for statistics.
  func connectionTransferred(received: Int, sent: Int)
  /// So many fields of a request or its trailers were left out for the underscores in their names.
  func droppedFields(_ count: Int)
  /// A request is refused for an underscore in the name of a field or trailer.
  func refusedField()
  /// Something happened on a connection of HTTP/2.
  func count(_ event: HTTP2Event, _ amount: Int)
  /// A stream of HTTP/2 has begun, or has ended.
  func streamsChanged(by change: Int)
  /// A connection of HTTP/2 is closed for requests given up too soon, too often.
  func tooManyResets()
  /// Bytes have come, and are looked at if they may be. Asked only if the settings say so.
  /// - Parameter isFirst: no byte came by this connection before.
  func mayDispatch(on connection: any ServerConnection, isFirst: Bool) -> DispatchLeave
  /// A request that has only begun to come is not wanted now. Answers as `refuse` does.
  func refuseForOverload(_ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap)
  /// What came by a connection of HTTP/1.1 began with HTTP/2's preface: `successor` serves it from now on.
  func connectionChanged(_ connection: any ServerConnection, to successor: any ServerConnection)
}

extension ServerConnectionHandler {
  public func mayDispatch(on connection: any ServerConnection, isFirst: Bool) -> DispatchLeave { .granted }
  public func refuseForOverload(_ sender: any ResponseSender, _ connection: ConnectionInfo, _ headers: HeaderMap) {
    refuse(sender, connection, headers, status: 500, "overload")
  }
  public func count(_ event: HTTP2Event, _ amount: Int) {}
  public func streamsChanged(by change: Int) {}
  public func tooManyResets() {}
  public func connectionChanged(_ connection: any ServerConnection, to successor: any ServerConnection) {}
  public func droppedFields(_ count: Int) {}
  public func refusedField() {}
}

/// Why a connection from a client ended, for statistics.
public enum ServerCloseReason: UInt8, Sendable { case remote, local, idleTimeout, protocolError }

/// What brings a connection from a client to its end: `max_connection_duration`, `max_requests_per_connection`.
public enum ServerConnectionLimit: UInt8, Sendable { case duration, requests }

/// A connection from a client, whatever version of HTTP it speaks. Confined to its loop's thread.
public protocol ServerConnection: AnyObject {
  var info: ConnectionInfo { get }
  /// Where the owner keeps this connection in its list.
  var listIndex: Int { get set }
  var openedAt: MonotonicTime { get }
  var protocolVersion: HTTPVersion { get }
  var isClosed: Bool { get }
  /// Between requests: nothing in flight, nothing half received.
  var isIdle: Bool { get }
  /// Whether a request was in flight when the connection closed.
  var hadRequest: Bool { get }
  /// Begins to serve. Call once, after the owner has stored the connection.
  func start() throws(SystemError)
  /// No request after those that are on their way; without one the connection closes after `patience` (nil: the
  /// settings' `drainTimeout`).
  func drain(idleFor patience: Nanoseconds?)
  /// Takes the settings' timeouts for connections (`idleTimeout`, `maximumDuration`, `flushTimeout`) in place of its own,
  /// from where their time has begun, and has its streams look at theirs.
  func take(timeoutsOf settings: ServerConnectionSettings)
  /// Calls `body` with whoever takes each request that is under way.
  func forEachReceiver(_ body: (any RequestReceiver) -> Void)
  /// Closes now. Streams in flight are told that their client is gone.
  func close(_ reason: ServerCloseReason, reset: Bool)
}

extension ServerConnectionSettings {
  mutating func take(timeoutsOf other: ServerConnectionSettings) {
    idleTimeout = other.idleTimeout
    maximumDuration = other.maximumDuration
    flushTimeout = other.flushTimeout
  }
}

extension ServerConnection {
  public func close(_ reason: ServerCloseReason) { close(reason, reset: false) }
}
