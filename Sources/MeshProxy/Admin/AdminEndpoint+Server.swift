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
    let heap = CurrentProcess.heap
    // Envoy's names; 64-bit numbers are strings, as protobuf's JSON has them.
    var writer = JSONWriter()
    writer.beginObject()
    for (name, value) in [
      ("allocated", heap.allocated), ("heap_size", heap.size), ("pageheap_unmapped", 0), ("pageheap_free", heap.free),
      // No thread keeps memory for itself that this could count.
      ("total_thread_cache", 0), ("total_physical_bytes", CurrentProcess.memory.resident),
    ] {
      writer.name(name)
      writer.string("\(value)")
    }
    writer.endObject()
    return .json(writer)
  }

  /// What must be there before the process is ready, and is not yet. Everything is when the admin interface answers, but
  /// for the endpoints of clusters that names stand for.
  static let initDump = AdminEndpoint(
    "/init_dump", "dump current init manager information (experimental)",
    parameters: [Parameter(name: "mask", help: "The desired component to dump unready targets.")]
  ) { _, context in
    var writer = JSONWriter()
    writer.beginObject()
    let waiting = context.uninitializedClusters
    if !waiting.isEmpty {
      writer.name("unready_targets_dumps")
      writer.beginArray()
      writer.beginObject()
      writer.name("name")
      writer.string("init manager Server")
      writer.name("target_names")
      writer.beginArray()
      for name in waiting { writer.string("cluster \(name)") }
      writer.endArray()
      writer.endObject()
      writer.endArray()
    }
    writer.endObject()
    return .json(writer)
  }

  /// The state as load balancers are to see it.
  private static func shownState(_ context: any AdminContext) -> Proxy.State {
    context.state == .live && context.isHealthCheckFailed ? .draining : context.state
  }
}
