/// Header maps that are not in use, kept by the event loop's owner so that a request allocates none. One per thread.
public final class HeaderMapPool {
  private var free: [HeaderMap] = []
  private let maximumFree: Int

  /// - Parameter maximumFree: how many unused maps are kept.
  public init(maximumFree: Int = 128) {
    self.maximumFree = maximumFree
    free.reserveCapacity(maximumFree)
  }

  /// An empty map.
  public func take() -> HeaderMap { free.popLast() ?? HeaderMap() }

  /// Takes back a map that nobody refers to any more.
  public func recycle(_ map: consuming HeaderMap) {
    guard free.count < maximumFree else { return }
    map.removeAll()
    free.append(map)
  }
}
