import Synchronization

/// Settings that change while the process runs, without a new configuration (Envoy's `layered_runtime`): layers of keys
/// and values, where a later layer overrides an earlier one. Whoever uses a key asks for its `RuntimeValue` once, when
/// its configuration is compiled, and reads it as often as it likes. Any thread.
public final class Runtime: Sendable {
  /// One layer; the last one that has a key decides.
  public struct Layer: Sendable, Equatable {
    public let name: String
    public var entries: [String: RuntimeEntry]

    public init(name: String, entries: [String: RuntimeEntry] = [:]) {
      self.name = name
      self.entries = entries
    }
  }

  private struct State {
    var layers: [Layer] = []
    var values: [String: RuntimeValue] = [:]
  }

  private let state = Mutex(State())

  public init() {}

  /// The value that goes by `key`, now and after every change. The same object for the same key.
  public func value(_ key: String) -> RuntimeValue {
    state.withLock { state in
      if let known = state.values[key] { return known }
      let value = RuntimeValue(key: key)
      value.set(Self.entry(key, state.layers))
      state.values[key] = value
      return value
    }
  }

  /// The layers, the first one first.
  public var layers: [Layer] { state.withLock { $0.layers } }

  /// Takes new layers in place of the old ones; every value that is in use changes now.
  public func update(_ layers: [Layer]) {
    state.withLock { state in
      state.layers = layers
      for (key, value) in state.values { value.set(Self.entry(key, layers)) }
    }
  }

  /// What `key` has now; nil if no layer has it.
  public func entry(_ key: String) -> RuntimeEntry? { state.withLock { Self.entry(key, $0.layers) } }

  private static func entry(_ key: String, _ layers: [Layer]) -> RuntimeEntry? {
    for layer in layers.reversed() { if let entry = layer.entries[key] { return entry } }
    return nil
  }
}
