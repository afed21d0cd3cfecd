/// What is wrong with a route configuration, and where.
public struct RouteProblem: Error, Equatable, Sendable, CustomStringConvertible {
  /// The field, from the message that was given to `RouteTable.build` on: `virtual_hosts[0].domains[1]`.
  public let path: String
  /// What is wrong, and what is allowed.
  public let message: String

  public init(path: String, message: String) {
    self.path = path
    self.message = message
  }

  public var description: String { path.isEmpty ? message : "\(path): \(message)" }
}
