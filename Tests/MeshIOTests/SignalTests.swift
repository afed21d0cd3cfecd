import Glibc
import MeshIO
import MeshPrimitives
import Testing

@Suite("Signals", .timeLimit(.minutes(1)))
struct SignalTests {
  @Test("signals are events: delivered in order on the loop, with their sender; none is lost before the loop runs")
  func delivery() async {
    // In a process of its own: signals belong to the whole process.
    await #expect(processExitsWith: .success) {
      let source = try SignalSource([.terminate, .hangup])
      // To this thread alone: the test runner's threads do not block signals.
      raise(SIGHUP)
      let loop = try EventLoop()
      var seen: [ProcessSignal] = []
      try source.attach(to: loop) { signal, sender in
        if sender != getpid() { exit(3) }
        seen.append(signal)
        if signal == .hangup { raise(SIGTERM) } else { loop.stop() }
      }
      loop.run()
      if seen != [.hangup, .terminate] { exit(4) }
      source.detach()
      if loop.registrations != 0 { exit(5) }
    }
  }

  @Test("a write to a closed pipe is an error and not the end")
  func brokenPipe() async {
    await #expect(processExitsWith: .success) {
      CurrentProcess.ignoreWriteSignals()
      var ends: [Int32] = [0, 0]
      pipe(&ends)
      close(ends[0])
      var byte: UInt8 = 0
      if write(ends[1], &byte, 1) != -1 || errno != EPIPE { exit(3) }
    }
  }
}
