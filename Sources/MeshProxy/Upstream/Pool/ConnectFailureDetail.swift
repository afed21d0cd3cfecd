/// Words for why `connect` failed, as response code details have them.
enum ConnectFailureDetail {
  /// Whether it was the other end that did not want, or was not there: nobody listens (at a Unix socket's path: no such
  /// file, or its queue is full), or no way leads there.
  static func isRemote(errno: Int32) -> Bool {
    switch errno {
    case 111, 113, 101, 2, 11: true
    default: false
    }
  }

  /// The kernel refused at once.
  static func detail(immediate errno: Int32) -> StaticString {
    switch errno {
    case 0: ""
    case 2: "immediate_connect_error:_No_such_file_or_directory"
    case 11: "immediate_connect_error:_Resource_temporarily_unavailable"
    case 13: "immediate_connect_error:_Permission_denied"
    case 22: "immediate_connect_error:_Invalid_argument"
    case 24: "immediate_connect_error:_Too_many_open_files"
    case 99: "immediate_connect_error:_Cannot_assign_requested_address"
    case 101: "immediate_connect_error:_Network_is_unreachable"
    case 111: "immediate_connect_error:_Connection_refused"
    case 113: "immediate_connect_error:_No_route_to_host"
    default: "immediate_connect_error"
    }
  }

  /// The attempt was on its way.
  static func detail(delayed errno: Int32) -> StaticString {
    switch errno {
    case 0: ""
    case 101: "delayed_connect_error:_Network_is_unreachable"
    case 104: "delayed_connect_error:_Connection_reset_by_peer"
    case 110: "delayed_connect_error:_Connection_timed_out"
    case 111: "delayed_connect_error:_Connection_refused"
    case 113: "delayed_connect_error:_No_route_to_host"
    default: "delayed_connect_error"
    }
  }
}
