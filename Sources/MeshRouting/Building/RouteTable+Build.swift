import MeshAPI
import MeshPrimitives

extension RouteTable {
  /// Gives the bytes of a data source, or says why there are none.
  public typealias DataLoader = (DataSource) -> Result<[UInt8], RouteProblem>
  /// Compiles a text with operators; nil: it is to be taken as it is. A problem's path lies below the text's field.
  public typealias FormatCompiler = (String) -> Result<(any HeaderValueFormat)?, RouteProblem>

  /// Checks and compiles a route configuration.
  /// - Parameters:
  ///   - path: where the configuration stands; the problems' paths begin with it.
  ///   - runtime: where runtime keys have their values.
  ///   - formats: how texts with operators are compiled. Without it, they are refused.
  ///   - load: how the bodies of direct responses are read. Without it, only `inline_string` and `inline_bytes` are
  ///     taken, so that building stays free of input and output.
  /// - Returns: the table, or nil and everything that is wrong. Clusters that do not exist are not noticed here: see
  ///   `clusterNames`.
  public static func build(
    _ configuration: RouteConfiguration, path: String = "", runtime: Runtime = Runtime(),
    formats: @escaping FormatCompiler = RouteTable.refuseFormats, load: @escaping DataLoader = RouteTable.loadInline
  ) -> (table: RouteTable?, problems: [RouteProblem]) {
    build(configuration, path: path, indexed: nil, runtime: runtime, formats: formats, load: load)
  }

  /// - Parameter indexed: for tests, whether indexes are made; nil: as the number of routes suggests.
  static func build(
    _ configuration: RouteConfiguration, path: String, indexed: Bool?, runtime: Runtime = Runtime(),
    formats: @escaping FormatCompiler = RouteTable.refuseFormats, load: @escaping DataLoader = RouteTable.loadInline
  ) -> (table: RouteTable?, problems: [RouteProblem]) {
    var builder = RouteTableBuilder(runtime: runtime, formats: formats, load: load, indexed: indexed)
    let table = builder.build(configuration, prefix: path.isEmpty ? "" : path + ".")
    return (builder.problems.isEmpty ? table : nil, builder.problems)
  }

  /// Takes `inline_string` and `inline_bytes`; nothing else.
  public static func loadInline(_ source: DataSource) -> Result<[UInt8], RouteProblem> {
    switch source.specifier {
    case nil: .success([])
    case .inlineString(let text): .success(Array(text.utf8))
    case .inlineBytes(let bytes): .success(Array(bytes))
    case .filename: .failure(RouteProblem(path: "filename", message: "cannot be read here; use inline_string"))
    case .environmentVariable:
      .failure(RouteProblem(path: "environment_variable", message: "cannot be read here; use inline_string"))
    }
  }

  /// Takes no text with operators.
  public static func refuseFormats(_ text: String) -> Result<(any HeaderValueFormat)?, RouteProblem> {
    .failure(RouteProblem(path: "", message: "'\(text)': operators are not available here ('%%' is a percent sign)"))
  }
}
