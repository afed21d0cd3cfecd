/// What a fuzzer calls with each input: stops the process, with the reason, if `check` finds a violation.
private func run(_ check: ([UInt8]) -> Violation?, _ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  if let violation = check(Array(UnsafeBufferPointer(start: start, count: count))) { fatalError(violation) }
  return 0
}

@_cdecl("martlet_fuzz_request_parser")
public func fuzzRequestParser(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  run(checkRequestParser, start, count)
}

@_cdecl("martlet_fuzz_response_parser")
public func fuzzResponseParser(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  run(checkResponseParser, start, count)
}

@_cdecl("martlet_fuzz_body_decoder")
public func fuzzBodyDecoder(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  run(checkBodyDecoder, start, count)
}

@_cdecl("martlet_fuzz_http2_server")
public func fuzzHTTP2Server(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  run(checkHTTP2Server, start, count)
}
