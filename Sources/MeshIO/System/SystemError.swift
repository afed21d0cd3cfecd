internal import CLinux

/// A system call that failed.
public struct SystemError: Error, Equatable, CustomStringConvertible {
  /// The error number (`errno`).
  public let errno: Int32
  /// The call that failed.
  public let function: String
  /// What it was applied to, for people; may be empty.
  public let context: String

  public init(_ function: String, errno: Int32, _ context: String = "") {
    self.errno = errno
    self.function = function
    self.context = context
  }

  /// From a wrapped call's result, which is `-errno`.
  init(_ function: String, result: Int32, _ context: String = "") {
    self.init(function, errno: -result, context)
  }

  /// The kernel's words for the error number.
  public var reason: String { Self.text(errno) }

  /// `bind 127.0.0.1:8000: Address already in use`
  public var description: String { context.isEmpty ? "\(function): \(reason)" : "\(function) \(context): \(reason)" }

  /// The kernel's words for an error number.
  public static func text(_ errno: Int32) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
      guard let base = buffer.baseAddress else { return "" }
      clinux_error_text(errno, base, buffer.count)
      return String(cString: base)
    }
  }
}
