// What Envoy can be built with and this program is not: each says so, with the status that Envoy has for it.

extension AdminEndpoint {
  private static let enable = Parameter(
    name: "enable", help: "Whether to enable or disable the profiler", choices: ["y", "n"])

  static let contention = AdminEndpoint(
    "/contention", "dump current mutex contention stats (if enabled)"
  ) { _, _ in .text("Mutex contention tracing is not enabled.") }

  static let cpuProfiler = AdminEndpoint(
    "/cpuprofiler", "enable/disable the CPU profiler", isMutating: true, parameters: [enable]
  ) { request, _ in
    switch request.parameter("enable") {
    case "y": .text("failure to start the profiler", status: 500)
    // There is none to stop.
    case "n": .ok
    default: .text("?enable=<y|n>\n", status: 400)
    }
  }

  static let heapProfiler = AdminEndpoint(
    "/heapprofiler", "enable/disable the heap profiler", isMutating: true, parameters: [enable]
  ) { _, _ in .text("The current build does not support heap profiler", status: 501) }

  static let heapDump = AdminEndpoint("/heap_dump", "dump current heap (if supported)") { _, _ in
    .text("Heap dump is not currently supported in this build", status: 501)
  }
}
