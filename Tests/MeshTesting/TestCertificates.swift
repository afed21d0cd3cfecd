/// The certificates in `Tests/Certificates`, by the name of their file.
public enum TestCertificates {
  /// The directory they are in.
  public static let directory: String = {
    let here = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/")
    return "\(here)/Certificates"
  }()

  /// The path of `<name>.pem`.
  public static func path(_ name: String) -> String { "\(directory)/\(name).pem" }

  /// The contents of `<name>.pem`.
  public static func text(_ name: String) -> String { TemporaryDirectory.contents(path(name)) }

  /// The same, as bytes.
  public static func bytes(_ name: String) -> [UInt8] { Array(text(name).utf8) }
}
