import MeshPrimitives

/// `overload.<name of a resource monitor>.…`: the main thread's.
enum ResourceStat: Int, StatSet {
  case pressure, failedUpdates, skippedUpdates

  var definition: StatDefinition {
    switch self {
    case .pressure: .gauge("pressure")
    case .failedUpdates: .counter("failed_updates")
    case .skippedUpdates: .counter("skipped_updates")
    }
  }
}

/// `overload.<name of an action>.…`: the main thread's.
enum OverloadActionStat: Int, StatSet {
  case active, scalePercent

  var definition: StatDefinition {
    switch self {
    case .active: .gauge("active")
    case .scalePercent: .gauge("scale_percent")
    }
  }
}

/// `overload.<name of a load shed point>.…`
enum LoadShedStat: Int, StatSet {
  case scalePercent, count

  var definition: StatDefinition {
    switch self {
    case .scalePercent: .gauge("scale_percent")
    case .count: .counter("shed_load_count")
    }
  }
}

/// `overload.<name of the action shrink_heap>.…`: the main thread's.
enum HeapShrinkStat: Int, StatSet {
  case count

  var definition: StatDefinition { .counter("shrink_count") }
}

/// `envoy.overload_actions.reset_high_memory_stream.…`
enum StreamResetStat: Int, StatSet {
  case count

  var definition: StatDefinition { .counter("count") }
}
