/// Why a piece of test support gave up, with what it had seen until then.
public struct TestFailure: Error, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}
