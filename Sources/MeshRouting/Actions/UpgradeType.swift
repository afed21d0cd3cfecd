import MeshPrimitives

/// Names of tunnels, as configurations give them.
public enum UpgradeType {
  /// CONNECT, in lower case.
  public static let connect = Array("connect".utf8)

  /// Why requests for a tunnel of this type cannot be served; nil if they can.
  /// - Parameter type: in lower case.
  public static func problem(_ type: [UInt8]) -> String? {
    let name = String(decoding: type, as: UTF8.self)
    switch name {
    case "": return "is required"
    case "h2c": return "'h2c' is never upgraded to: clients that speak HTTP/2 without TLS begin with it"
    case "connect-udp": return "'CONNECT-UDP' is not supported"
    default:
      let isProtocol = type.allSatisfy { byte in
        byte &- 0x30 < 10 || byte &- 0x61 < 26 || "!#$%&'*+-.^_`|~/".utf8.contains(byte)
      }
      return isProtocol ? nil : "'\(name)' is not the name of a protocol (RFC 9110 §7.8)"
    }
  }
}
