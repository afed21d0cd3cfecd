/// The filters that a request meets, the router at their end. Immutable; shared by all threads.
final class StreamFilterChain: Sendable {
  /// Those before the router.
  let filters: [any FilterConfiguration]
  /// What routes say to them.
  let routeFilters: RouteFilters
  let router: RouterFilter.Configuration

  init(filters: [any FilterConfiguration], routeFilters: RouteFilters, router: RouterFilter.Configuration) {
    self.filters = filters
    self.routeFilters = routeFilters
    self.router = router
  }
}
