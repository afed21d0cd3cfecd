import MeshAPI
import MeshConfig
import MeshRouting

/// Route tables, and what they say to filters.
extension SnapshotBuilder {
  /// The route table of a connection manager; nil after a problem.
  mutating func routeTable(_ configuration: RouteConfiguration, _ path: String) -> RouteTable? {
    let (table, problems) = RouteTable.build(
      configuration, path: path, runtime: identities.runtime, formats: HeaderFormat.compile
    ) { source in
      Result { () throws(DataSourceError) in try DataSourceReader.bytes(of: source) }
        .mapError { RouteProblem(path: "", message: $0.description) }
    }
    for problem in problems { report(problem.path, problem.message) }
    return table
  }

  /// How the bodies of direct responses are written, by response.
  mutating func bodyFormats(
    _ table: RouteTable, _ path: String
  ) -> [ObjectIdentifier: LocalReplyMapping.BodyFormat] {
    var result: [ObjectIdentifier: LocalReplyMapping.BodyFormat] = [:]
    for entry in table.entries {
      guard case .directResponse(let response) = entry.action, let format = response.bodyFormat else { continue }
      let route = "\(path).virtual_hosts[\(entry.virtualHostIndex)].routes[\(entry.routeIndex)]"
      result[ObjectIdentifier(response)] = bodyFormat(format, "\(route).direct_response.body_format")
    }
    return result
  }

  /// A filter of the chain under the name the configuration gives it, by which routes speak to it.
  struct NamedFilter {
    let name: String
    let registration: FilterRegistration
    let configuration: any FilterConfiguration
    /// Only routes that say so have it.
    let isDisabled: Bool
  }

  /// What one level of a table says to a filter.
  private enum FilterStatement {
    case configured([Int], any RouteFilterConfiguration)
    case disabled([Int])
  }

  /// Checks what the table says to the filters of a chain, and gives every route what holds for it.
  /// - Parameter others: the filters of other chains; what is said to them alone is no mistake.
  mutating func routeFilters(
    _ table: RouteTable, _ filters: [NamedFilter], beside others: [NamedFilter] = [], _ context: FilterBuildContext
  ) -> RouteFilters {
    let statements = table.filterSources.map { source in
      let isForOthers = !filters.contains { $0.name == source.filter } && others.contains { $0.name == source.filter }
      return isForOthers ? nil : statement(source, filters, context)
    }
    var byRoute: [ObjectIdentifier: RouteFilters.Statements] = [:]
    for entry in table.entries where !entry.filterSources.isEmpty {
      var own = RouteFilters.Statements()
      for source in entry.filterSources {
        switch statements[source] {
        case nil: break
        case .configured(let places, let configuration):
          for place in places {
            own.configurations[place] = configuration
            own.isEnabled[place] = true
          }
        case .disabled(let places): for place in places { own.isEnabled[place] = false }
        }
      }
      byRoute[ObjectIdentifier(entry)] = own
    }
    return RouteFilters(byRoute, disabled: Set(filters.indices.filter { filters[$0].isDisabled }))
  }

  private mutating func statement(
    _ source: RouteFilterSource, _ filters: [NamedFilter], _ context: FilterBuildContext
  ) -> FilterStatement? {
    var config = source.config
    var path = source.path
    var isOptional = false
    let places = filters.indices.filter { filters[$0].name == source.filter }
    if let wrapped: RouteFilterConfig = try? config.unpack() {
      isOptional = wrapped.isOptional
      if wrapped.disabled {
        if places.isEmpty, !isOptional { reportUnknown(source.filter, path, filters, configurable: false) }
        return places.isEmpty ? nil : .disabled(places)
      }
      guard wrapped.hasConfig else {
        report(path + ".config", "is required unless disabled is true")
        return nil
      }
      config = wrapped.config
      path += ".config"
      // Of a type we do not have: the reader has warned of it and left it empty.
      if isOptional, config.typeURL.isEmpty { return nil }
    }
    guard let place = places.first, let make = filters[place].registration.makeForRoute else {
      if !isOptional { reportUnknown(source.filter, path, filters, configurable: true) }
      return nil
    }
    do { return .configured(places, try make(config, context)) } catch {
      report(error.path.isEmpty ? path : "\(path).\(error.path)", error.message)
      return nil
    }
  }

  private mutating func reportUnknown(
    _ name: String, _ path: String, _ filters: [NamedFilter], configurable: Bool
  ) {
    let known = filters.filter { !configurable || $0.registration.makeForRoute != nil }.map(\.name)
    let what = configurable ? "can be configured by routes" : "is in http_filters"
    report(path, "no filter of this name \(what) (\(known.isEmpty ? "there is none" : known.joined(separator: ", ")))")
  }
}
