/// Blocks of one size, kept on a free list by the event loop that owns it. Confined to that loop's thread.
public final class BufferPool {
  /// The size of every block, in bytes.
  public static let blockSize = 16 * 1024
  private var free: [UnsafeMutablePointer<UInt8>] = []
  private let maximumFree: Int

  /// - Parameter maximumFree: how many unused blocks are kept (a block beyond is given back to the allocator).
  public init(maximumFree: Int = 64) {
    self.maximumFree = maximumFree
    free.reserveCapacity(maximumFree)
  }

  deinit { for block in free { block.deallocate() } }

  /// A block of `blockSize` bytes, contents undefined. Give it back with `recycle`.
  @inlinable @inline(__always)
  public func take() -> UnsafeMutablePointer<UInt8> { takeBlock() }

  @usableFromInline
  func takeBlock() -> UnsafeMutablePointer<UInt8> { free.popLast() ?? .allocate(capacity: Self.blockSize) }

  /// Takes back a block that `take` handed out.
  public func recycle(_ block: UnsafeMutablePointer<UInt8>) {
    if free.count < maximumFree { free.append(block) } else { block.deallocate() }
  }
}
