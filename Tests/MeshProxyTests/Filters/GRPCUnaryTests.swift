import MeshPrimitives
import Testing

@testable import MeshProxy

@Suite("Unary calls of gRPC")
struct GRPCUnaryTests {
  private typealias Fields = [(name: String, value: String)]

  private func outcome(
    _ body: [UInt8], trailers: Fields = [("grpc-status", "0")], headers: Fields = [("content-type", "application/grpc")]
  ) -> SideCall.Outcome {
    .response(SideCall.Response(status: 200, headers: headers, body: body, trailers: trailers))
  }

  @Test("a message goes there and comes back in a frame")
  func frames() throws {
    let message = Array(0...255).map { UInt8($0) } + Array(repeating: 7, count: 300)
    let request = GRPCUnary.request("/a.B/C", authority: "x", message: message, timeout: .milliseconds(20), limit: 1000)
    #expect(request.body.prefix(5) == [0, 0, 0, 2, 44])
    #expect(request.headers.contains { $0 == ("grpc-timeout", "20m") })
    #expect(request.headers.contains { $0 == ("te", "trailers") })
    let answer = try GRPCUnary.message(of: outcome(request.body)).get()
    #expect(answer == message)
  }

  @Test("without a bound the service hears of none")
  func unbounded() {
    let request = GRPCUnary.request("/a.B/C", authority: "x", message: [], timeout: nil, limit: 10)
    #expect(!request.headers.contains { $0.name == "grpc-timeout" })
    #expect(request.body == [0, 0, 0, 0, 0])
  }

  @Test("every part of a frame is no message")
  func pieces() {
    let frame = GRPCUnary.frame([1, 2, 3])
    for count in 0..<frame.count {
      #expect(throws: GRPCUnary.Failure.self) { try GRPCUnary.message(of: outcome(Array(frame.prefix(count)))).get() }
    }
    let wrongs: [[UInt8]] = [frame + [0], [1] + frame.dropFirst(), [0, 0xff, 0xff, 0xff, 0xff, 1], frame + frame]
    for wrong in wrongs {
      #expect(throws: GRPCUnary.Failure.self) { try GRPCUnary.message(of: outcome(wrong)).get() }
    }
  }

  @Test("failures keep their status")
  func failures() {
    func status(_ outcome: SideCall.Outcome) -> Int? {
      if case .failure(let failure) = GRPCUnary.message(of: outcome) { return failure.status.code }
      return nil
    }
    let frame = GRPCUnary.frame([1])
    #expect(status(outcome(frame)) == nil)
    #expect(status(outcome(frame, trailers: [("grpc-status", "8")])) == 8)
    #expect(status(outcome(frame, trailers: [("grpc-status", "much")])) == 2)
    #expect(status(outcome(frame, trailers: [("other", "x")])) == 2)
    #expect(
      status(outcome([], trailers: [], headers: [("content-type", "application/grpc"), ("grpc-status", "5")])) == 5)
    #expect(status(outcome(frame, headers: [("content-type", "text/html")])) == 2)
    #expect(status(outcome(frame, headers: [])) == 2)
    #expect(status(.failure("timeout")) == 14)
  }
}
