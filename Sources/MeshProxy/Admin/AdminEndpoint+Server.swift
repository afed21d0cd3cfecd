import MeshAPI
import MeshIO
import MeshPrimitives

// What the process is and how it fares.

extension AdminEndpoint {
  static let ready = AdminEndpoint(
    "/ready", "print server state, return 200 if LIVE, otherwise return 503"
  ) { _, context in
    let state = shownState(context)
    return .text("\(state.rawValue)\n", status: state == .live ? 200 : 503)
  }

  static let serverInfo = AdminEndpoint("/server_info", "print server version/status information") { _, context in
    let uptime = "\(ProcessClock.monotonic().since(context.startedAt).wholeMilliseconds / 1000)s"
    var writer = JSONWriter()
    writer.beginObject()
    writer.name("version")
    writer.string(context.version)
    writer.name("state")
    writer.string(shownState(context).rawValue)
    writer.name("uptime_current_epoch")
    writer.string(uptime)
    // There is one epoch: a new process takes over by inheriting sockets, and counts anew.
    writer.name("uptime_all_epochs")
    writer.string(uptime)
    writer.name("hot_restart_version")
    writer.string("disabled")
    writer.name("command_line_options")
    writer.beginObject()
    for option in context.commandLineOptions {
      writer.name(option.name)
      writer.value(option.value)
    }
    writer.endObject()
    writer.name("node")
    writer.message(context.node)
    writer.endObject()
    return .json(writer)
  }

  static let hotRestartVersion = AdminEndpoint(
    "/hot_restart_version", "print the hot restart compatibility version"
  ) { _, _ in .text("disabled") }

  static let memory = AdminEndpoint("/memory", "print current allocation/heap usage") { _, _ in
    let memory = CurrentProcess.memory
    // Envoy's names, as far as they mean something here; 64-bit numbers are strings, as protobuf's JSON has them.
    var writer = JSONWriter()
    writer.beginObject()
    writer.name("allocated")
    writer.string("\(memory.anonymous)")
    writer.name("heap_size")
    writer.string("\(memory.anonymous)")
    writer.name("total_physical_bytes")
    writer.string("\(memory.resident)")
    writer.name("proportional_bytes")
    writer.string("\(memory.proportional)")
    writer.endObject()
    return .json(writer)
  }

  /// The state as load balancers are to see it.
  private static func shownState(_ context: any AdminContext) -> Proxy.State {
    context.state == .live && context.isHealthCheckFailed ? .draining : context.state
  }
}
