/// What is around spans in an export by OTLP: `ExportTraceServiceRequest` with one resource, the proxy, and one scope
/// (opentelemetry-proto 1.x, `opentelemetry/proto/collector/trace/v1`). Its parts are written once; an export puts them
/// before what the workers wrote. Immutable.
struct OTLPEnvelope: Sendable, Equatable {
  /// Field `resource` of `ResourceSpans`.
  private let resource: [UInt8]
  /// Field `scope` of `ScopeSpans`.
  private let scope: [UInt8]

  /// - Parameters:
  ///   - attributes: of the resource; their names are different.
  ///   - scope: who wrote the spans.
  init(attributes: [(name: String, value: String)], scope: String, version: String) {
    var message: [UInt8] = []
    for attribute in attributes {
      // KeyValue{key, value: AnyValue{string_value}}
      let pair = Self.field(1, Array(attribute.name.utf8)) + Self.field(2, Self.field(1, Array(attribute.value.utf8)))
      message += Self.field(1, pair)
    }
    resource = Self.field(1, message)
    self.scope = Self.field(1, Self.field(1, Array(scope.utf8)) + Self.field(2, Array(version.utf8)))
  }

  /// The message around batches that hold fields `spans` of `ScopeSpans`.
  func message(of batches: [SpanBatch]) -> [UInt8] {
    let scopeSpans = scope.count + batches.reduce(0) { $0 + $1.bytes.count }
    let resourceSpans = resource.count + 1 + Self.varintSize(scopeSpans) + scopeSpans
    var message: [UInt8] = []
    message.reserveCapacity(1 + Self.varintSize(resourceSpans) + resourceSpans)
    Self.begin(1, resourceSpans, &message)
    message += resource
    Self.begin(2, scopeSpans, &message)
    message += scope
    for batch in batches { message += batch.bytes }
    return message
  }

  private static func field(_ number: UInt8, _ content: [UInt8]) -> [UInt8] {
    var field: [UInt8] = []
    begin(number, content.count, &field)
    return field + content
  }

  /// A field's tag and length.
  private static func begin(_ number: UInt8, _ length: Int, _ message: inout [UInt8]) {
    message.append(number << 3 | 2)
    var rest = UInt64(length)
    while rest >= 0x80 {
      message.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    message.append(UInt8(rest))
  }

  private static func varintSize(_ number: Int) -> Int {
    var size = 1
    var rest = number >> 7
    while rest > 0 {
      size += 1
      rest >>= 7
    }
    return size
  }
}
