import Glibc
import MeshPrimitives

internal import COpenSSL

/// Where OpenSSL's reads come from and its writes go, for the one session that runs now: memory, not a socket, so that one
/// system call carries as many records as there are. One for each event loop, made with its first session.
struct TLSWire {
  /// Ciphertext received by one system call.
  static let scratchSize = 64 * 1024
  /// Room for what one call seals: four full records and what they cost.
  private static let outputSize = 72 * 1024

  /// What the session may still read.
  private var input: UnsafePointer<UInt8>?
  private(set) var inputCount = 0
  /// What the session has written and nobody has sent.
  private var output: UnsafeMutablePointer<UInt8>
  private(set) var outputCount = 0
  private var outputCapacity = outputSize
  let scratch: UnsafeMutablePointer<UInt8>

  static func make() -> UnsafeMutablePointer<TLSWire> {
    let wire = UnsafeMutablePointer<TLSWire>.allocate(capacity: 1)
    wire.initialize(
      to: TLSWire(output: .allocate(capacity: outputSize), scratch: .allocate(capacity: scratchSize)))
    return wire
  }

  static func free(_ wire: UnsafeMutablePointer<TLSWire>) {
    wire.pointee.output.deallocate()
    wire.pointee.scratch.deallocate()
    wire.deallocate()
  }

  private init(output: UnsafeMutablePointer<UInt8>, scratch: UnsafeMutablePointer<UInt8>) {
    self.output = output
    self.scratch = scratch
  }

  /// Lets the session that runs next read `bytes`, and nothing else.
  @inline(__always)
  mutating func offer(_ bytes: Bytes) {
    input = bytes.baseAddress
    inputCount = bytes.count
  }

  /// What has not been read of that; nothing can be read from then on.
  mutating func takeInput() -> Bytes {
    defer { inputCount = 0 }
    return Bytes(start: input, count: inputCount)
  }

  /// What has been written; valid until the next session writes.
  @inline(__always)
  mutating func takeOutput() -> Bytes {
    defer { outputCount = 0 }
    return Bytes(start: output, count: outputCount)
  }

  /// Takes ciphertext. What OpenSSL writes in one call is bounded by what it was given to seal, or by the flight of a
  /// handshake, whose largest part is our own certificate.
  @inline(__always)
  fileprivate mutating func append(_ bytes: UnsafePointer<CChar>, _ count: Int) {
    if outputCapacity - outputCount < count { grow(count) }
    memcpy(output + outputCount, bytes, count)
    outputCount &+= count
  }

  @inline(never)
  private mutating func grow(_ count: Int) {
    let capacity = max(outputCapacity * 2, outputCount + count)
    let grown = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
    grown.update(from: output, count: outputCount)
    output.deallocate()
    output = grown
    outputCapacity = capacity
  }

  @inline(__always)
  fileprivate mutating func take(_ bytes: UnsafeMutablePointer<CChar>, _ count: Int) -> Int {
    let taken = min(count, inputCount)
    guard taken > 0, let input else { return 0 }
    memcpy(bytes, input, taken)
    self.input = input + taken
    inputCount &-= taken
    return taken
  }

  // SAFETY: made once, by whichever thread is first, and only read from then on.
  nonisolated(unsafe) private static let method: OpaquePointer? = {
    guard let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "martlet") else { return nil }
    BIO_meth_set_write(method) { bio, bytes, count in
      guard let wire = BIO_get_data(bio), let bytes, count > 0 else { return 0 }
      wire.assumingMemoryBound(to: TLSWire.self).pointee.append(bytes, Int(count))
      return count
    }
    BIO_meth_set_read(method) { bio, bytes, count in
      guard let wire = BIO_get_data(bio), let bytes, count > 0 else { return 0 }
      let taken = wire.assumingMemoryBound(to: TLSWire.self).pointee.take(bytes, Int(count))
      copenssl_clear_retry(bio)
      if taken > 0 { return Int32(truncatingIfNeeded: taken) }
      copenssl_retry_read(bio)
      return -1
    }
    BIO_meth_set_ctrl(method) { _, command, _, _ in command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP ? 1 : 0 }
    return method
  }()

  /// A BIO on this wire; nil without memory.
  static func makeBIO(_ wire: UnsafeMutablePointer<TLSWire>) -> OpaquePointer? {
    guard let method, let bio = BIO_new(method) else { return nil }
    BIO_set_data(bio, wire)
    BIO_set_init(bio, 1)
    return bio
  }
}
