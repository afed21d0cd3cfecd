import MeshPrimitives

/// `server.…`: the main thread's, but for `stale_events`, to which every loop adds its own.
public enum ServerStat: Int, StatSet {
  case live, state, uptime, concurrency, memoryAllocated, memoryHeapSize, memoryPhysicalSize
  case totalConnections, parentConnections, hotRestartEpoch, version, daysUntilFirstCertificateExpires
  case reloadSuccess, reloadFailure, staleEvents

  public var definition: StatDefinition {
    switch self {
    case .live: .gauge("live", "1 while the process serves and is not ending.")
    case .state: .gauge("state", "0 live, 1 draining, 2 pre-initializing, 3 initializing.")
    case .uptime: .gauge("uptime", "Seconds since the start.")
    case .concurrency: .gauge("concurrency", "Workers.")
    case .memoryAllocated: .gauge("memory_allocated", "Bytes that malloc has handed out.")
    case .memoryHeapSize: .gauge("memory_heap_size", "Bytes that malloc has from the kernel.")
    case .memoryPhysicalSize: .gauge("memory_physical_size", "Resident memory in bytes.")
    case .parentConnections: .gauge("parent_connections", "0: a process takes over by inheriting sockets.")
    case .hotRestartEpoch: .gauge("hot_restart_epoch", "0: a process takes over by inheriting sockets.")
    case .version: .gauge("version", "The version as a number: 1.2.3 is 1002003.")
    case .daysUntilFirstCertificateExpires:
      .gauge("days_until_first_cert_expiring", "Days until the first certificate ends. 4294967295: there is none.")
    case .totalConnections: .gauge("total_connections", "Connections of all listeners.")
    case .reloadSuccess: .counter("config_reload_success", "Reloads that were used. Not Envoy's.")
    case .reloadFailure:
      .counter("config_reload_failure", "Reloads that were not used because of a mistake. Not Envoy's.")
    case .staleEvents:
      .counter(
        "stale_events", "Events dropped because their descriptor was closed in the same batch. Harmless. Not Envoy's.")
    }
  }
}

/// `runtime.…`: the main thread's.
public enum RuntimeStat: Int, StatSet {
  case loadSuccess, loadError, overrideDirectoryExists, overrideDirectoryMissing
  case keys, layers, adminOverridesActive

  public var definition: StatDefinition {
    switch self {
    case .loadSuccess: .counter("load_success", "Times the layers were put in use.")
    case .loadError: .counter("load_error", "Times a disk layer could not be read.")
    case .overrideDirectoryExists: .counter("override_dir_exists", "Times there was a disk layer's directory.")
    case .overrideDirectoryMissing: .counter("override_dir_not_exists", "Times there was no disk layer's directory.")
    case .keys: .gauge("num_keys", "Keys in use.")
    case .layers: .gauge("num_layers", "Layers in use.")
    case .adminOverridesActive: .gauge("admin_overrides_active", "1 while the admin layer has a key.")
    }
  }
}

/// `listener_manager.…`: the main thread's.
public enum ListenerUpdateStat: Int, StatSet {
  case added, modified, removed, createSuccess, createFailure
  case active, draining, warming, workersStarted

  public var definition: StatDefinition {
    switch self {
    case .added: .counter("listener_added", "Listeners that a configuration brought.")
    case .modified: .counter("listener_modified", "Listeners that a configuration changed.")
    case .removed: .counter("listener_removed", "Listeners that a configuration took away.")
    case .createSuccess: .counter("listener_create_success", "Listeners put in force, by worker.")
    case .createFailure: .counter("listener_create_failure", "Addresses of listeners that could not be had.")
    case .active: .gauge("total_listeners_active", "Listeners in force.")
    case .draining: .gauge("total_listeners_draining", "Listeners that are ending.")
    case .warming: .gauge("total_listeners_warming", "Listeners that wait for the start.")
    case .workersStarted: .gauge("workers_started", "1 when the workers serve.")
    }
  }
}

/// `cluster_manager.…`: the main thread's.
public enum ClusterUpdateStat: Int, StatSet {
  case added, modified, removed, active, warming

  public var definition: StatDefinition {
    switch self {
    case .added: .counter("cluster_added", "Clusters that a configuration brought.")
    case .modified: .counter("cluster_modified", "Clusters that a configuration changed.")
    case .removed: .counter("cluster_removed", "Clusters that a configuration took away.")
    case .active: .gauge("active_clusters", "Clusters in force.")
    case .warming: .gauge("warming_clusters", "Clusters that wait for the start.")
    }
  }
}
