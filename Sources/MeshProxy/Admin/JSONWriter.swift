import MeshConfig
import MeshPrimitives
import SwiftProtobuf

/// Writes JSON in the layout of Envoy's admin interface: each member on a line of its own, one space of indentation a
/// level. What has been written may be taken out of `output` at any time.
struct JSONWriter {
  var output: [UInt8] = []
  /// All on one line, without spaces: for logs.
  var isCompact = false
  /// For each open object or array, whether it has a member.
  private var open: [Bool] = []
  /// A member's name was written and waits for its value.
  private var hasName = false

  static let options: JSONEncodingOptions = {
    var options = JSONEncodingOptions()
    options.preserveProtoFieldNames = true
    options.useDeterministicOrdering = true
    return options
  }()

  // MARK: Values

  mutating func beginObject() { begin(UInt8(ascii: "{")) }
  mutating func endObject() { end(UInt8(ascii: "}")) }
  mutating func beginArray() { begin(UInt8(ascii: "[")) }
  mutating func endArray() { end(UInt8(ascii: "]")) }

  /// The name of the next member of the open object.
  mutating func name(_ name: String) {
    separate()
    appendString(name)
    output.append(contentsOf: (isCompact ? ":" : ": ").utf8)
    hasName = true
  }

  mutating func string(_ value: String) {
    separate()
    appendString(value)
  }

  mutating func integer(_ value: Int64) {
    separate()
    output.append(contentsOf: "\(value)".utf8)
  }

  mutating func number(_ value: Double) {
    separate()
    output.append(contentsOf: SubstitutionOutput.jsonNumber(value).utf8)
  }

  mutating func bool(_ value: Bool) {
    separate()
    output.append(contentsOf: (value ? "true" : "false").utf8)
  }

  mutating func value(_ value: AdminJSON) {
    switch value {
    case .bool(let value): bool(value)
    case .integer(let value): integer(value)
    case .string(let value): string(value)
    case .array(let values):
      beginArray()
      for value in values { self.value(value) }
      endArray()
    }
  }

  /// An address as `envoy.config.core.v3.Address` has it.
  mutating func address(_ address: SocketAddress) {
    beginObject()
    if let path = address.unixPath {
      name("pipe")
      beginObject()
      name("path")
      string(path)
    } else {
      name("socket_address")
      beginObject()
      name("address")
      string(address.ipText)
      name("port_value")
      integer(Int64(address.port))
    }
    endObject()
    endObject()
  }

  /// Moves what has been written to `other`.
  mutating func drain(into other: inout [UInt8]) {
    other.append(contentsOf: output)
    output.removeAll(keepingCapacity: true)
  }

  // MARK: Messages

  /// A message in protobuf's JSON form with the field names of the schema.
  /// - Parameters:
  ///   - asAny: with its type as first member, as in an `Any`.
  ///   - mask: the fields that are written; nil: all.
  mutating func message<M: Message>(_ message: M, asAny: Bool = false, mask: FieldMask? = nil) {
    beginObject()
    if asAny {
      name("@type")
      string("type.googleapis.com/\(M.protoMessageName)")
    }
    members(of: message, mask: mask)
    endObject()
  }

  /// The members of a message, into the open object. What cannot be written as JSON, such as an `Any` of an unknown
  /// type, is shown as the error that it is.
  mutating func members<M: Message>(of message: M, mask: FieldMask? = nil) {
    do {
      var compact: [UInt8] = try message.jsonUTF8Bytes(options: Self.options)
      if let mask { compact = mask.applied(to: compact) }
      compact.withUnsafeBufferPointer { bytes in
        // Without the outer braces: the object is open already.
        if bytes.count > 2 { rewrite(bytes.slice(1, bytes.count - 2)) }
      }
    } catch {
      name("error_state")
      beginObject()
      name("details")
      string("cannot be written as JSON: \(error)")
      endObject()
    }
  }

  /// Lays compact JSON out anew. `compact` is well formed and has no white space between its tokens.
  private mutating func rewrite(_ compact: Bytes) {
    var index = 0
    while index < compact.count {
      let byte = compact[index]
      switch byte {
      case UInt8(ascii: "{"), UInt8(ascii: "["): begin(byte)
      case UInt8(ascii: "}"), UInt8(ascii: "]"): end(byte)
      case UInt8(ascii: ","): break
      case UInt8(ascii: ":"):
        output.append(contentsOf: ": ".utf8)
        hasName = true
      default:
        let start = index
        if byte == UInt8(ascii: "\"") {
          index += 1
          while index < compact.count, compact[index] != UInt8(ascii: "\"") {
            index += compact[index] == UInt8(ascii: "\\") ? 2 : 1
          }
        } else {
          while index + 1 < compact.count, !Self.endsLiteral(compact[index + 1]) { index += 1 }
        }
        index = min(index, compact.count - 1)
        separate()
        var token = compact.slice(start, index - start + 1)
        // A whole number needs no fraction: `1`, as protobuf's own writers have it, and not `1.0`.
        if byte != UInt8(ascii: "\""), token.count > 2, token[token.count - 2] == UInt8(ascii: "."),
          token[token.count - 1] == UInt8(ascii: "0")
        {
          token = token.slice(0, token.count - 2)
        }
        output.append(contentsOf: token)
      }
      index += 1
    }
  }

  private static func endsLiteral(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: ",") || byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]")
  }

  // MARK: Layout

  private mutating func begin(_ bracket: UInt8) {
    separate()
    output.append(bracket)
    open.append(false)
  }

  private mutating func end(_ bracket: UInt8) {
    let hasMembers = open.popLast() ?? false
    if hasMembers { breakLine() }
    output.append(bracket)
    if open.isEmpty { output.append(UInt8(ascii: "\n")) }
  }

  /// What stands before a value or a member's name.
  private mutating func separate() {
    if hasName {
      hasName = false
      return
    }
    guard let hasMembers = open.last else { return }
    if hasMembers { output.append(UInt8(ascii: ",")) }
    open[open.count - 1] = true
    breakLine()
  }

  private mutating func appendString(_ text: String) {
    output.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\\"): output.append(contentsOf: "\\\\".utf8)
      case UInt8(ascii: "\""): output.append(contentsOf: "\\\"".utf8)
      case 0x0a: output.append(contentsOf: "\\n".utf8)
      case 0..<0x20:
        output.append(contentsOf: "\\u00".utf8)
        for nibble in [byte >> 4, byte & 15] { output.append(nibble < 10 ? 0x30 + nibble : 0x57 + nibble) }
      default: output.append(byte)
      }
    }
    output.append(UInt8(ascii: "\""))
  }

  private mutating func breakLine() {
    if isCompact { return }
    output.append(UInt8(ascii: "\n"))
    output.append(contentsOf: repeatElement(UInt8(ascii: " "), count: open.count))
  }
}
