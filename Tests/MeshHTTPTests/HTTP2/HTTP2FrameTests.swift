import MeshPrimitives
import Testing

@testable import MeshHTTP

@Suite struct HTTP2FrameTests {
  private func scan(_ bytes: [UInt8], cuts: [Int], preface: Int = 0) -> [HTTP2FrameScan.Frame] {
    var scan = HTTP2FrameScan(preface: preface)
    var frames: [HTTP2FrameScan.Frame] = []
    var start = 0
    for cut in cuts + [bytes.count] where cut >= start {
      withExactBytes(bytes[start..<cut]) { part in
        var offset = 0
        while var found = scan.next(part, &offset) {
          found.start = 0
          frames.append(found)
        }
        #expect(offset == part.count)
      }
      start = cut
    }
    return frames
  }

  @Test func framesAreFoundHoweverTheyAreCut() {
    let priority: [UInt8] = [0, 0, 0, 7, 15]
    let bytes =
      http2Preface + rawFrame(4, 0, 0) + rawFrame(1, 5, 1, rawBlock(plainGet)) + rawFrame(2, 0, 7, priority)
      + rawFrame(2, 0, 5, priority)
      + rawFrame(0, 1, 0x8000_0001, [1, 2, 3]) + rawFrame(2, 0, 9, [1, 2, 3]) + rawFrame(9, 4, 1)
    let whole = scan(bytes, cuts: [], preface: http2Preface.count)
    #expect(whole.map(\.type) == [4, 1, 2, 2, 0, 2, 9])
    #expect(whole.map(\.stream) == [0, 1, 7, 5, 1, 9, 1])
    #expect(whole.map(\.dependsOnItself) == [false, false, true, false, false, false, false])
    #expect(whole.map(\.length) == [0, rawBlock(plainGet).count, 5, 5, 3, 3, 0])
    for cut in 0...bytes.count { #expect(scan(bytes, cuts: [cut], preface: http2Preface.count) == whole) }
    #expect(scan(bytes, cuts: Array(1..<bytes.count), preface: http2Preface.count) == whole)
  }

  @Test func aFrameSaysWhereItBegins() {
    var scan = HTTP2FrameScan(preface: 0)
    let bytes = rawFrame(0, 0, 1, [1]) + rawFrame(8, 0, 1, [0, 0, 0, 1])
    bytes.withUnsafeBufferPointer {
      var offset = 0
      let first = scan.next($0, &offset)
      let second = scan.next($0, &offset)
      #expect(first?.start == 0)
      #expect(second?.start == 10)
    }
  }

  @Test func emptyFramesAreCountedInARow() {
    var guardian = HTTP2FloodGuard()
    let options = HTTP2Options()
    func receive(_ type: UInt8, _ flags: UInt8, _ length: Int) -> HTTP2Event? {
      guardian.receive(.init(type: type, flags: flags, length: length, stream: 1, start: 0), options)
    }
    #expect(receive(0, 0, 0) == nil)
    #expect(receive(0, 0, 1) == nil)
    #expect(receive(0, 0, 0) == nil)
    #expect(receive(0, 0, 0) == .emptyFramesFlood)
    // The end of a stream needs no content.
    #expect(receive(0, 1, 0) == nil)
    #expect(receive(0, 1, 0) == nil)
  }

  @Test func boundsGrowWithWhatIsDone() {
    var guardian = HTTP2FloodGuard()
    var options = HTTP2Options()
    options.maximumPriorityFrames = 2
    options.maximumWindowUpdates = 1
    options.maximumContinuations = 3
    func receive(_ type: UInt8, _ length: Int = 5) -> HTTP2Event? {
      guardian.receive(.init(type: type, flags: 0, length: length, stream: 1, start: 0), options)
    }
    for _ in 0..<2 { #expect(receive(2) == nil) }
    #expect(receive(2) == .priorityFlood)
    guardian.streamsOpened = 1
    #expect(receive(2) == nil)
    for _ in 0..<7 { #expect(receive(8) == nil) }
    #expect(receive(8) == .windowUpdateFlood)
    guardian.dataFramesSent = 1
    #expect(receive(8) == nil)
    for _ in 0..<3 { #expect(receive(9) == nil) }
    #expect(receive(9) == .continuationFlood)
    #expect(receive(1) == nil)
    #expect(receive(9) == nil)
  }

  @Test func endedStreamsAreRemembered() {
    var closed = HTTP2ClosedStreams()
    closed.add(1, .complete)
    closed.add(3, .resetByUs)
    closed.add(5, .resetByPeer)
    #expect(closed.ending(of: 1) == .complete)
    #expect(closed.ending(of: 3) == .resetByUs)
    #expect(closed.ending(of: 5) == .resetByPeer)
    #expect(closed.ending(of: 7) == nil)
    for stream in 0..<64 { closed.add(Int32(stream) * 2 + 101, .complete) }
    // What we have given up may still be spoken to, however long ago that was.
    #expect(closed.ending(of: 1) == .resetByUs)
    #expect(closed.ending(of: 3) == .resetByUs)
    #expect(closed.ending(of: 5) == nil)
  }

  @Test func pingsAreSentAndMissed() {
    var options = HTTP2Options.KeepAlive()
    options.interval = .seconds(10)
    options.timeout = .seconds(2)
    options.jitterPercent = 50
    let start = MonotonicTime(nanoseconds: 1_000_000_000_000)
    var clock = HTTP2PingClock(options, seed: 1, now: start)
    #expect(clock.deadline >= start + .seconds(10))
    #expect(clock.deadline <= start + .seconds(15))
    #expect(clock.check(start + .seconds(9)) == .none)
    #expect(clock.check(start + .seconds(15)) == .send)
    #expect(clock.deadline == start + .seconds(17))
    clock.answered()
    #expect(clock.deadline >= start + .seconds(25))
    #expect(clock.check(start + .seconds(31)) == .send)
    #expect(clock.check(start + .seconds(33)) == .dead)
  }

  @Test func aRequestAfterSilenceIsPrecededByAPing() {
    var options = HTTP2Options.KeepAlive()
    options.idleInterval = .seconds(10)
    let start = MonotonicTime(nanoseconds: 1_000_000_000_000)
    var clock = HTTP2PingClock(options, seed: 1, now: start)
    #expect(clock.beforeRequest(start + .seconds(9)) == false)
    #expect(clock.beforeRequest(start + .seconds(10)) == true)
    #expect(clock.beforeRequest(start + .seconds(10)) == false)
    #expect(clock.check(start + .seconds(15)) == .dead)
  }
}
