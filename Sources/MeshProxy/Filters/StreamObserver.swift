import MeshHTTP

/// A filter, or the part of one, that is told what becomes of every request without being led through: no object stands for
/// it in a stream. One for each connection manager and worker; confined to the worker.
protocol StreamObserver: AnyObject {
  /// A response's head is past the last filter, on its way to the client. It may be changed.
  func willSend(_ headers: HeaderMap, of stream: Stream)
  /// A call of gRPC has had messages, of which `stream.peers` knows the numbers; told of the first one only.
  func didCountMessages(of stream: Stream)
  /// The stream is over, however it ended; its information is complete.
  func didFinish(_ stream: Stream)
}

extension StreamObserver {
  func willSend(_ headers: HeaderMap, of stream: Stream) {}
  func didCountMessages(of stream: Stream) {}
  func didFinish(_ stream: Stream) {}
}

/// The configuration of a filter that observes. In a chain of its own for upgrades such a filter is refused: that of
/// `http_filters` is told of those requests, too.
protocol ObserverConfiguration: FilterConfiguration {
  func makeObserver(worker: Worker) -> any StreamObserver
  /// Nothing else is to be done for a request.
  var onlyObserves: Bool { get }
}

/// A filter that lets everything pass: what stands in the chain for one that only observes, where something has to.
final class PassingFilter: StreamFilter {}

/// An observer with its place in the chain, by which routes say that a filter is not for their requests.
struct PlacedObserver {
  let place: Int
  let observer: any StreamObserver
}

extension ConnectionManagerConfiguration {
  func makeObservers(_ worker: Worker) -> [PlacedObserver] {
    filters.enumerated().compactMap { place, filter in
      (filter as? any ObserverConfiguration).map {
        PlacedObserver(place: place, observer: $0.makeObserver(worker: worker))
      }
    }
  }
}

extension ConnectionManager {
  @inline(never)
  func tellOfResponse(_ headers: HeaderMap, _ stream: Stream) {
    forEachObserver(of: stream) { $0.willSend(headers, of: stream) }
  }

  func tellOfMessages(_ stream: Stream) { forEachObserver(of: stream) { $0.didCountMessages(of: stream) } }

  @inline(never)
  func tellOfEnd(_ stream: Stream) {
    forEachObserver(of: stream) { $0.didFinish(stream) }
    stream.peers = StreamPeers()
  }

  @inline(__always)
  private func forEachObserver(of stream: Stream, _ body: (any StreamObserver) -> Void) {
    for placed in observers {
      if observersDependOnRoute, !configuration.routeFilters.isEnabled(placed.place, for: stream.info.route) {
        continue
      }
      body(placed.observer)
    }
  }
}
