import Glibc
import MeshAPI
import MeshTesting
import Testing

@testable import MeshConfig

@Suite struct DataSourceTests {
  private func problem(_ source: DataSource, limit: Int = 10) -> String? {
    do {
      _ = try DataSourceReader.bytes(of: source, limit: limit)
      return nil
    } catch { return error.description }
  }

  @Test func everySource() throws {
    let directory = try TemporaryDirectory()
    let file = try directory.write("a", "from file")
    #expect(try DataSourceReader.bytes(of: .with { $0.filename = file }) == Array("from file".utf8))
    #expect(try DataSourceReader.bytes(of: .with { $0.inlineString = "text" }) == Array("text".utf8))
    #expect(try DataSourceReader.bytes(of: .with { $0.inlineBytes = .init([0, 255]) }) == [0, 255])
    // Not set here: other threads read the environment while this test runs.
    let path = try #require(getenv("PATH").map { String(cString: $0) })
    #expect(try DataSourceReader.bytes(of: .with { $0.environmentVariable = "PATH" }) == Array(path.utf8))
    let variable = DataSource.with { $0.environmentVariable = "MARTLET_DATA_SOURCE_TEST" }
    #expect(problem(variable) == "the environment variable \"MARTLET_DATA_SOURCE_TEST\" is not set")
  }

  @Test func failures() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write("a", "0123456789")
    #expect(problem(.with { $0.filename = path }) == nil)
    #expect(problem(.with { $0.filename = path }, limit: 9) == "\(quoted(path)) is longer than 9 bytes")
    #expect(
      problem(.with { $0.filename = "/nonexistent" }) == "\"/nonexistent\" cannot be read: No such file or directory")
    #expect(problem(.with { $0.inlineString = "0123456789a" }) == "has 11 bytes (at most 10 are allowed)")
    #expect(problem(DataSource()) == "does not say where its content is")
  }
}
