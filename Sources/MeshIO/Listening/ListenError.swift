import MeshPrimitives

/// A process that listens where another one wants to.
public struct ListenHolder: Equatable, Sendable {
  public let process: Int32
  /// Its name (`/proc/PID/comm`), if it can be read.
  public let program: String?
  /// What it listens on; differs from what was asked for when one of the two is a wildcard.
  public let address: SocketAddress
}

/// Why an address cannot be listened on.
public enum ListenError: Error, Equatable, CustomStringConvertible {
  /// Another process listens there, or on an address that overlaps; which one is known if it is one of ours.
  case inUse(SocketAddress, by: ListenHolder?)
  /// A system call failed.
  case failed(SystemError)

  public var description: String {
    switch self {
    case .inUse(let address, nil):
      return "\(address) is in use by another program"
    case .inUse(let address, let holder?):
      let process = "\(holder.program ?? "process") pid \(holder.process)"
      if holder.address == address { return "\(address) is in use by \(process)" }
      return "\(address) is in use: \(process) listens on \(holder.address)"
    case .failed(let error):
      return error.description
    }
  }
}
