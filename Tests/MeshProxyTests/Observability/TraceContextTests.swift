import MeshPrimitives
import MeshProxy
import Testing

@Suite struct TraceContextTests {
  static let trace = "0af7651916cd43dd8448eb211c80319c"
  static let span = "b7ad6b7169203331"

  /// Extracts from headers given as text.
  static func extract(_ fields: [String: String]) -> TraceContext {
    // The values lie one after the other, each in its own run of one buffer.
    var storage: [UInt8] = []
    var places: [String: (Int, Int)] = [:]
    for (name, value) in fields {
      places[name] = (storage.count, value.utf8.count)
      storage += Array(value.utf8)
    }
    storage.append(0)
    return storage.withUnsafeBufferPointer { buffer in
      func field(_ name: String) -> Bytes? { places[name].map { buffer.slice($0.0, $0.1) } }
      return TraceContext.extract(
        TraceHeaders(
          traceparent: field("traceparent"), tracestate: field("tracestate"), b3: field("b3"),
          b3TraceID: field("x-b3-traceid"), b3SpanID: field("x-b3-spanid"),
          b3ParentSpanID: field("x-b3-parentspanid"), b3Sampled: field("x-b3-sampled"),
          b3Flags: field("x-b3-flags")))
    }
  }

  /// The headers a context is written as.
  static func written(_ context: TraceContext) -> [String: String] {
    func text(_ body: (UnsafeMutablePointer<UInt8>) -> Int) -> String {
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 68) { buffer in
        Bytes(rebasing: buffer[..<body(buffer.baseAddress!)]).text
      }
    }
    var fields: [String: String] = [:]
    if context.formats.contains(.w3c) {
      fields["traceparent"] = text {
        context.writeTraceparent(into: $0)
        return TraceContext.traceparentLength
      }
    }
    if context.formats.contains(.b3Single) { fields["b3"] = text { context.writeB3(into: $0) } }
    if context.formats.contains(.b3Multi) {
      fields["x-b3-traceid"] = text { context.writeB3TraceID(into: $0) }
      fields["x-b3-spanid"] = text {
        context.writeB3SpanID(into: $0)
        return 16
      }
      if context.parentSpanID != 0 {
        fields["x-b3-parentspanid"] = text {
          context.writeB3ParentSpanID(into: $0)
          return 16
        }
      }
      if let sampled = context.b3SampledValue { fields["x-b3-sampled"] = String(UnicodeScalar(sampled)) }
      if context.debug { fields["x-b3-flags"] = "1" }
    }
    return fields
  }

  // MARK: W3C

  @Test func traceparent() {
    let context = Self.extract(["traceparent": "00-\(Self.trace)-\(Self.span)-01", "tracestate": "a=1"])
    #expect(context.traceIDHigh == 0x0af7_6519_16cd_43dd)
    #expect(context.traceIDLow == 0x8448_eb21_1c80_319c)
    #expect(context.spanID == 0xb7ad_6b71_6920_3331)
    #expect(context.sampled == true)
    #expect(!context.random && !context.debug && !context.is64Bit && !context.recorded)
    #expect(context.keepsTracestate)
    #expect(context.formats == .w3c)
    #expect(Self.written(context) == ["traceparent": "00-\(Self.trace)-\(Self.span)-01"])
  }

  @Test(arguments: [("00", false, false), ("01", true, false), ("02", false, true), ("03", true, true)])
  func flags(text: String, sampled: Bool, random: Bool) {
    let context = Self.extract(["traceparent": "00-\(Self.trace)-\(Self.span)-\(text)"])
    #expect(context.sampled == sampled && context.random == random)
    #expect(Self.written(context)["traceparent"]?.hasSuffix("-\(text)") == true)
  }

  @Test func unknownFlagsAreNotPassedOn() {
    let context = Self.extract(["traceparent": "00-\(Self.trace)-\(Self.span)-ff"])
    #expect(Self.written(context)["traceparent"] == "00-\(Self.trace)-\(Self.span)-03")
  }

  @Test func laterVersionsAreReadByTheirBeginning() {
    for tail in ["", "-", "-what-ever", "-\u{e9}"] {
      let context = Self.extract(["traceparent": "cc-\(Self.trace)-\(Self.span)-03\(tail)"])
      #expect(context.hasTrace && context.sampled == true && !context.random)
      #expect(Self.written(context)["traceparent"] == "00-\(Self.trace)-\(Self.span)-01")
    }
    #expect(Self.extract(["traceparent": "f0-\(Self.trace)-\(Self.span)-01"]).hasTrace)
    #expect(Self.extract(["traceparent": "0f-\(Self.trace)-\(Self.span)-01"]).hasTrace)
  }

  static let malformed: [String] = {
    let good = "00-\(trace)-\(span)-01"
    var list = [
      "ff-\(trace)-\(span)-01", "fF-\(trace)-\(span)-01", "0x-\(trace)-\(span)-01", "C0-\(trace)-\(span)-01",
      "00-00000000000000000000000000000000-\(span)-01", "00-\(trace)-0000000000000000-01",
      "00-\(trace.uppercased())-\(span)-01", "00-\(trace)-\(span.uppercased())-01", "00-\(trace)-\(span)-0A",
      good + "-", good + "-00", good + "0", " " + good, good + ",\(good)", "cc-\(trace)-\(span)-01.x",
      "00_\(trace)-\(span)-01", "00-\(trace)_\(span)-01", "00-\(trace)-\(span)_01",
    ]
    // Cut at every byte; and with every position taken by a byte that is no digit.
    for length in 0..<good.utf8.count { list.append(String(good.prefix(length))) }
    for (position, character) in good.enumerated() where character != "-" {
      for wrong in ["g", "o", "G", "/", ":", "`", "@", " ", "-", "\u{0}", "\u{7f}", "p", "w"] {
        var changed = Array(good).map(String.init)
        changed[position] = wrong
        list.append(changed.joined())
      }
    }
    return list
  }()

  @Test(arguments: malformed)
  func malformedTraceparentIsReplacedAndTracestateDropped(text: String) {
    let context = Self.extract(["traceparent": text, "tracestate": "a=1"])
    #expect(!context.hasTrace && context.spanID == 0 && !context.keepsTracestate && context.sampled == nil)
    var random = Random(seed: 1)
    let child = context.child(&random, samplingIfUndecided: true)
    #expect(child.hasTrace && child.formats == .w3c && !child.keepsTracestate && child.random)
  }

  @Test func everyByteValueInEveryDigit() {
    let good = Array("00-\(Self.trace)-\(Self.span)-01".utf8)
    for position in [3, 10, 18, 19, 34, 36, 43, 44, 51, 53, 54] {
      for byte in UInt8.min ... .max {
        var bytes = good
        bytes[position] = byte
        let context = bytes.withUnsafeBufferPointer { TraceContext.extract(TraceHeaders(traceparent: $0)) }
        let digit = (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte)
        #expect(context.hasTrace == digit, "byte \(byte) at \(position)")
      }
    }
  }

  @Test func tracestateWithoutTraceparentIsDropped() {
    #expect(!Self.extract(["tracestate": "a=1"]).keepsTracestate)
    #expect(!Self.extract(["tracestate": "a=1", "b3": "\(Self.trace)-\(Self.span)-1"]).keepsTracestate)
  }

  // MARK: B3

  @Test func b3Single() {
    let context = Self.extract(["b3": "\(Self.trace)-\(Self.span)-1-00f067aa0ba902b7"])
    #expect(context.traceIDHigh == 0x0af7_6519_16cd_43dd && context.spanID == 0xb7ad_6b71_6920_3331)
    #expect(context.parentSpanID == 0x00f0_67aa_0ba9_02b7 && context.sampled == true)
    #expect(context.formats == .b3Single && !context.is64Bit)
    #expect(Self.written(context) == ["b3": "\(Self.trace)-\(Self.span)-1-00f067aa0ba902b7"])
  }

  @Test(arguments: [
    "463ac35c9f6413ad-a2fb4a1d1a96d312", "463ac35c9f6413ad-a2fb4a1d1a96d312-0",
    "463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-d", "463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312",
    "463ac35c9f6413ad-a2fb4a1d1a96d312-1-0020000000000001",
    "0000000000000000463ac35c9f6413ad-a2fb4a1d1a96d312-1",
  ])
  func b3SingleIsWrittenAsItCame(text: String) {
    #expect(Self.written(Self.extract(["b3": text])) == ["b3": text])
  }

  @Test func b3UpperCaseIsReadAndWrittenInLowerCase() {
    let context = Self.extract(["b3": "463AC35C9F6413AD-A2FB4A1D1A96D312-1"])
    #expect(Self.written(context) == ["b3": "463ac35c9f6413ad-a2fb4a1d1a96d312-1"])
  }

  @Test(arguments: [("0", false, false), ("1", true, false), ("d", true, true)])
  func b3DecisionAlone(text: String, sampled: Bool, debug: Bool) {
    let context = Self.extract(["b3": text])
    #expect(!context.hasTrace && context.sampled == sampled && context.debug == debug)
    var random = Random(seed: 1)
    let child = context.child(&random, samplingIfUndecided: !sampled)
    #expect(child.sampled == sampled && child.formats == .b3Single && child.parentSpanID == 0)
    #expect(Self.written(child)["b3"]?.hasSuffix("-\(text)") == true)
  }

  static let malformedB3: [String] = {
    let good = "463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-1-00f067aa0ba902b7"
    var list = [
      "2", "true", "463ac35c9f6413ad-a2fb4a1d1a96d312-2", "463ac35c9f6413ad-a2fb4a1d1a96d312-00f067aa0ba902b7",
      "0000000000000000-a2fb4a1d1a96d312-1", "463ac35c9f6413ad-0000000000000000-1",
      "463ac35c9f6413a-a2fb4a1d1a96d312-1", "463ac35c9f6413ag-a2fb4a1d1a96d312-1", good + "-", good + ",1",
      "463ac35c9f6413ad-a2fb4a1d1a96d312-1-00f067aa0ba902bg", "463ac35c9f6413ad_a2fb4a1d1a96d312",
    ]
    // The cuts after the span id and after the decision are complete values.
    for length in 0..<good.utf8.count where ![49, 51].contains(length) { list.append(String(good.prefix(length))) }
    return list
  }()

  @Test(arguments: malformedB3)
  func malformedB3IsSilent(text: String) {
    let context = Self.extract(["b3": text])
    #expect(!context.hasTrace && context.sampled == nil && context.spanID == 0 && context.parentSpanID == 0)
    #expect(context.formats == .b3Single)
  }

  @Test func b3Multi() {
    let fields = [
      "x-b3-traceid": "463ac35c9f6413ad", "x-b3-spanid": "a2fb4a1d1a96d312", "x-b3-parentspanid": "0020000000000001",
      "x-b3-sampled": "1",
    ]
    let context = Self.extract(fields)
    #expect(context.is64Bit && context.traceIDHigh == 0 && context.traceIDLow == 0x463a_c35c_9f64_13ad)
    #expect(Self.written(context) == fields)
  }

  @Test(
    arguments: [
      ("1", true), ("0", false), ("true", true), ("false", false), ("True", true), ("FALSE", false), ("2", nil),
      ("", nil), ("d", nil),
    ] as [(String, Bool?)])
  func b3Sampled(text: String, sampled: Bool?) {
    let context = Self.extract(["x-b3-sampled": text])
    #expect(context.sampled == sampled && !context.hasTrace && context.formats == .b3Multi)
  }

  @Test func b3Debug() {
    let context = Self.extract([
      "x-b3-traceid": Self.trace, "x-b3-spanid": Self.span, "x-b3-flags": "1", "x-b3-sampled": "0",
    ])
    #expect(context.debug && context.sampled == true)
    #expect(
      Self.written(context) == ["x-b3-traceid": Self.trace, "x-b3-spanid": Self.span, "x-b3-flags": "1"])
    #expect(!Self.extract(["x-b3-flags": "0", "x-b3-sampled": "1"]).debug)
  }

  @Test func malformedB3FieldsAreSilent() {
    for (name, value) in [
      ("x-b3-traceid", "463ac35c9f6413a"), ("x-b3-traceid", "0000000000000000"), ("x-b3-traceid", "zzzzzzzzzzzzzzzz"),
      ("x-b3-spanid", "0000000000000000"), ("x-b3-spanid", "1"), ("x-b3-spanid", "x2fb4a1d1a96d312"),
      ("x-b3-spanid", Self.trace),
    ] {
      var fields = ["x-b3-traceid": Self.trace, "x-b3-spanid": Self.span, "x-b3-sampled": "0"]
      fields[name] = value
      let context = Self.extract(fields)
      #expect(!context.hasTrace && context.spanID == 0 && context.sampled == false, "\(name): \(value)")
    }
    let withoutSpan = Self.extract(["x-b3-traceid": Self.trace])
    #expect(!withoutSpan.hasTrace)
    let badParent = Self.extract([
      "x-b3-traceid": Self.trace, "x-b3-spanid": Self.span, "x-b3-parentspanid": "zzzzzzzzzzzzzzzz",
    ])
    #expect(badParent.hasTrace && badParent.parentSpanID == 0)
  }

  // MARK: Both

  @Test func w3cWinsAndAllFormatsAreWritten() {
    let context = Self.extract([
      "traceparent": "00-\(Self.trace)-\(Self.span)-00", "tracestate": "a=1", "b3": "d",
      "x-b3-traceid": "463ac35c9f6413ad", "x-b3-spanid": "a2fb4a1d1a96d312", "x-b3-sampled": "1",
    ])
    #expect(context.formats == [.w3c, .b3Single, .b3Multi] && context.keepsTracestate && !context.debug)
    #expect(
      Self.written(context) == [
        "traceparent": "00-\(Self.trace)-\(Self.span)-00", "b3": "\(Self.trace)-\(Self.span)-0",
        "x-b3-traceid": Self.trace, "x-b3-spanid": Self.span, "x-b3-sampled": "0",
      ])
  }

  @Test func singleB3WinsOverTheFields() {
    let context = Self.extract([
      "b3": "\(Self.trace)-\(Self.span)-0", "x-b3-traceid": "463ac35c9f6413ad", "x-b3-spanid": "a2fb4a1d1a96d312",
      "x-b3-sampled": "1",
    ])
    #expect(context.sampled == false && !context.is64Bit && context.formats == [.b3Single, .b3Multi])
  }

  @Test func aMalformedFormatLeavesTheWordToTheNext() {
    let context = Self.extract([
      "traceparent": "00-x", "tracestate": "a=1", "b3": "nonsense", "x-b3-traceid": "463ac35c9f6413ad",
      "x-b3-spanid": "a2fb4a1d1a96d312",
    ])
    #expect(context.formats == [.w3c, .b3Single, .b3Multi] && !context.keepsTracestate)
    #expect(Self.written(context)["traceparent"] == "00-0000000000000000463ac35c9f6413ad-a2fb4a1d1a96d312-00")
    #expect(Self.written(context)["b3"] == "463ac35c9f6413ad-a2fb4a1d1a96d312")
  }

  // MARK: Child

  @Test func aChildHasANewSpanUnderTheCallers() {
    var random = Random(seed: 9)
    var context = Self.extract(["traceparent": "00-\(Self.trace)-\(Self.span)-02", "tracestate": "a=1"])
    context.recorded = true
    let child = context.child(&random, samplingIfUndecided: true)
    #expect(child.traceIDHigh == context.traceIDHigh && child.traceIDLow == context.traceIDLow)
    #expect(child.parentSpanID == context.spanID && child.spanID != context.spanID && child.spanID != 0)
    #expect(child.sampled == false, "the caller's decision stands")
    #expect(child.random && child.keepsTracestate && !child.recorded)
    let other = context.child(&random, samplingIfUndecided: true)
    #expect(other.spanID != child.spanID)
  }

  @Test func withNothingIncomingATraceBeginsInW3C() {
    var random = Random(seed: 9)
    let root = Self.extract([:]).child(&random, samplingIfUndecided: false)
    #expect(root.hasTrace && root.traceIDHigh != 0 && root.parentSpanID == 0 && root.formats == .w3c && root.random)
    let fields = Self.written(root)
    #expect(fields.count == 1 && fields["traceparent"]?.hasSuffix("-02") == true)
    let sampled = Self.extract([:]).child(&random, samplingIfUndecided: true)
    #expect(Self.written(sampled)["traceparent"]?.hasSuffix("-03") == true)
  }

  @Test func anOpenDecisionMayStayOpen() {
    var random = Random(seed: 9)
    let context = Self.extract(["x-b3-traceid": Self.trace, "x-b3-spanid": Self.span])
    let open = context.child(&random, samplingIfUndecided: nil)
    #expect(open.sampled == nil && Self.written(open)["x-b3-sampled"] == nil)
    #expect(Self.written(open)["x-b3-parentspanid"] == Self.span)
    #expect(context.child(&random, samplingIfUndecided: true).sampled == true)
  }

  /// Bytes that were valid before some of them were changed, cut or doubled: whatever is read can be written, and what
  /// is written is valid.
  @Test func changedBytes() {
    var random = Random(seed: 12)
    let good: [String: String] = [
      "traceparent": "00-\(Self.trace)-\(Self.span)-01", "tracestate": "a=1",
      "b3": "\(Self.trace)-\(Self.span)-1-00f067aa0ba902b7", "x-b3-traceid": Self.trace, "x-b3-spanid": Self.span,
      "x-b3-parentspanid": "00f067aa0ba902b7", "x-b3-sampled": "1", "x-b3-flags": "0",
    ]
    for _ in 0..<5_000 {
      var fields: [String: String] = [:]
      for (name, value) in good where random.below(3) > 0 {
        var bytes = Array(value.utf8)
        for _ in 0..<random.below(3) where !bytes.isEmpty {
          let position = Int(random.below(UInt64(bytes.count)))
          switch random.below(4) {
          case 0: bytes[position] = UInt8(random.below(128))
          case 1: bytes.removeSubrange(position...)
          case 2: bytes.insert(UInt8(random.below(128)), at: position)
          default: bytes += bytes
          }
        }
        fields[name] = String(decoding: bytes, as: UTF8.self)
      }
      let child = Self.extract(fields).child(&random, samplingIfUndecided: true)
      #expect(child.hasTrace && child.spanID != 0 && !child.formats.isEmpty)
      let back = Self.extract(Self.written(child))
      #expect(back.traceIDLow == child.traceIDLow && back.spanID == child.spanID && back.sampled == child.sampled)
      #expect(back.formats == child.formats)
    }
  }

  /// Whatever is written is read back as the same.
  @Test func roundTrips() {
    var random = Random(seed: 11)
    for _ in 0..<1_000 {
      var context = TraceContext()
      context.traceIDHigh = random.next()
      context.traceIDLow = random.next()
      context.spanID = random.next()
      context.sampled = random.next() & 1 == 0
      context.formats = .w3c
      context.random = random.next() & 1 == 0
      #expect(Self.extract(Self.written(context)) == context)
      context.random = false
      context.parentSpanID = random.next()
      context.formats = .b3Single
      #expect(Self.extract(Self.written(context)) == context)
      context.formats = .b3Multi
      #expect(Self.extract(Self.written(context)) == context)
    }
  }
}
