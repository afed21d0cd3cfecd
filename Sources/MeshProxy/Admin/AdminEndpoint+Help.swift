// `/help` and the home page: both are made from the table of endpoints.

extension AdminEndpoint {
  static let helpPage = AdminEndpoint("/help", "print out list of admin commands") { _, _ in
    .text("admin commands are:\n" + commandList)
  }

  static let home = AdminEndpoint("/", "Admin home page") { _, _ in
    AdminResponse(.html, .bytes(Array(homePage.utf8)))
  }

  /// A line for each endpoint and one for each of its parameters, in Envoy's layout.
  static var commandList: String {
    var text = ""
    for endpoint in all {
      text += "  \(endpoint.path)\(endpoint.isMutating ? " (POST)" : ""): \(endpoint.help)\n"
      for parameter in endpoint.parameters {
        let choices = parameter.choices.isEmpty ? "" : "; One of (\(parameter.choices.joined(separator: ", ")))"
        text += "      \(parameter.name): \(parameter.help)\(choices)\n"
      }
    }
    return text
  }

  /// A form for each endpoint. It needs nothing from anywhere else and runs no script.
  private static var homePage: String {
    var page = """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <title>Martlet admin</title>
      <style>
      body { font-family: sans-serif; }
      td { padding: 4px 12px 4px 4px; vertical-align: top; }
      form { margin: 0; }
      label { display: block; color: #555; padding: 2px 0 2px 16px; }
      </style>
      </head>
      <body>
      <table>
      <tr><th>Command</th><th>Description</th></tr>

      """
    for endpoint in all where endpoint.path != "/" {
      let path = endpoint.path
      page += "<tr><td>"
      if endpoint.isMutating || !endpoint.parameters.isEmpty {
        page += "<form action=\"\(path)\" method=\"\(endpoint.isMutating ? "post" : "get")\">"
        page += "<button>\(path.dropFirst())</button>"
        for parameter in endpoint.parameters { page += field(parameter) }
        page += "</form>"
      } else {
        page += "<a href=\"\(path)\">\(path.dropFirst())</a>"
      }
      page += "</td><td>\(escaped(endpoint.help))</td></tr>\n"
    }
    return page + "</table>\n</body>\n</html>\n"
  }

  private static func field(_ parameter: Parameter) -> String {
    let name = escaped(parameter.name)
    let title = escaped(parameter.help)
    if parameter.isFlag {
      return "<label title=\"\(title)\"><input type=\"checkbox\" name=\"\(name)\" value=\"y\"> \(name)</label>"
    }
    guard !parameter.choices.isEmpty else {
      return "<label title=\"\(title)\">\(name) <input name=\"\(name)\"></label>"
    }
    let options = parameter.choices.map { "<option>\(escaped($0))</option>" }.joined()
    return "<label title=\"\(title)\">\(name) <select name=\"\(name)\">\(options)</select></label>"
  }

  private static func escaped(_ text: String) -> String {
    var result = ""
    for character in text {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      default: result.append(character)
      }
    }
    return result
  }
}
