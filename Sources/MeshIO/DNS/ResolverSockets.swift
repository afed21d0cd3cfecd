internal import CCAres
import Glibc
import MeshPrimitives

/// A c-ares channel whose sockets are watched by an event loop. The one file that knows c-ares' types.
final class ResolverSockets {
  /// Called after c-ares has done something: its next timeout may have changed.
  var activity: () -> Void = {}

  /// The result of the library's initialisation, which is done once and not thread-safe by itself.
  private static let library = ares_library_init(ARES_LIB_INIT_ALL)

  private let loop: EventLoop
  private var channel: ares_channel?
  private var watched: [Int32: ResolverSocket] = [:]

  init(_ loop: EventLoop, _ options: ResolverOptions) throws(ResolveError) {
    self.loop = loop
    if Self.library != 0 { throw ResolveError(status: Self.library, "c-ares") }
    var settings = ares_options()
    settings.timeout = Int32(clamping: max(1, options.timeout.wholeMilliseconds))
    settings.tries = Int32(clamping: max(1, options.tries))
    settings.sock_state_cb = { data, socket, readable, writable in
      guard let data else { return }
      Unmanaged<ResolverSockets>.fromOpaque(data).takeUnretainedValue().watch(socket, readable != 0, writable != 0)
    }
    settings.sock_state_cb_data = Unmanaged.passUnretained(self).toOpaque()
    settings.flags = (options.usesTCP ? ARES_FLAG_USEVC : 0) | (options.ignoresSearchDomains ? ARES_FLAG_NOSEARCH : 0)
    // Also an empty list of search domains: ares_getaddrinfo of some versions does not look at the flag.
    let mask =
      ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS
      | ARES_OPT_RESOLVCONF | (options.rotates ? ARES_OPT_ROTATE : ARES_OPT_NOROTATE)
      | (options.ignoresSearchDomains ? ARES_OPT_DOMAINS : 0)
    // A hosts file before DNS, whatever nsswitch.conf says.
    let status = "fb".withCString { lookups in
      options.systemConfiguration.withCString { path in
        settings.lookups = UnsafeMutablePointer(mutating: lookups)
        settings.resolvconf_path = UnsafeMutablePointer(mutating: path)
        return ares_init_options(&channel, &settings, mask)
      }
    }
    guard status == 0, let channel else { throw ResolveError(status: status, "c-ares") }
    if !options.servers.isEmpty, !options.serversAreFallback || !Self.namesServers(options.systemConfiguration) {
      let list = options.servers.map(\.description).joined(separator: ",")
      let set = ares_set_servers_ports_csv(channel, list)
      if set != 0 {
        close()
        throw ResolveError(status: set, list)
      }
    }
  }

  /// Whether a file like `/etc/resolv.conf` has a line `nameserver …`.
  private static func namesServers(_ path: String) -> Bool {
    guard let text = try? FileContents.text(path, limit: 1 << 20) else { return false }
    return text.split(separator: "\n").contains { line in
      line.drop { $0 == " " || $0 == "\t" }.hasPrefix("nameserver")
    }
  }

  deinit { close() }

  /// Ends all queries without an answer and closes the sockets.
  func close() {
    guard let channel else { return }
    self.channel = nil
    ares_destroy(channel)
  }

  /// Asks for a name. `done` may be called before this returns; it must not start another query. It is not called when
  /// the channel is closed first.
  func query(
    _ host: String, family: Int32, flags: Int32, _ done: @escaping (Result<ResolvedAddresses, ResolveError>) -> Void
  ) {
    guard let channel else { return }
    var hints = ares_addrinfo_hints()
    hints.ai_family = family
    hints.ai_flags = flags
    // Otherwise each address comes once for each kind of socket.
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    let query = Unmanaged.passRetained(ResolverQuery(host, done)).toOpaque()
    ares_getaddrinfo(
      channel, host, nil, &hints,
      { argument, status, _, list in
        guard let argument else { return }
        let query = Unmanaged<ResolverQuery>.fromOpaque(argument).takeRetainedValue()
        defer { if let list { ares_freeaddrinfo(list) } }
        if status == ARES_EDESTRUCTION { return }
        query.answer(status, list)
      }, query)
  }

  /// Lets c-ares look at its timeouts.
  func process() { process(read: -1, write: -1) }

  fileprivate func process(read: Int32, write: Int32) {
    guard let channel else { return }
    ares_process_fd(channel, read, write)
    activity()
  }

  /// How long c-ares can be left alone; nil when nothing is pending.
  var nextTimeout: Nanoseconds? {
    guard let channel else { return nil }
    var time = timeval()
    guard ares_timeout(channel, nil, &time) != nil else { return nil }
    let microseconds = max(0, time.tv_sec) * 1_000_000 + max(0, Int(time.tv_usec))
    return Nanoseconds(rawValue: UInt64(microseconds) * 1000)
  }

  private func watch(_ fd: Int32, _ readable: Bool, _ writable: Bool) {
    if !readable && !writable {
      if watched.removeValue(forKey: fd) != nil { loop.deregister(fd) }
      return
    }
    let interest: IOInterest = readable && writable ? .levelReadWrite : writable ? .levelWrite : .levelRead
    // A descriptor that cannot be watched is left to c-ares' timeout.
    if watched[fd] != nil {
      try? loop.modify(fd, interest: interest)
    } else {
      let socket = ResolverSocket(fd, self)
      if (try? loop.register(fd, socket, interest: interest)) != nil { watched[fd] = socket }
    }
  }
}

/// One of the channel's sockets.
private final class ResolverSocket: IOHandler {
  private let fd: Int32
  private unowned(unsafe) let channel: ResolverSockets

  init(_ fd: Int32, _ channel: ResolverSockets) {
    self.fd = fd
    self.channel = channel
  }

  func ready(_ events: IOEvents) {
    let failed = !events.isDisjoint(with: [.error, .hangup])
    channel.process(
      read: failed || events.contains(.readable) ? fd : -1, write: failed || events.contains(.writable) ? fd : -1)
  }
}

/// What is waiting for an answer.
private final class ResolverQuery {
  private let host: String
  private let done: (Result<ResolvedAddresses, ResolveError>) -> Void

  init(_ host: String, _ done: @escaping (Result<ResolvedAddresses, ResolveError>) -> Void) {
    self.host = host
    self.done = done
  }

  func answer(_ status: Int32, _ list: UnsafeMutablePointer<ares_addrinfo>?) {
    guard status == 0, let list else { return done(.failure(ResolveError(status: status, host))) }
    var addresses: [IPAddress] = []
    var seen: Set<IPAddress> = []
    var seconds = Int32.max
    var node = list.pointee.nodes
    while let current = node, addresses.count < Resolver.maximumAddresses {
      if let address = Self.address(current.pointee), seen.insert(address).inserted {
        addresses.append(address)
        seconds = min(seconds, current.pointee.ai_ttl)
      }
      node = current.pointee.ai_next
    }
    var alias = list.pointee.cnames
    while let current = alias {
      seconds = min(seconds, current.pointee.ttl)
      alias = current.pointee.next
    }
    guard !addresses.isEmpty else { return done(.failure(ResolveError(.notFound, host, "no address"))) }
    // IPv4 first where both were asked for.
    addresses = addresses.filter { $0.family == .v4 } + addresses.filter { $0.family == .v6 }
    done(.success(ResolvedAddresses(addresses: addresses, timeToLive: .seconds(UInt64(max(0, seconds))))))
  }

  private static func address(_ node: ares_addrinfo_node) -> IPAddress? {
    guard let raw = UnsafeRawPointer(node.ai_addr) else { return nil }
    if node.ai_family == AF_INET, Int(node.ai_addrlen) >= MemoryLayout<sockaddr_in>.size {
      return IPAddress(v4: UInt32(bigEndian: raw.loadUnaligned(as: sockaddr_in.self).sin_addr.s_addr))
    }
    if node.ai_family == AF_INET6, Int(node.ai_addrlen) >= MemoryLayout<sockaddr_in6>.size {
      let address = raw.loadUnaligned(as: sockaddr_in6.self)
      return withUnsafeBytes(of: address.sin6_addr) { bytes in
        IPAddress(
          v6: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
          UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)), scope: address.sin6_scope_id)
      }
    }
    return nil
  }
}
