import MeshHTTP

/// One path of the admin interface.
struct AdminEndpoint: Sendable {
  let path: String
  /// What `/help` says of it, in Envoy's words where Envoy has it.
  let help: String
  /// Changes something, and therefore takes POST only.
  let isMutating: Bool
  /// GET without parameters only looks, whatever `isMutating` says.
  let showsOnGet: Bool
  let parameters: [Parameter]
  let handler: @Sendable (AdminRequest, any AdminContext) -> AdminResponse

  /// What a request may say in its query.
  struct Parameter: Sendable {
    let name: String
    let help: String
    /// The values there are; empty if there are too many to list, or none is needed.
    var choices: [String] = []
    /// Needs no value.
    var isFlag = false
  }

  init(
    _ path: String, _ help: String, isMutating: Bool = false, showsOnGet: Bool = false,
    parameters: [Parameter] = [], _ handler: @escaping @Sendable (AdminRequest, any AdminContext) -> AdminResponse
  ) {
    self.path = path
    self.help = help
    self.isMutating = isMutating
    self.showsOnGet = showsOnGet
    self.parameters = parameters
    self.handler = handler
  }

  /// Every endpoint, in the order of `/help`.
  static let all: [AdminEndpoint] = [
    home, certs, clusters, configDump, contention, cpuProfiler, drainListeners, healthCheckFail, healthCheckOK,
    heapDump,
    heapProfiler, helpPage, hotRestartVersion, initDump, listeners, logging, memory, quit, ready, reopenLogs,
    resetCounters, runtime, runtimeModify, serverInfo, stats, statsPrometheus, statsRecentLookups,
  ]

  /// Finds the endpoint and asks it.
  static func answer(_ request: AdminRequest, _ context: any AdminContext) -> AdminResponse {
    guard let endpoint = all.first(where: { $0.path == request.path }) else {
      return .text("invalid path. admin commands are:\n" + commandList, status: 404)
    }
    let onlyShows = endpoint.showsOnGet && request.parameters.isEmpty && request.method.isGetOrHead
    if endpoint.isMutating, !onlyShows {
      guard request.method == .post else {
        return .text("Method \(request.methodName) not allowed, POST required.", status: 405)
      }
    } else if !request.method.isGetOrHead, request.method != .post {
      return .text("Method \(request.methodName) not allowed, GET required.", status: 405)
    }
    return endpoint.handler(request, context)
  }
}

extension HTTPMethod {
  var isGetOrHead: Bool { self == .get || self == .head }
}
