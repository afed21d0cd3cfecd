import MeshHTTP

/// The faster side waits for the slower one.
extension RouterFilter {
  func requestBlocked() {
    isRequestBlocked = true
    cluster?.stats.add(.flowControlBackedUp)
    stream?.pauseRequest(true)
  }

  func requestUnblocked() {
    isRequestBlocked = false
    cluster?.stats.add(.flowControlDrained)
    stream?.pauseRequest(false)
  }

  func pauseResponse(_ pause: Bool) {
    isResponsePaused = pause
    cluster?.stats.add(pause ? .flowControlPaused : .flowControlResumed)
    upstream?.pauseResponse(pause)
  }
}
