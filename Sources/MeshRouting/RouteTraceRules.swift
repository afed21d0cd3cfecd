import MeshAPI
import MeshPrimitives

/// What a route says of the traces that its requests belong to (`Route.tracing`). Immutable; shared by all threads.
public final class RouteTraceRules: Sendable {
  /// How many of the requests that ask for it are traced (`client_sampling`).
  public let client: Fraction
  /// How many of those that nobody has decided about (`random_sampling`).
  public let random: Fraction
  /// How many of those that would be for another reason (`overall_sampling`).
  public let overall: Fraction
  /// The rest, which whoever writes spans compiles.
  public let message: RouteTracing
  /// Where the message stands, for errors.
  public let path: String

  init(_ message: RouteTracing, path: String) {
    client = message.hasClientSampling ? Fraction(message.clientSampling) : .all
    random = message.hasRandomSampling ? Fraction(message.randomSampling) : .all
    overall = message.hasOverallSampling ? Fraction(message.overallSampling) : .all
    self.message = message
    self.path = path
  }
}
