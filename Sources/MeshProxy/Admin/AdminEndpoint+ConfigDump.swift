import MeshConfig
import MeshPrimitives

// The configuration in force, as `envoy.admin.v3.ConfigDump`.

extension AdminEndpoint {
  static let configDump = AdminEndpoint(
    "/config_dump", "dump current configuration",
    parameters: [
      Parameter(name: "resource", help: "The resource to dump"),
      Parameter(
        name: "mask",
        help:
          "The mask to apply. When both resource and mask are specified, the mask is applied to every element in the "
          + "desired repeated field so that only a subset of fields are returned. The mask is parsed as a Protobuf FieldMask"
      ),
      Parameter(
        name: "name_regex",
        help: "Dump only the currently loaded configurations whose names match the specified regex. "
          + "Can be used with both resource and mask query parameters."),
      Parameter(
        name: "include_eds",
        help: "Dump currently loaded configuration including EDS. See the response definition for more information",
        isFlag: true),
    ]
  ) { request, context in
    var selection = ConfigDump.Selection()
    selection.includesEndpoints = request.parameter("include_eds") != nil
    if let pattern = request.parameter("name_regex"), !pattern.isEmpty {
      do { selection.names = try RegularExpression(pattern) } catch {
        return .text("Error while parsing name_regex from \(pattern): \(error)\n", status: 400)
      }
    }
    let maskText = request.parameter("mask") ?? ""
    guard let mask = FieldMask(maskText) else {
      return .text("FieldMask \(maskText) could not be successfully used.", status: 400)
    }
    if !mask.isEmpty { selection.mask = mask }
    guard let name = request.parameter("resource"), !name.isEmpty else {
      guard let dump = ConfigDump(context, selection) else {
        return .text("FieldMask \(maskText) could not be successfully applied to any configs.", status: 400)
      }
      return .report(.json, dump)
    }
    if name == "bootstrap" {
      return .text("bootstrap is not a repeated field. Use ?mask=bootstrap to get only this field", status: 400)
    }
    guard let section = ConfigDump.Section.all.first(where: { $0.lists.contains { $0.field == name } }),
      section.kind != .endpoints || selection.includesEndpoints
    else { return .text("\(name) not found in config dump", status: 404) }
    guard let dump = ConfigDump(context, selection, list: name, of: section) else {
      return .text("FieldMask \(maskText) could not be successfully used.", status: 400)
    }
    return .report(.json, dump)
  }
}
