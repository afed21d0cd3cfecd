/// Messages of gRPC, as observers hear of them.
extension Stream {
  /// Somebody counts the messages of this call.
  func noteMessages(_ stat: GRPCStat, _ count: UInt64) {
    guard let manager, manager.hasObservers, stat == .requestMessages || stat == .responseMessages else { return }
    let isFirst = peers.messages == nil
    var messages = peers.messages ?? StreamPeers.MessageCounts()
    if stat == .requestMessages { messages.requests &+= count } else { messages.responses &+= count }
    peers.messages = messages
    if isFirst { manager.tellOfMessages(self) }
  }
}
