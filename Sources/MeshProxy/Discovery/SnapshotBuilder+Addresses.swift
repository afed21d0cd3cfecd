import MeshAPI
import MeshIO
import MeshPrimitives

extension SnapshotBuilder {
  /// An IP address with a port. - Parameter purpose: completes "must be an IP address …".
  mutating func ipAddress(
    _ socket: Envoy_Config_Core_V3_SocketAddress, _ path: String, _ purpose: String
  ) -> MeshPrimitives.SocketAddress? {
    if socket.ipv4Compat { report("\(path).ipv4_compat", "is for addresses that are listened on") }
    guard let ip = IPAddress(socket.address) else {
      report("\(path).address", "must be an IP address \(purpose), not \"\(socket.address)\"")
      return nil
    }
    return SocketAddress(ip, port: UInt16(truncatingIfNeeded: socket.portValue))
  }

  mutating func unixAddress(_ pipe: Pipe, _ path: String) -> MeshPrimitives.SocketAddress? {
    if let address = SocketAddress(unixPath: pipe.path), pipe.path != "@" { return address }
    report("\(path).path", "must have 1 to 107 bytes, without zero bytes, not \(pipe.path.utf8.count)")
    return nil
  }

  /// All addresses of a listener, its own first. Reports what is wrong with them; nil if its own is.
  mutating func addresses(_ listener: Listener, _ path: String) -> [ListenAddress]? {
    var options = ListenOptions()
    if listener.hasTcpBacklogSize { options.backlog = Int32(clamping: listener.tcpBacklogSize.value) }
    options.transparent = listener.transparent.value
    options.freeBind = listener.freebind.value
    if listener.hasTcpFastOpenQueueLength {
      if listener.tcpFastOpenQueueLength.value > 65535 {
        report("\(path).tcp_fast_open_queue_length", "must be at most 65535")
      }
      options.fastOpenQueue = Int32(clamping: listener.tcpFastOpenQueueLength.value)
    }
    options.sharesQueue = listener.hasEnableReusePort && !listener.enableReusePort.value
    let own = socketOptions(listener.socketOptions, "\(path).socket_options")
    options.raw = own
    guard let first = listenAddress(listener.address, options, "\(path).address") else { return nil }
    var result = [first]
    for (index, additional) in listener.additionalAddresses.enumerated() {
      let additionalPath = "\(path).additional_addresses[\(index)]"
      options.raw =
        additional.hasSocketOptions
        ? socketOptions(additional.socketOptions.socketOptions, "\(additionalPath).socket_options.socket_options") : own
      if let next = listenAddress(additional.address, options, "\(additionalPath).address") { result.append(next) }
    }
    return result
  }

  /// An address to listen on, with what its sockets need.
  mutating func listenAddress(_ address: Address, _ options: ListenOptions, _ path: String) -> ListenAddress? {
    var options = options
    switch address.address {
    case .socketAddress(let socket):
      guard let ip = IPAddress(socket.address) else {
        report("\(path).socket_address.address", "\"\(socket.address)\" is no IP address")
        return nil
      }
      if socket.ipv4Compat, ip.family == .v4 || !ip.isUnspecified {
        report("\(path).socket_address.ipv4_compat", "is for the address \"::\"")
      }
      options.acceptsV4 = socket.ipv4Compat
      return ListenAddress(SocketAddress(ip, port: UInt16(truncatingIfNeeded: socket.portValue)), options)
    case .pipe(let pipe):
      guard let unix = unixAddress(pipe, "\(path).pipe") else { return nil }
      if pipe.mode != 0 {
        if !unix.isPathName { report("\(path).pipe.mode", "an abstract socket has no permissions") }
        options.mode = pipe.mode
      }
      return ListenAddress(unix, options)
    case nil:
      report(path, "is required (socket_address or pipe)")
      return nil
    }
  }

  mutating func socketOptions(_ options: [SocketOption], _ path: String) -> [RawSocketOption] {
    var result: [RawSocketOption] = []
    for (index, option) in options.enumerated() {
      let optionPath = "\(path)[\(index)]"
      guard let level = Int32(exactly: option.level), let name = Int32(exactly: option.name) else {
        report(optionPath, "level and name must be numbers of 32 bits")
        continue
      }
      let state: RawSocketOption.State =
        switch option.state {
        case .stateBound: .bound
        case .stateListening: .listening
        default: .beforeBind
        }
      switch option.value {
      case .bufValue(let bytes):
        result.append(RawSocketOption(level: level, name: name, value: Array(bytes), state: state))
      case .intValue(let wide):
        guard let value = Int32(exactly: wide) else {
          report("\(optionPath).int_value", "must be a number of 32 bits, not \(wide)")
          continue
        }
        result.append(RawSocketOption(level: level, name: name, value: value, state: state))
      case nil:
        report(optionPath, "needs int_value or buf_value")
      }
    }
    return result
  }
}
