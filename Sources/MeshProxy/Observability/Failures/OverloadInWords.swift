extension WorkerOverload {
  /// What the overload manager does now, for the log.
  var words: String {
    let points = LoadShedPoint.allCases.filter { state[$0] > 0 }.map(\.name)
    let actions = OverloadAction.allCases.filter { state[$0] > 0 }.map(\.name)
    let all = points + actions
    return all.isEmpty ? "there was not enough of something a moment ago" : all.joined(separator: ", ")
  }
}
