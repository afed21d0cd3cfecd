import MeshHTTP

/// `envoy.load_shed_points.http_downstream_filter_check`: answers requests with 503 instead of sending them to their
/// upstream. In no configuration's list: it comes behind all other filters while there is pressure.
final class OverloadFilter: StreamFilter {
  private let callbacks: StreamFilterCallbacks

  init(_ callbacks: StreamFilterCallbacks) { self.callbacks = callbacks }

  func requestHeaders(_ headers: HeaderMap, endStream: Bool) -> FilterStatus {
    // What the proxy answers by itself costs little, and goes on.
    guard callbacks.cluster != nil, callbacks.stream.worker.overload?.sheds(.downstreamFilterCheck) == true else {
      return .proceed
    }
    // In the router's place.
    callbacks.stream.count(.routerTotal)
    callbacks.stream.count(.requestOverloadReply)
    callbacks.sendLocalReply(.overloaded)
    return .stop
  }
}
