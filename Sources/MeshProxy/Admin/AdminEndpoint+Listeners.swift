// The listeners.

extension AdminEndpoint {
  static let listeners = AdminEndpoint(
    "/listeners", "print listener info",
    parameters: [Parameter(name: "format", help: "File format to use", choices: ["text", "json"])]
  ) { request, context in
    let listeners = context.listeners
    switch request.parameter("format") ?? "text" {
    case "text", "":
      return .text(listeners.flatMap { listener in listener.addresses.map { "\(listener.name)::\($0)\n" } }.joined())
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
          if let own = listener.addresses.first {
            writer.name("local_address")
            writer.address(own)
          }
          if listener.addresses.count > 1 {
            writer.name("additional_local_addresses")
            writer.beginArray()
            for address in listener.addresses.dropFirst() { writer.address(address) }
            writer.endArray()
          }
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
