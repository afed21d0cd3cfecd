internal import CLinux
import MeshPrimitives

/// A socket option by the kernel's own numbers, as setsockopt(2) takes it (Envoy: `core.v3.SocketOption`).
public struct RawSocketOption: Hashable, Sendable {
  /// When it is set.
  public enum State: Hashable, Sendable {
    /// Before the socket is bound.
    case beforeBind
    /// After it is bound, before it listens or connects.
    case bound
    /// When it listens.
    case listening
  }

  public let level: Int32
  public let name: Int32
  /// What the option's value looks like in memory.
  public let value: [UInt8]
  public let state: State

  public init(level: Int32, name: Int32, value: [UInt8], state: State = .beforeBind) {
    self.level = level
    self.name = name
    self.value = value
    self.state = state
  }

  /// An option whose value is a C `int`.
  public init(level: Int32, name: Int32, value: Int32, state: State = .beforeBind) {
    self.init(level: level, name: name, value: withUnsafeBytes(of: value) { Array($0) }, state: state)
  }

  /// Sets those of `options` that belong to `state`, as far as the kernel takes them. Returns 0, or what it said to the
  /// first that it refused, negative.
  static func apply(_ options: [RawSocketOption], _ state: State, to fd: Int32) -> Int32 {
    for option in options where option.state == state {
      let result = option.value.withUnsafeBytes { bytes -> Int32 in
        // An empty value still needs an address.
        var nothing: UInt8 = 0
        guard let base = bytes.baseAddress else {
          return clinux_set_raw_option(fd, option.level, option.name, &nothing, 0)
        }
        return clinux_set_raw_option(fd, option.level, option.name, base, bytes.count)
      }
      if result < 0 { return result }
    }
    return 0
  }
}
