import MeshPrimitives

/// What is configured beyond HTTP's own rules for the heads of requests.
extension HTTP1ServerConnection {
  /// Applies the settings to a request whose head the parser has accepted. `bytes` begins with the head.
  /// - Returns: why the request is refused, if it is.
  @inline(never)
  func applyRules(_ headers: HeaderMap, _ head: HTTP1RequestHead, _ bytes: Bytes) -> HTTP1Error? {
    if settings.underscores != .keep, let error = checkUnderscores(headers) { return error }
    if head.minorVersion == 0, !headers.has(.host) {
      if settings.defaultHost.isEmpty { return .missingHost }
      settings.defaultHost.withUnsafeBufferPointer { headers.set(.host, $0) }
    }
    if let rules = settings.spelling {
      headers.spelling = HeaderSpelling(head: bytes.slice(0, head.headLength), rules)
    }
    return nil
  }

  /// Removes fields whose names have an underscore, or says that the message is refused for it.
  func checkUnderscores(_ fields: HeaderMap) -> HTTP1Error? {
    guard fields.hasUnderscores else { return nil }
    if settings.underscores == .refuse {
      handler.refusedField()
      return .underscoreInFieldName
    }
    handler.droppedFields(fields.removeUnderscores())
    return nil
  }
}
