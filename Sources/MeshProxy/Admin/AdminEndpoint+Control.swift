import MeshIO

// What changes how the process serves. All of it takes POST only.

extension AdminEndpoint {
  static let drainListeners = AdminEndpoint(
    "/drain_listeners", "drain listeners", isMutating: true,
    parameters: [
      Parameter(
        name: "graceful",
        help: "When draining listeners, enter a graceful drain period prior to closing listeners. "
          + "The period is configurable by --drain-time-s", isFlag: true),
      Parameter(
        name: "skip_exit",
        help: "When draining listeners, drain the connections but never stop the listeners. "
          + "The graceful parameter has no effect when this is set", isFlag: true),
      Parameter(
        name: "inboundonly", help: "Drains the listeners with traffic_direction INBOUND only", isFlag: true),
    ]
  ) { request, context in
    context.drainListeners(
      graceful: request.isSet("graceful"), inboundOnly: request.isSet("inboundonly"),
      skipExit: request.isSet("skip_exit"))
    return .ok
  }

  static let healthCheckFail = AdminEndpoint(
    "/healthcheck/fail", "cause the server to fail health checks", isMutating: true
  ) { _, context in
    context.failHealthCheck(true)
    return .ok
  }

  static let healthCheckOK = AdminEndpoint(
    "/healthcheck/ok", "cause the server to pass health checks", isMutating: true
  ) { _, context in
    context.failHealthCheck(false)
    return .ok
  }

  static let quit = AdminEndpoint("/quitquitquit", "exit the server", isMutating: true) { _, context in
    var response = AdminResponse.ok
    response.afterwards = { [weak context] in context?.quit() }
    return response
  }

  static let resetCounters = AdminEndpoint(
    "/reset_counters", "reset all counters to zero", isMutating: true
  ) { _, context in
    context.stats.resetCounters(at: ProcessClock.wall())
    return .ok
  }

  static let reopenLogs = AdminEndpoint("/reopen_logs", "reopen access logs", isMutating: true) { _, context in
    context.reopenLogs()
    return .ok
  }
}
