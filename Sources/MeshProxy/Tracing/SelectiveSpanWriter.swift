import MeshPrimitives

/// Writes spans without some of their own tags: custom tags of the same names take their place. Rare, and so slower. Confined
/// to the worker.
struct SelectiveSpanWriter<Writer: SpanWriter>: SpanWriter {
  private(set) var writer: Writer
  private let leftOut: Set<[UInt8]>

  init(_ writer: Writer, without leftOut: Set<[UInt8]>) {
    self.writer = writer
    self.leftOut = leftOut
  }

  static var leavesOutUncommonMethods: Bool { Writer.leavesOutUncommonMethods }

  mutating func begin(_ head: SpanHead, name: Bytes, tracestate: Bytes) {
    writer.begin(head, name: name, tracestate: tracestate)
  }

  mutating func tag(_ key: StaticString, _ value: Bytes) { if !isLeftOut(key) { writer.tag(key, value) } }
  mutating func tag(_ key: StaticString, plain value: Bytes) { if !isLeftOut(key) { writer.tag(key, plain: value) } }
  /// A custom tag.
  mutating func tag(_ key: Bytes, _ value: Bytes) { writer.tag(key, value) }
  /// Whoever has written them has left out what is to be.
  mutating func tags(_ encoded: [UInt8]) { writer.tags(encoded) }

  mutating func tags(of outcome: SpanOutcome, _ cluster: ActiveCluster?, _ tracing: TracingLane) {
    for tag in TracingLane.tags(of: outcome, cluster) where !leftOut.contains(tag.key) {
      tag.key.withUnsafeBufferPointer { key in tag.value.withUnsafeBufferPointer { writer.tag(key, $0) } }
    }
  }

  mutating func tag(client: SocketAddress, _ tracing: TracingLane) {
    if !isLeftOut("peer.address") { writer.tag(client: client, tracing) }
  }

  mutating func event(_ name: StaticString, at time: UInt64) { writer.event(name, at: time) }
  mutating func end(at time: UInt64, isError: Bool) { writer.end(at: time, isError: isError) }

  static func encoded(_ tags: [(key: [UInt8], value: [UInt8])]) -> [UInt8] { Writer.encoded(tags) }

  private func isLeftOut(_ key: StaticString) -> Bool { leftOut.contains(Array(Bytes(key))) }
}
