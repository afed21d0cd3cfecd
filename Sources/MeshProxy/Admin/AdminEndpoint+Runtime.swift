import MeshPrimitives

// Settings that change while the process runs.

extension AdminEndpoint {
  static let runtime = AdminEndpoint("/runtime", "print runtime values") { _, context in
    .report(.json, RuntimeReport(context.runtimeLayers))
  }

  static let runtimeModify = AdminEndpoint(
    "/runtime_modify",
    "Adds or modifies runtime values as passed in query parameters. To delete a "
      + "previously added key, use an empty string as the value. Note that deletion only applies to overrides added via "
      + "this endpoint; values loaded from disk can be modified via override but not deleted. E.g. "
      + "?key1=value1&key2=value2...",
    isMutating: true
  ) { request, context in
    guard !request.parameters.isEmpty else {
      return .text(
        """
        usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN
               or send the parameters as form values
        use an empty value to remove a previously added override
        """, status: 400)
    }
    guard context.modifyRuntime(request.parameters) else { return .text("No admin layer specified", status: 503) }
    return .ok
  }
}

/// Every key with its value in each layer, as JSON, in the order of the keys.
private struct RuntimeReport: AdminReport {
  private let layers: [Runtime.Layer]
  private let keys: [String]
  private var position = 0
  private var writer = JSONWriter()

  init(_ layers: [Runtime.Layer]) {
    self.layers = layers
    keys = Set(layers.flatMap(\.entries.keys)).sorted()
    writer.beginObject()
    writer.name("layers")
    writer.beginArray()
    for layer in layers { writer.string(layer.name) }
    writer.endArray()
    writer.name("entries")
    writer.beginObject()
  }

  mutating func write(into output: inout [UInt8], softLimit: Int) -> Bool {
    while position < keys.count, writer.output.count < softLimit {
      write(keys[position])
      position += 1
    }
    let hasMore = position < keys.count
    if !hasMore {
      writer.endObject()
      writer.endObject()
    }
    writer.drain(into: &output)
    return hasMore
  }

  private mutating func write(_ key: String) {
    writer.name(key)
    writer.beginObject()
    writer.name("layer_values")
    writer.beginArray()
    for layer in layers { writer.string(layer.entries[key]?.text ?? "") }
    writer.endArray()
    writer.name("final_value")
    writer.string(layers.last { $0.entries[key] != nil }?.entries[key]?.text ?? "")
    writer.endObject()
  }
}
