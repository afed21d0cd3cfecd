import MeshAPI
import MeshPrimitives
import MeshRouting

/// A request whose parts live as long as it does.
final class TestRequest: RouteRequest {
  private var buffers: [UnsafeMutableBufferPointer<UInt8>] = []
  private(set) var host = Bytes(start: nil, count: 0)
  private(set) var path = Bytes(start: nil, count: 0)
  private(set) var method = Bytes(start: nil, count: 0)
  private var headers: [(HeaderName, Bytes)] = []

  init(
    _ path: String = "/", host: String = "example.com", method: String = "GET", headers: [(String, String)] = []
  ) {
    self.path = hold(path)
    self.host = hold(host)
    self.method = hold(method)
    self.headers = headers.map { (HeaderName($0.0), hold($0.1)) }
  }

  deinit { for buffer in buffers { buffer.deallocate() } }

  private func hold(_ text: String) -> Bytes {
    let utf8 = Array(text.utf8)
    let buffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: utf8.count + 1)
    _ = buffer.initialize(from: utf8 + [0])
    buffers.append(buffer)
    return Bytes(start: buffer.baseAddress.map { UnsafePointer($0) }, count: utf8.count)
  }

  func header(_ name: HeaderName) -> Bytes? { headers.first { $0.0 == name }?.1 }

  func forEachHeader(_ name: HeaderName, _ body: (Bytes) -> Bool) {
    for (known, value) in headers where known == name {
      if !body(value) { return }
    }
  }
}

extension RouteTable {
  /// The name of the route that is taken; nil if there is none.
  func route(_ request: TestRequest, random: UInt64 = 0) -> String? { match(request, random: random)?.name }
}

extension RouteEntry {
  var forward: ForwardAction? {
    if case .forward(let action) = action { action } else { nil }
  }
  var direct: DirectResponse? {
    if case .directResponse(let response) = action { response } else { nil }
  }
}

/// A route with a name, to a cluster `c`.
func route(_ name: String, _ configure: (inout RouteMatch) -> Void) -> Route {
  var route = Route()
  route.name = name
  route.route.cluster = "c"
  configure(&route.match)
  return route
}

func virtualHost(_ name: String, _ domains: [String], _ routes: [Route]) -> VirtualHost {
  var host = VirtualHost()
  host.name = name
  host.domains = domains
  host.routes = routes
  return host
}

func configuration(_ hosts: [VirtualHost]) -> RouteConfiguration {
  var configuration = RouteConfiguration()
  configuration.name = "r"
  configuration.virtualHosts = hosts
  return configuration
}

func configuration(_ routes: [Route]) -> RouteConfiguration { configuration([virtualHost("v", ["*"], routes)]) }

func option(_ key: String, _ value: String, _ action: HeaderValueOption.HeaderAppendAction = .appendIfExistsOrAdd)
  -> HeaderValueOption
{
  var option = HeaderValueOption()
  option.header.key = key
  option.header.value = value
  option.appendAction = action
  return option
}
