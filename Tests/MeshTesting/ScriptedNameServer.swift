import Glibc

/// A DNS server on a loopback address over UDP that answers from a script.
public final class ScriptedNameServer: Sendable {
  public struct Question: Sendable {
    public var name: String
    /// 1 is A, 28 is AAAA.
    public var type: UInt16
  }

  public enum Answer: Sendable {
    /// Addresses as their wire bytes (4 or 16), each with its time to live, after an optional alias with its own.
    case addresses([(bytes: [UInt8], ttl: UInt32)], alias: UInt32?)
    /// A response code: 2 server failure, 3 no such name.
    case failure(UInt8)
    /// These bytes after the identifier.
    case garbage([UInt8])
    case silence
  }

  public let port: UInt16
  private let fd: Int32
  private let questions = Monitor<[Question]>([])

  /// - Parameter port: 0 for one that the kernel chooses.
  public init(
    host: String = "127.0.0.1", port: UInt16 = 0, _ script: @escaping @Sendable (Question) -> Answer
  ) throws {
    let fd = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    inet_pton(AF_INET, host, &address.sin_addr)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
        bind(fd, raw, length) == 0 && getsockname(fd, raw, &length) == 0
      }
    }
    guard bound else {
      close(fd)
      throw TestFailure("cannot bind \(host):\(port): errno \(errno)")
    }
    self.fd = fd
    self.port = UInt16(bigEndian: address.sin_port)
    startThread { [questions] in
      Self.serve(fd) { packet in
        guard let (question, end) = Self.question(packet) else { return nil }
        questions.change { $0.append(question) }
        return Self.response(packet, questionEnd: end, script(question), question.type)
      }
      close(fd)
    }
  }

  deinit {
    // Wakes the receive; the thread then closes the socket.
    shutdown(fd, Int32(SHUT_RDWR))
  }

  public var asked: [Question] { questions.read { $0 } }

  private static func serve(_ fd: Int32, _ handle: ([UInt8]) -> [UInt8]?) {
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      var peer = sockaddr_in()
      var length = socklen_t(MemoryLayout<sockaddr_in>.size)
      let count = withUnsafeMutablePointer(to: &peer) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { recvfrom(fd, &buffer, buffer.count, 0, $0, &length) }
      }
      if count <= 0 { return }
      guard let reply = handle(Array(buffer[..<count])) else { continue }
      _ = withUnsafePointer(to: &peer) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { sendto(fd, reply, reply.count, 0, $0, length) }
      }
    }
  }

  /// The question of a query, and the offset after it.
  private static func question(_ packet: [UInt8]) -> (Question, end: Int)? {
    var at = 12
    var labels: [String] = []
    while at < packet.count, packet[at] != 0 {
      let end = at + 1 + Int(packet[at])
      guard end < packet.count else { return nil }
      labels.append(String(decoding: packet[(at + 1)..<end], as: UTF8.self))
      at = end
    }
    guard at + 4 < packet.count else { return nil }
    let type = UInt16(packet[at + 1]) << 8 | UInt16(packet[at + 2])
    return (Question(name: labels.joined(separator: "."), type: type), at + 5)
  }

  private static func response(_ query: [UInt8], questionEnd: Int, _ answer: Answer, _ type: UInt16) -> [UInt8]? {
    func header(_ code: UInt8, _ count: Int) -> [UInt8] {
      // Identifier, QR + RD, RA + code, one question, `count` answers.
      [query[0], query[1], 0x81, 0x80 | code, 0, 1, UInt8(count >> 8), UInt8(count & 0xff), 0, 0, 0, 0]
        + query[12..<questionEnd]
    }
    func record(_ type: UInt16, _ ttl: UInt32, _ data: [UInt8]) -> [UInt8] {
      [0xc0, 12, UInt8(type >> 8), UInt8(type & 0xff), 0, 1]
        + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: ttl >> $0) } + [0, UInt8(data.count)] + data
    }
    switch answer {
    case .silence: return nil
    case .failure(let code): return header(code, 0)
    case .garbage(let bytes): return [query[0], query[1]] + bytes
    case .addresses(let list, let alias):
      let matching = list.filter { $0.bytes.count == (type == 28 ? 16 : 4) }
      // An alias of the name for itself is enough to carry its time to live; it points at the question's name.
      let name: [UInt8] = alias == nil ? [] : record(5, alias ?? 0, [0xc0, 12])
      return header(0, matching.count + (alias == nil ? 0 : 1)) + name
        + matching.flatMap { record(type, $0.ttl, $0.bytes) }
    }
  }
}
