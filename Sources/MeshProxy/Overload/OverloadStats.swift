import MeshPrimitives

/// `overload.<name of a resource monitor>.…`: the main thread's.
enum ResourceStat: Int, StatSet {
  case pressure, failedUpdates, skippedUpdates

  var definition: StatDefinition {
    switch self {
    case .pressure: .gauge("pressure", "Pressure on a resource, in percent; may be above 100.")
    case .failedUpdates:
      .counter("failed_updates", "Times that a resource could not be read. The pressure stays what it was.")
    case .skippedUpdates: .counter("skipped_updates", "0: nothing that is watched makes anybody wait.")
    }
  }
}

/// `overload.<name of an action>.…`: the main thread's.
enum OverloadActionStat: Int, StatSet {
  case active, scalePercent

  var definition: StatDefinition {
    switch self {
    case .active: .gauge("active", "1 while an action is saturated.")
    case .scalePercent: .gauge("scale_percent", "How strong an action is.")
    }
  }
}

/// `overload.<name of a load shed point>.…`
enum LoadShedStat: Int, StatSet {
  case scalePercent, count

  var definition: StatDefinition {
    switch self {
    case .scalePercent: .gauge("scale_percent", "How strong a load shed point is.")
    case .count: .counter("shed_load_count", "How often something was turned away at a load shed point.")
    }
  }
}

/// `overload.<name of the action shrink_heap>.…`: the main thread's.
enum HeapShrinkStat: Int, StatSet {
  case count

  var definition: StatDefinition { .counter("shrink_count", "How often free memory was given back.") }
}

/// `envoy.overload_actions.reset_high_memory_stream.…`
enum StreamResetStat: Int, StatSet {
  case count

  var definition: StatDefinition { .counter("count", "Streams reset because they held much memory.") }
}
