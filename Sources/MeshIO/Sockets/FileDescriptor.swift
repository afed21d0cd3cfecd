internal import CLinux

/// A descriptor with one owner, closed when the owner lets go of it.
public struct FileDescriptor: ~Copyable, Sendable {
  /// The number. Valid while this value lives.
  public let raw: Int32

  /// Takes over an open descriptor.
  public init(taking raw: Int32) { self.raw = raw }

  deinit { _ = clinux_close(raw) }

  /// Gives up ownership without closing.
  public consuming func release() -> Int32 {
    let fd = raw
    discard self
    return fd
  }
}
