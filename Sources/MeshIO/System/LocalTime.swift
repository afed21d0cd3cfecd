import Glibc

/// The machine's time zone (`TZ`, `/etc/localtime`).
public enum LocalTime {
  /// What the local clock shows at an instant.
  /// - Parameter unixSeconds: seconds since 1970 (UTC).
  /// - Returns: seconds to add to UTC, and the zone's abbreviation there (`CET`).
  public static func zone(at unixSeconds: Int64) -> (offset: Int, name: String) {
    var seconds = time_t(unixSeconds)
    var parts = tm()
    guard localtime_r(&seconds, &parts) != nil else { return (0, "UTC") }
    return (parts.tm_gmtoff, parts.tm_zone.map { String(cString: $0) } ?? "UTC")
  }
}
