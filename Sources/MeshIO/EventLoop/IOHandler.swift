internal import CLinux

/// What happened to a descriptor.
public struct IOEvents: OptionSet, Sendable {
  public let rawValue: UInt32

  @inlinable @inline(__always)
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Bytes (or a connection, or the end of the stream) can be read: EPOLLIN.
  public static var readable: IOEvents { IOEvents(rawValue: 0x001) }
  /// The socket takes bytes again, or its connect has succeeded: EPOLLOUT.
  public static var writable: IOEvents { IOEvents(rawValue: 0x004) }
  /// An error waits in SO_ERROR: EPOLLERR.
  public static var error: IOEvents { IOEvents(rawValue: 0x008) }
  /// Both directions are shut: EPOLLHUP.
  public static var hangup: IOEvents { IOEvents(rawValue: 0x010) }
  /// The peer has shut its writing side: EPOLLRDHUP. Bytes before the end may still wait.
  public static var peerClosed: IOEvents { IOEvents(rawValue: 0x2000) }
}

/// What a descriptor is watched for.
public struct IOInterest: Equatable, Sendable {
  let mask: UInt32

  /// Everything, edge-triggered: registered once for the life of a connection. The handler must read until a short
  /// read and write until a short write before it can count on another event.
  public static let connection = IOInterest(mask: CLINUX_IN | CLINUX_OUT | CLINUX_RDHUP | CLINUX_EDGE)
  /// Readable, level-triggered: the event returns until everything is read. For listeners and signal descriptors.
  public static let levelRead = IOInterest(mask: CLINUX_IN)
  /// Writable, level-triggered.
  public static let levelWrite = IOInterest(mask: CLINUX_OUT)
  /// Readable and writable, level-triggered.
  public static let levelReadWrite = IOInterest(mask: CLINUX_IN | CLINUX_OUT)
  /// Readable, one event for each arrival, whether or not the handler reads. For eventfd.
  public static let edgeRead = IOInterest(mask: CLINUX_IN | CLINUX_EDGE)
  /// Readable, level-triggered, one loop woken of several that watch the same listening socket (EPOLLEXCLUSIVE; cannot
  /// be modified afterwards).
  public static let exclusiveAccept = IOInterest(mask: CLINUX_IN | CLINUX_EXCLUSIVE)
  /// Nothing but errors and hang-ups, which are always reported.
  public static let none = IOInterest(mask: 0)
}

/// The owner of a descriptor that an event loop watches.
public protocol IOHandler: AnyObject {
  /// Something happened to the descriptor. Called on the loop's thread. May deregister and close any descriptor.
  func ready(_ events: IOEvents)
}

/// Something with output that was gathered during a callback and waits to be sent in one piece.
public protocol Flushable: AnyObject {
  func flush()
}
