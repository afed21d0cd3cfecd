// The listeners.

extension AdminEndpoint {
  static let listeners = AdminEndpoint(
    "/listeners", "print listener info",
    parameters: [Parameter(name: "format", help: "File format to use", choices: ["text", "json"])]
  ) { request, context in
    let listeners = context.listeners
    switch request.parameter("format") ?? "text" {
    case "text", "": return .text(listeners.map { "\($0.name)::\($0.address)\n" }.joined())
    case "json":
      var writer = JSONWriter()
      writer.beginObject()
      if !listeners.isEmpty {
        writer.name("listener_statuses")
        writer.beginArray()
        for listener in listeners {
          writer.beginObject()
          writer.name("name")
          writer.string(listener.name)
          writer.name("local_address")
          writer.address(listener.address)
          writer.endObject()
        }
        writer.endArray()
      }
      writer.endObject()
      return .json(writer)
    default: return .text("usage: /listeners?format=(json|text)\n", status: 400)
    }
  }
}
