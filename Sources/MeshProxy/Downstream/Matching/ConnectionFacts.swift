import MeshHTTP
import MeshPrimitives

/// What filter chains are chosen by: who is at the two ends of a connection, and what listener filters found out.
struct ConnectionFacts {
  /// Where the connection was made to; the original destination, if a listener filter found one.
  var destination: SocketAddress
  /// The kernel has redirected the connection, and knows where it was made to.
  var hasOriginalDestination = false
  /// The client; whom a PROXY protocol header names, if there is one.
  var source: SocketAddress
  /// The socket's other end.
  var directSource: SocketAddress
  /// The name that the client asks for (SNI), in lower case; empty if there is none.
  var serverName = ""
  /// `tls` or `raw_buffer`.
  var transportProtocol = "raw_buffer"
  /// In the client's order (ALPN).
  var applicationProtocols: [String] = []
  /// What is to be noted of the connection: `namespace.key` → text.
  var metadata: [String: String] = [:]
  /// Of a PROXY protocol header, to be passed on.
  var typedValues: [ConnectionFindings.TypedValue] = []

  init(destination: SocketAddress, source: SocketAddress, directSource: SocketAddress? = nil) {
    self.destination = destination
    self.source = source
    self.directSource = directSource ?? source
  }

  init(_ info: ConnectionInfo) {
    self.init(
      destination: info.localAddress, source: info.remoteAddress, directSource: info.directRemoteAddress)
  }

  /// The connection comes from this machine: from the address that it was made to, from 127.0.0.1 or from ::1. Other
  /// loopback addresses are not meant, as in Envoy.
  var isFromThisMachine: Bool {
    source.isUnix || source.ip.unmapped == .loopbackV4 || source.ip == .loopbackV6
      || (!destination.isUnix && source.ip.unmapped == destination.ip.unmapped)
  }
}
