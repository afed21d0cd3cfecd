import MeshIO
import MeshPrimitives

/// A file of events about endpoints' health, a line of JSON each, as Envoy writes them. Confined to the main thread; the
/// file itself is written by the access logs' thread.
final class HealthEventLog {
  private let buffer: AccessLogBuffer
  private let loop: EventLoop

  init(_ file: AccessLogFile, loop: EventLoop) {
    buffer = AccessLogBuffer(file: file, loop: loop)
    self.loop = loop
  }

  var file: AccessLogFile { buffer.file }

  /// Writes one event: `body` gets the open object.
  func write(_ body: (inout JSONWriter) -> Void) {
    var writer = JSONWriter()
    writer.isCompact = true
    writer.beginObject()
    body(&writer)
    writer.endObject()
    writer.output.withUnsafeBufferPointer { buffer.append($0) }
  }

  /// The time of an event: now, as `timestamp` has it.
  var timestamp: String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: ISO8601.length) { room in
      guard let base = room.baseAddress else { return "" }
      ISO8601.write(unixMilliseconds: Int64(clamping: loop.wallClock / 1_000_000), into: base)
      return String(decoding: room, as: UTF8.self)
    }
  }

  /// Hands over what waits.
  func flush() { buffer.flush() }
}
