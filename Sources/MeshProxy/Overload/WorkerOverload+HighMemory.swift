import MeshPrimitives

/// `envoy.overload_actions.reset_high_memory_stream`: the streams that hold most are reset. What a stream holds is summed
/// up when it matters, so that no byte has to be accounted for while it does not.
extension WorkerOverload {
  /// How many streams are reset at a time, so that the worker does not stand still meanwhile.
  private static let most = 50
  /// Streams are told apart by the power of two of what they hold, as many powers above the least that counts.
  static let classes = 8

  /// Resets those of the listeners' streams that hold so much that the action, as strong as it is now, is for them; at
  /// most fifty, the largest first.
  func resetHighMemoryStreams(of listeners: [ActiveListener]) {
    guard let least = configuration.leastHeldToReset,
      let floor = Self.floor(least: least, strength: state[.resetHighMemoryStream])
    else { return }
    var found: [(held: Int, stream: Stream, generation: UInt64)] = []
    for listener in listeners {
      listener.forEachStream { stream in
        let held = stream.heldBytes
        if held >= floor { found.append((held, stream, stream.generation)) }
      }
    }
    found.sort { $0.held > $1.held }
    for (_, stream, generation) in found.prefix(Self.most) where stream.generation == generation {
      stream.resetForMemory()
      countReset()
    }
  }

  /// From how many bytes on streams are reset: of eight classes, each twice as large as the one before, the stronger the
  /// action the more; nil: none.
  static func floor(least: Int, strength: Float) -> Int? {
    guard strength > 0 else { return nil }
    let spared = classes - min(Int(strength * Float(classes)) + 1, classes)
    let (floor, overflow) = least.multipliedReportingOverflow(by: 1 << spared)
    return overflow ? nil : floor
  }
}
