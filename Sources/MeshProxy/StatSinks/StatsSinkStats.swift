import MeshPrimitives

/// `metrics_service.…`: all sinks of this kind together.
enum MetricsServiceStat: Int, StatSet {
  case streams, streamFailures, flushesSkipped, messages

  var definition: StatDefinition {
    switch self {
    case .streams: .counter("streams", "Streams to a metrics service that were begun.")
    case .streamFailures: .counter("stream_failures", "Streams to a metrics service that ended, for whatever reason.")
    case .flushesSkipped:
      .counter("flushes_skipped", "Times that statistics were not sent because the last ones had not been taken.")
    case .messages: .counter("messages", "Messages sent to a metrics service.")
    }
  }
}

/// `statsd.…`: all sinks of this kind together.
enum StatsdStat: Int, StatSet {
  case connectionOverflow, writeFailures

  var definition: StatDefinition {
    switch self {
    case .connectionOverflow:
      .counter("cx_overflow", "Times that statistics were not sent because the last ones had not been taken.")
    case .writeFailures:
      .counter("write_failures", "Datagrams that could not be sent, and connections that were lost. Not Envoy's.")
    }
  }
}
