import MeshHTTP
import MeshPrimitives

/// What the clients of the admin interface may take.
struct AdminLimits {
  /// Connections at the same time.
  var connections = 64
  /// A connection on which nothing has moved for this long gives way to a new one when all are taken.
  var evictionAge = Nanoseconds.seconds(1)
  /// How long a request or a response may stand still.
  var stall = Nanoseconds.seconds(30)
  /// How long the body of a request may take in all.
  var bodyTime = Nanoseconds.seconds(30)
  /// The longest request body, in bytes.
  var bodySize = 64 * 1024
  /// About how much of a report is written at once, in bytes.
  var portion = 64 * 1024
  /// Times and sizes of the connection itself.
  var connection: ServerConnectionSettings = {
    var settings = ServerConnectionSettings()
    settings.idleTimeout = .seconds(120)
    settings.headersTimeout = .seconds(10)
    settings.highWatermark = 256 * 1024
    return settings
  }()
}
