/// The filters that requests for a tunnel of one kind meet in place of the others, the router at their end
/// (`HttpConnectionManager.UpgradeConfig.filters`). Immutable; shared by all threads.
final class UpgradeFilters: Sendable {
  /// Those before the router.
  let filters: [any FilterConfiguration]
  /// Where they are in the chain.
  let places: [Int]
  /// What routes say to them.
  let routeFilters: RouteFilters
  let router: RouterFilter.Configuration

  init(filters: [any FilterConfiguration], routeFilters: RouteFilters, router: RouterFilter.Configuration) {
    self.filters = filters
    places = Array(filters.indices)
    self.routeFilters = routeFilters
    self.router = router
  }
}
