/// What the reader knows of one field.
struct FieldSchema {
  enum Scalar: Equatable {
    case bool, int32, int64, uint32, uint64, float, double, string, bytes
    /// An enum, by its place in `Schema.enums`.
    case enumeration(Int)
  }

  enum Kind: Equatable {
    case scalar(Scalar)
    /// A scalar in a message of its own, so that "not given" differs from zero.
    case wrapper(Scalar)
    case duration
    case any
    /// `google.protobuf.Struct`: anything.
    case structure
    /// A message, by its place in `Schema.messages`.
    case message(Int)
  }

  enum Cardinality: Equatable {
    case single
    case list
    /// From text to the field's kind.
    case map
  }

  var name: String
  /// The name in camelCase.
  var jsonName: String
  var number: Int
  var kind: Kind
  var cardinality: Cardinality
  /// The oneof that it belongs to, by its place in `MessageSchema.oneofs`.
  var oneof: Int?
  var rules = FieldRules()
}

/// What must hold for a field's value, or for each item of a list.
struct FieldRules {
  struct Bound {
    var value: Int64
    var exclusive: Bool
  }

  /// The message is invalid without the field.
  var required = false
  /// The field to use in place of this one.
  var deprecated: String?
  var minLength: Int?
  var maxBytes: Int?
  /// Of a number, or of a duration in nanoseconds.
  var lower: Bound?
  var upper: Bound?
  var constant: Bool?
  var minItems: Int?
  var maxItems: Int?
  var isHeaderName = false
  var isHeaderValue = false
  var isPathSeparatedPrefix = false
  /// The full names of the messages that an `Any` may hold.
  var types: [String] = []
}
