/// A place in a configuration text.
public struct SourcePosition: Sendable, Equatable, Comparable {
  /// Line, the first one is 1.
  public var line: Int
  /// Column in characters (Unicode scalars), the first one is 1.
  public var column: Int

  public init(line: Int, column: Int) {
    self.line = line
    self.column = column
  }

  public static func < (a: SourcePosition, b: SourcePosition) -> Bool {
    (a.line, a.column) < (b.line, b.column)
  }
}
