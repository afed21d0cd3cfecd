import MeshAPI
import SwiftProtobuf

/// Takes private keys, passwords and ticket keys out of what is shown of a configuration (Envoy marks the same fields as
/// sensitive). Certificates stay: everybody may see them.
enum SecretRedaction {
  private static let mark = "[redacted]"

  static func redact(_ bootstrap: Bootstrap) -> Bootstrap {
    var bootstrap = bootstrap
    for index in bootstrap.staticResources.listeners.indices {
      redact(&bootstrap.staticResources.listeners[index])
    }
    for index in bootstrap.staticResources.clusters.indices
    where bootstrap.staticResources.clusters[index].hasTransportSocket {
      redact(&bootstrap.staticResources.clusters[index].transportSocket)
    }
    for index in bootstrap.staticResources.secrets.indices { redact(&bootstrap.staticResources.secrets[index]) }
    return bootstrap
  }

  private static func redact(_ listener: inout Listener) {
    for index in listener.filterChains.indices where listener.filterChains[index].hasTransportSocket {
      redact(&listener.filterChains[index].transportSocket)
    }
    if listener.hasDefaultFilterChain, listener.defaultFilterChain.hasTransportSocket {
      redact(&listener.defaultFilterChain.transportSocket)
    }
  }

  private static func redact(_ socket: inout TransportSocket) {
    if var context: DownstreamTlsContext = try? socket.typedConfig.unpack() {
      redact(&context.commonTlsContext)
      if case .sessionTicketKeys(var keys)? = context.sessionTicketKeysType {
        redact(&keys)
        context.sessionTicketKeys = keys
      }
      pack(context, into: &socket)
    } else if var context: UpstreamTlsContext = try? socket.typedConfig.unpack() {
      redact(&context.commonTlsContext)
      pack(context, into: &socket)
    } else if var wrapper: ProxyProtocolUpstreamTransport = try? socket.typedConfig.unpack() {
      redact(&wrapper.transportSocket)
      pack(wrapper, into: &socket)
    }
  }

  private static func pack(_ message: some Message, into socket: inout TransportSocket) {
    // What cannot be packed again is not shown at all.
    socket.typedConfig = (try? TypedConfig(message: message)) ?? TypedConfig()
  }

  private static func redact(_ context: inout SharedTlsContext) {
    for index in context.tlsCertificates.indices { redact(&context.tlsCertificates[index]) }
  }

  static func redact(_ secret: inout Secret) {
    switch secret.type {
    case .tlsCertificate(var certificate):
      redact(&certificate)
      secret.tlsCertificate = certificate
    case .sessionTicketKeys(var keys):
      redact(&keys)
      secret.sessionTicketKeys = keys
    case .validationContext, nil: break
    }
  }

  private static func redact(_ certificate: inout MeshAPI.TlsCertificate) {
    if certificate.hasPrivateKey { redact(&certificate.privateKey) }
    if certificate.hasPassword { redact(&certificate.password) }
  }

  private static func redact(_ keys: inout TlsSessionTicketKeys) {
    for index in keys.keys.indices { redact(&keys.keys[index]) }
  }

  private static func redact(_ source: inout DataSource) {
    switch source.specifier {
    case .filename: source.filename = mark
    case .inlineBytes: source.inlineBytes = .init(mark.utf8)
    case .inlineString: source.inlineString = mark
    case .environmentVariable: source.environmentVariable = mark
    case nil: break
    }
  }
}
