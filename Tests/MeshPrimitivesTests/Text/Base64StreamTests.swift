import MeshPrimitives
import Testing

@Suite("Base64 in pieces")
struct Base64StreamTests {
  /// RFC 4648 §10.
  static let vectors = [
    ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
    ("foobar", "Zm9vYmFy"), ("\u{3ff}\u{3ff}", "z7/Pvw=="),
  ]

  private func decode(_ pieces: [ArraySlice<UInt8>]) -> [UInt8]? {
    var decoder = Base64Stream.Decoder()
    var bytes: [UInt8] = []
    for piece in pieces {
      guard Array(piece).withUnsafeBufferPointer({ decoder.decode($0, into: &bytes) }) else { return nil }
    }
    return decoder.isComplete ? bytes : nil
  }

  @Test(arguments: vectors)
  func vector(_ plain: String, _ text: String) {
    let bytes = Array(plain.utf8)
    for cut in 0...bytes.count {
      var encoder = Base64Stream.Encoder()
      var out: [UInt8] = []
      Array(bytes[..<cut]).withUnsafeBufferPointer { encoder.encode($0, into: &out) }
      Array(bytes[cut...]).withUnsafeBufferPointer { encoder.encode($0, into: &out) }
      encoder.finish(into: &out)
      #expect(String(decoding: out, as: UTF8.self) == text)
    }
    let encoded = Array(text.utf8)
    for cut in 0...encoded.count { #expect(decode([encoded[..<cut], encoded[cut...]]) == bytes) }
  }

  @Test("texts that follow each other, each with its padding")
  func several() { #expect(decode([Array("Zg==Zm8=Zm9v".utf8)[...]]) == Array("ffofoo".utf8)) }

  @Test(arguments: ["Z", "Zg", "Zg=", "Zg===", "=", "====", "Z===", "Zg=v", "Zm9v!", "Zm9v\n", "Zm-v", "Zh==", "Zm9="])
  func wrong(_ text: String) { #expect(decode([Array(text.utf8)[...]]) == nil) }
}
