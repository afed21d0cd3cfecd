import MeshAPI
import MeshPrimitives

/// What of a request its hash is made of.
extension RouteTableBuilder {
  /// nil if there is nothing.
  mutating func hashPolicies(_ policies: [RouteHashPolicy], _ path: String) -> HashPolicies? {
    var result: [HashPolicies.Policy] = []
    for (index, policy) in policies.enumerated() {
      guard let source = source(policy, "\(path)[\(index)]") else { continue }
      result.append(HashPolicies.Policy(source: source, isTerminal: policy.terminal))
    }
    return result.isEmpty ? nil : HashPolicies(policies: result)
  }

  private mutating func source(_ policy: RouteHashPolicy, _ path: String) -> HashPolicies.Source? {
    switch policy.policySpecifier {
    case nil:
      problem(path, "one of header, cookie, connection_properties and query_parameter is required")
      return nil
    case .header(let header):
      guard let name = conditions.headerName(header.headerName, path + ".header.header_name") else { return nil }
      guard header.hasRegexRewrite else { return .header(name, rewrite: nil) }
      return conditions.substitution(header.regexRewrite, path + ".header.regex_rewrite").map {
        .header(name, rewrite: $0)
      }
    case .cookie(let cookie): return self.cookie(cookie, path + ".cookie").map { .cookie($0) }
    case .connectionProperties(let properties): return properties.sourceIp ? .address : .nothing
    case .queryParameter(let parameter):
      if parameter.name.isEmpty { problem(path + ".query_parameter.name", "is required") }
      return .parameter(Array(parameter.name.utf8))
    }
  }

  private mutating func cookie(_ cookie: RouteHashPolicy.Cookie, _ path: String) -> HashPolicies.Cookie? {
    let before = problems.count
    if !HeaderCompiler.isToken(cookie.name) {
      problem(path + ".name", "'\(cookie.name)' is not the name of a cookie (RFC 6265 §4.1.1)")
    }
    var attributes = ""
    if cookie.hasTtl {
      let seconds = max(0, cookie.ttl.seconds)
      if seconds > 0 { attributes += "; Max-Age=\(seconds)" }
    }
    if !cookie.path.isEmpty {
      checkAttribute(cookie.path, path + ".path")
      attributes += "; Path=\(cookie.path)"
    }
    for (index, attribute) in cookie.attributes.enumerated() {
      if !HeaderCompiler.isToken(attribute.name) {
        problem("\(path).attributes[\(index)].name", "'\(attribute.name)' is not the name of an attribute")
      }
      checkAttribute(attribute.value, "\(path).attributes[\(index)].value")
      attributes += "; \(attribute.name)"
      if !attribute.value.isEmpty { attributes += "=\(attribute.value)" }
    }
    guard problems.count == before else { return nil }
    return HashPolicies.Cookie(
      name: Array(cookie.name.utf8), attributes: cookie.hasTtl ? Array((attributes + "; HttpOnly").utf8) : nil)
  }

  /// RFC 6265 §4.1.1: an attribute's value has neither control characters nor a semicolon.
  private mutating func checkAttribute(_ value: String, _ path: String) {
    if !value.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7f && $0 != UInt8(ascii: ";") }) {
      problem(path, "holds a character that must not occur in an attribute of a cookie (RFC 6265 §4.1.1)")
    }
  }
}
