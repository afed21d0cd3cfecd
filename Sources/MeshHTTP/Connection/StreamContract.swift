import MeshIO
import MeshPrimitives

/// The version of HTTP that a message came by.
public enum HTTPVersion: UInt8, Sendable {
  case http10, http11, http2

  /// As in `%PROTOCOL%`.
  public var text: StaticString {
    switch self {
    case .http10: "HTTP/1.0"
    case .http11: "HTTP/1.1"
    case .http2: "HTTP/2"
    }
  }
}

/// What a codec says of a request once its head is complete. Which wire carried it does not matter from here on.
public struct RequestStart {
  public var method: HTTPMethod
  /// The client asked for `100 Continue` before it sends the body (RFC 9110 §10.1.1). The field itself is removed.
  public var expectsContinue: Bool
  /// What the stream is to become, if it is to be more than a request and its response.
  public var tunnel = TunnelKind.none
  /// The request has no body and no trailers.
  public var endStream: Bool
  /// How the request came.
  public var version = HTTPVersion.http11
  /// The target is a whole URL (RFC 9112 §3.2.2); its parts are in `:scheme`, `host` and `:path`.
  public var isAbsoluteTarget = false

  public init(method: HTTPMethod, expectsContinue: Bool, endStream: Bool) {
    self.method = method
    self.expectsContinue = expectsContinue
    self.endStream = endStream
  }
}

/// Why a stream ended before its last byte.
public enum StreamResetReason: UInt8, Sendable {
  /// The other side closed or reset the connection.
  case connectionTermination
  /// No connection could be made: refused or unreachable.
  case remoteConnectionFailure
  /// The socket could not be opened on this machine.
  case localConnectionFailure
  /// `connect_timeout` passed.
  case connectionTimeout
  /// A limit of the circuit breaker is reached.
  case overflow
  /// The other side broke HTTP's rules.
  case protocolError
  /// This side gave the stream up.
  case localReset
  /// The other side gave the stream up, and nothing else (RST_STREAM).
  case remoteReset
  /// The other side has not even begun with the stream: it may be sent again, whatever it asks for (RFC 9113 §8.7).
  case remoteRefusedStream

  /// Envoy's words, as in `upstream_reset_before_response_started{…}` and the local reply's body.
  public var text: StaticString {
    switch self {
    case .connectionTermination: "connection termination"
    case .remoteConnectionFailure: "remote connection failure"
    case .localConnectionFailure: "local connection failure"
    case .connectionTimeout: "connection timeout"
    case .overflow: "overflow"
    case .protocolError: "protocol error"
    case .localReset: "local reset"
    case .remoteReset: "remote reset"
    case .remoteRefusedStream: "remote refused stream reset"
    }
  }

  /// Envoy's words with underscores, for response code details.
  public var detail: StaticString {
    switch self {
    case .connectionTermination: "connection_termination"
    case .remoteConnectionFailure: "remote_connection_failure"
    case .localConnectionFailure: "local_connection_failure"
    case .connectionTimeout: "connection_timeout"
    case .overflow: "overflow"
    case .protocolError: "protocol_error"
    case .localReset: "local_reset"
    case .remoteReset: "remote_reset"
    case .remoteRefusedStream: "remote_refused_stream_reset"
    }
  }
}

/// The stream's side of a request: what a server codec calls. All calls come on the event loop's thread.
public protocol RequestReceiver: AnyObject {
  /// A run of the body. `bytes` is valid during the call only, and may be empty when `endStream` is set.
  func receiveData(_ bytes: Bytes, endStream: Bool)
  /// The trailer section; ends the request. The map now belongs to the receiver.
  func receiveTrailers(_ trailers: HeaderMap)
  /// The body broke its framing: nothing more comes. The receiver answers with this status, or resets the response that
  /// has begun. `details` says which rule was broken.
  func requestMalformed(status: Int, _ details: StaticString)
  /// The client went away, or this side closed the connection (`localReset`): nothing more comes, nothing more can be sent.
  func requestReset(_ reason: StreamResetReason)
  /// The client does not read as fast as the stream writes: stop producing.
  func responseBlocked()
  /// Room again.
  func responseUnblocked()
  /// The client, whose request is complete, sends no more: see `ResponseSender.clientHasEnded`.
  func clientEnded()
  /// Timeouts that hold for all streams have become shorter or longer.
  func timeoutsChanged()
}

extension RequestReceiver {
  public func clientEnded() {}
  public func timeoutsChanged() {}
}

/// The codec's side of a response: what a stream calls. Order: informational*, headers, data*, trailers?; the call with
/// `endStream` (or `sendTrailers`) is the last. Nothing may be called after `resetStream`.
public protocol ResponseSender: AnyObject {
  /// Names the stream that takes what comes of the request. Before anything else is called.
  func attach(_ stream: any RequestReceiver)
  /// An interim response (1xx, RFC 9110 §15.2).
  func sendInformational(status: Int, _ headers: HeaderMap)
  func sendHeaders(status: Int, _ headers: HeaderMap, endStream: Bool)
  /// `bytes` is copied or written before the call returns.
  func sendData(_ bytes: Bytes, endStream: Bool)
  func sendTrailers(_ trailers: HeaderMap)
  /// Ends the response in a way that the client cannot take for a complete one.
  func resetStream()
  /// Stops (`true`) or resumes the delivery of the request's body. Calls nest: as many resumes as pauses are needed.
  func pauseRequest(_ pause: Bool)
  /// After this response the connection is not used again (`connection: close` on HTTP/1.1).
  func closeAfterResponse()
  /// What has crossed the connection for this stream so far.
  var wire: WireBytes { get }
  /// Bytes of the response that the client has not taken.
  var waitingOutput: Int { get }
  /// The kernel's estimate of the round trip to the client; nil if it has none. A system call.
  var roundTripTime: Nanoseconds? { get }
  /// The version that the connection speaks.
  var protocolVersion: HTTPVersion { get }
  /// The client sends no more: it has left, most likely. By HTTP/1.1 it may still read.
  var clientHasEnded: Bool { get }
}

/// A sender that is no connection.
extension ResponseSender {
  public var clientHasEnded: Bool { false }
  public var wire: WireBytes { WireBytes() }
  public var waitingOutput: Int { 0 }
  public var roundTripTime: Nanoseconds? { nil }
  public var protocolVersion: HTTPVersion { .http11 }
}

/// The stream's side of a response from an upstream: what a client codec calls.
public protocol ResponseReceiver: AnyObject {
  /// An interim response; the map stays the caller's. Not the 101 that grants a tunnel: that is a final response.
  func receiveInformational(status: Int, _ headers: HeaderMap)
  /// The final response's head. The map now belongs to the receiver.
  func receiveHeaders(status: Int, _ headers: HeaderMap, endStream: Bool)
  func receiveData(_ bytes: Bytes, endStream: Bool)
  func receiveTrailers(_ trailers: HeaderMap)
  /// The connection died, or broke the protocol, before the response was complete. `detail` says more for the log.
  func responseReset(_ reason: StreamResetReason, detail: StaticString)
  /// The upstream does not read as fast as the request is written.
  func requestBlocked()
  func requestUnblocked()
}

/// The codec's side of a request to an upstream: what a stream calls. Order: data*, trailers?; the call with `endStream`
/// (or `sendTrailers`) is the last. The response goes to the `ResponseReceiver` until it ends, is reset, or `cancel`.
public protocol RequestSender: AnyObject {
  /// `bytes` is copied or written before the call returns.
  func sendData(_ bytes: Bytes, endStream: Bool)
  func sendTrailers(_ trailers: HeaderMap)
  /// Stops or resumes the delivery of the response's body. Calls nest.
  func pauseResponse(_ pause: Bool)
  /// The receiver wants nothing more. On HTTP/1.1 an exchange that is not complete ends the connection; on HTTP/2 only
  /// the stream.
  func cancel()
  /// The connection that carries it.
  var connection: UpstreamConnectionInfo { get }
  /// The connection has carried other requests before this one, so that it may have been dead already.
  var isOnReusedConnection: Bool { get }
  /// Bytes of the request that the kernel has taken; 0 means that the upstream cannot have seen any of it.
  var requestBytesSent: Int { get }
  /// Bytes that have come of the response.
  var responseBytesReceived: Int { get }
  /// What has crossed the wire for the request and its response.
  var wire: WireBytes { get }
  /// Bytes of the request that the upstream has not taken.
  var waitingOutput: Int { get }
}

extension RequestSender {
  public var waitingOutput: Int { 0 }
}
